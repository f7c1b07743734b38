"""Read and write files that other programs share, a module a format. Needs no torch."""
