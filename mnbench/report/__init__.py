"""One HTML file that needs nothing else: tables, plots, facts, and how it was measured."""
