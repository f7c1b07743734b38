"""Packed data: a data set stored in a few large files."""
