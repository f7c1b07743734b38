"""Say what a training minimises: one file an objective."""
