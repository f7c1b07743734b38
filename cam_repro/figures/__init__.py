"""Pictures of runs: training curves, contact sheets."""
