"""The commands: compose the configuration, build, run, write. One thin file each."""
