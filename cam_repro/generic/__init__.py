"""Linear classifiers on a network's features (the paper, section 4). Needs no torch."""
