"""Strategies: one file each, and the table of their windows."""
