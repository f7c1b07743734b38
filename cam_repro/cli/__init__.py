"""Start the commands from the command line, one file a command; ``commands/`` does the work."""
