"""Run the training loop and the evaluation loop, and provide what both need."""
