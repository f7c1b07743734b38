"""What the commands do, from a composed configuration to files: one file a job."""
