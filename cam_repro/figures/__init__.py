"""Draw the paper's Figures 3 to 6, contact sheets, curves and explained photographs. No torch."""
