"""Files that other people bring, one parser a format. Knows no data set and needs no torch."""
