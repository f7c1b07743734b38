"""Packed data: a data set in a few large files."""
