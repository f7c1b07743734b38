"""Tables: what ``cam-tables`` does. Needs neither torch nor the images."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from cam_repro.errors import UserError
from cam_repro.tables import (
    READINGS,
    Reading,
    Run,
    Sheet,
    build_tables,
    find_runs,
    has_runs,
    markdown,
    paper_sheet,
    readings_sheet,
    runs_sheet,
    write_sheets,
)
from cam_repro.tables.sheet import paragraph

log = logging.getLogger(__name__)

BOTH = "both"
"""``reading=both``: each that has runs, and side by side where both have."""


@dataclass
class TablesSettings:
    """configs/tables.yaml"""

    runs: str = "runs"
    data: str | None = None
    reading: str = "text"
    output: str | None = None

    def __post_init__(self) -> None:
        choices = (*READINGS, BOTH)
        if self.reading not in choices:
            raise UserError(f"reading={self.reading}: choose one of {', '.join(choices)}")


def run_tables(settings: TablesSettings) -> None:
    """Write the tables of each data set, CSV and Markdown, and print them."""
    runs_dir = Path(settings.runs)
    groups = find_runs(runs_dir, settings.data)
    for data, runs in groups.items():
        if settings.output is None:
            folder = runs_dir / data / "tables"
        else:
            folder = Path(settings.output) / (data if len(groups) > 1 else "")
        print(f"data set: {data} ({len(runs)} scored runs under {runs_dir})\n")
        sheets = _sheets(runs, _readings(settings.reading, runs))
        files = write_sheets(sheets, folder)
        print(markdown(sheets))
        empty = [sheet.stem for sheet in sheets if sheet.is_empty]
        if empty:
            print(paragraph(f"no run fills a row of {', '.join(empty)}") + "\n")
        print(paragraph(f"written to {folder}: {' '.join(files)}") + "\n")


def _readings(wanted: str, runs: list[Run]) -> list[Reading]:
    there = [reading for reading in READINGS.values() if has_runs(reading, runs)]
    if wanted == BOTH:
        return there
    reading = READINGS[wanted]
    if reading not in there:
        log.warning(
            "%s: no run has the view %s and the boxes %s of the reading %s: its tables are empty",
            runs[0].data,
            reading.view,
            " or ".join(reading.rules.values()),
            wanted,
        )
    return [reading]


def _sheets(runs: list[Run], readings: list[Reading]) -> list[Sheet]:
    """Tables 1 to 3 under each reading, side by side if there are two, and all runs."""
    tables = [build_tables(runs, reading) for reading in readings]
    sheets = [paper_sheet(table) for of_reading in tables for table in of_reading]
    if len(tables) > 1:
        text, code = tables
        sheets += [readings_sheet(*pair) for pair in zip(text, code, strict=True)]
    return [*sheets, runs_sheet(runs)]
