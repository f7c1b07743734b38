"""The training loop, the evaluation loop, and what both stand on."""
