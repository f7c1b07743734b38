"""Fill the paper's tables from predictions on disk. Needs neither torch nor the images."""

from cam_repro.tables.all_runs import runs_sheet
from cam_repro.tables.build import (
    Run,
    Table,
    build_gradcam_table,
    build_tables,
    find_runs,
    has_runs,
    open_runs,
)
from cam_repro.tables.comparison import comparison_sheet
from cam_repro.tables.gain import gain_sheet
from cam_repro.tables.generic import find_generic, generic_sheets
from cam_repro.tables.methods import methods_sheet
from cam_repro.tables.protocols import protocols_sheet
from cam_repro.tables.render import paper_sheet, sources_sheet
from cam_repro.tables.sheet import Sheet, markdown, write_sheets
from cam_repro.tables.sources import SOURCES, Source

__all__ = [
    "SOURCES",
    "Run",
    "Sheet",
    "Source",
    "Table",
    "build_gradcam_table",
    "build_tables",
    "comparison_sheet",
    "find_generic",
    "find_runs",
    "gain_sheet",
    "generic_sheets",
    "has_runs",
    "markdown",
    "methods_sheet",
    "open_runs",
    "paper_sheet",
    "protocols_sheet",
    "runs_sheet",
    "sources_sheet",
    "write_sheets",
]
