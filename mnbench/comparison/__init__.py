"""Baseline and candidate, measured in pairs, decided once for a table."""
