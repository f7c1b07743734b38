"""Do what each command does, from composed settings to files; one file a command."""
