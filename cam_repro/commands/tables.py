"""Fill the tables: what ``cam-tables`` does. Needs neither torch nor the images."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from cam_repro.errors import if_stopped, one_of
from cam_repro.tables import (
    SOURCES,
    Run,
    Sheet,
    Source,
    build_tables,
    find_runs,
    has_runs,
    markdown,
    paper_sheet,
    runs_sheet,
    sources_sheet,
    write_sheets,
)
from cam_repro.tables.sheet import paragraph
from cam_repro.tables.sources import PAPER

log = logging.getLogger(__name__)

BOTH = "both"
"""With ``source=both`` there are tables for each source that has runs, and of both together."""


@dataclass
class TablesSettings:
    """Hold the settings of ``cam-tables``: configs/tables.yaml."""

    runs: str = "runs"
    data: str | None = None
    source: str = PAPER.name
    output: str | None = None

    def __post_init__(self) -> None:
        one_of("source", self.source, (*SOURCES, BOTH))


@if_stopped("tables that are written are whole")
def run_tables(settings: TablesSettings) -> None:
    """Write the tables of each data set, CSV and Markdown, and print them."""
    runs_dir = Path(settings.runs)
    by_data = find_runs(runs_dir, settings.data)
    for data, runs in by_data.items():
        if settings.output is None:
            folder = runs_dir / data / "tables"
        else:
            folder = Path(settings.output) / (data if len(by_data) > 1 else "")
        print(f"data set: {data} ({len(runs)} scored runs under {runs_dir})\n")
        sheets = _sheets(runs, _sources(settings.source, runs))
        files = write_sheets(sheets, folder)
        print(markdown(sheets))
        empty = [sheet.stem for sheet in sheets if sheet.is_empty]
        if empty:
            print(paragraph(f"no run fills a row of {', '.join(empty)}") + "\n")
        print(paragraph(f"written to {folder}: {' '.join(files)}") + "\n")


def _sources(wanted: str, runs: list[Run]) -> list[Source]:
    """Choose the sources to make tables for; log a warning if the one wanted has no runs."""
    with_runs = [source for source in SOURCES.values() if has_runs(source, runs)]
    if wanted == BOTH:
        return with_runs
    source = SOURCES[wanted]
    if source not in with_runs:
        log.warning(
            "%s: no run has the view %s and the box rule %s of source=%s: its tables are empty",
            runs[0].data,
            source.view,
            " or ".join(source.rules.values()),
            wanted,
        )
    return [source]


def _sheets(runs: list[Run], sources: list[Source]) -> list[Sheet]:
    """Make Tables 1 to 3 for each source, those that compare two sources, and that of all runs."""
    tables = [build_tables(runs, source) for source in sources]
    sheets = [paper_sheet(table) for by_source in tables for table in by_source]
    if len(tables) > 1:
        paper, authors = tables
        sheets += [sources_sheet(*pair) for pair in zip(paper, authors, strict=True)]
    return [*sheets, runs_sheet(runs)]
