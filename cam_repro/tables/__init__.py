"""The paper's tables, filled from predictions on disk. Needs neither torch nor the images."""

from cam_repro.tables.build import Run, Table, build_tables, find_runs
from cam_repro.tables.render import csv_text, markdown, write_tables

__all__ = ["Run", "Table", "build_tables", "csv_text", "find_runs", "markdown", "write_tables"]
