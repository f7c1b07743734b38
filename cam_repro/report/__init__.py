"""Write the report: one HTML file about the runs of a data set. Needs no torch and no network."""
