"""ILSVRC (CLS-LOC) on disk, in any of its usual layouts."""
