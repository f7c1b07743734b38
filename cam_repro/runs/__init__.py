"""Hold run folders: what scoring writes and everything after it only reads. Needs no torch."""
