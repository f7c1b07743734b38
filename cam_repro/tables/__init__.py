"""The paper's tables, filled from predictions on disk. Needs neither torch nor the images."""

from cam_repro.tables.all_runs import runs_sheet
from cam_repro.tables.build import Run, Table, build_tables, find_runs, has_runs
from cam_repro.tables.readings import READINGS, Reading
from cam_repro.tables.render import paper_sheet, readings_sheet
from cam_repro.tables.sheet import Sheet, markdown, write_sheets

__all__ = [
    "READINGS",
    "Reading",
    "Run",
    "Sheet",
    "Table",
    "build_tables",
    "find_runs",
    "has_runs",
    "markdown",
    "paper_sheet",
    "readings_sheet",
    "runs_sheet",
    "write_sheets",
]
