"""Draw pictures of runs: training curves, contact sheets, errors over the threshold."""
