"""Plots: Vega-Lite specifications, for files, for the report, and characters for the terminal."""
