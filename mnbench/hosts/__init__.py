"""The machine that measures: its facts and its noise sources."""
