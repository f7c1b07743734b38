"""Compute the error rates of predictions and their confidence intervals; needs no torch."""
