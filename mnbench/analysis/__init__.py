"""Conclusions from results: cost models and histories."""
