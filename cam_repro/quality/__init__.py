"""Measure maps by the network that they explain: one file a measure."""
