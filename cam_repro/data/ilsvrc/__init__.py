"""ILSVRC (CLS-LOC) on disk, in any of the layouts in which people have it."""
