"""Typed columns and their formats: a table becomes text."""
