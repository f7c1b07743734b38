"""Error rates of predictions, and how sure they are. Needs no torch."""
