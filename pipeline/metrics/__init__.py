"""Measures, a file for each family."""
