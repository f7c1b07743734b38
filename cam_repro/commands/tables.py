"""Fill the tables, or compare runs: what ``cam-tables`` does. Needs neither torch nor images."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cam_repro.errors import UserError, if_stopped, one_of
from cam_repro.files import path_within
from cam_repro.runs.folders import named_runs, run_folder
from cam_repro.tables import (
    SOURCES,
    Run,
    Sheet,
    Source,
    build_gradcam_table,
    build_tables,
    comparison_sheet,
    find_generic,
    find_runs,
    gain_sheet,
    generic_sheets,
    has_runs,
    markdown,
    methods_sheet,
    open_runs,
    paper_sheet,
    protocols_sheet,
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
class RunsSettings:
    """Hold which runs are shown, by which source: of ``cam-tables`` and ``cam-report``."""

    runs: Any = "runs"
    data: str | None = None
    source: str = PAPER.name
    output: str | None = None

    def __post_init__(self) -> None:
        one_of("source", self.source, (*SOURCES, BOTH))
        named_runs("runs", self.runs)

    @property
    def run_names(self) -> list[str]:
        """Folders of runs, runs and globs."""
        return named_runs("runs", self.runs)

    def place(self, data: str) -> Path | None:
        """Give the folder of a data set's runs: that of its name, else the one that is named.

        None where it is not known: several places of runs are named, or a run alone.
        Raises UserError where the name would lead out of the folder of runs.
        """
        root = Path(self.run_names[0])
        if len(self.run_names) > 1 or not root.is_dir() or run_folder(root) is not None:
            return None
        own = path_within(root, data)
        return own if own.is_dir() else root


@dataclass
class TablesSettings(RunsSettings):
    """Hold the settings of ``cam-tables``: configs/tables.yaml."""

    compare: bool = False
    box: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.box is None:
            return
        if not self.compare:
            raise UserError(f"box={self.box}: is used with compare=true only; leave it out")
        names = self.box if isinstance(self.box, list) else [self.box]
        if not (all(isinstance(name, str) for name in names) and len(names) in (1, 2)):
            raise UserError(f"box={self.box}: name one box rule, or two as in box=[A,B]")

    @property
    def rules(self) -> tuple[str, str] | None:
        """The box rules to compare: that of the first run, and that of the others."""
        if self.box is None:
            return None
        names = self.box if isinstance(self.box, list) else [self.box]
        return names[0], names[-1]

    def folder_of_all(self) -> Path | None:
        """Give the folder for tables of several data sets; None where it is not known."""
        if self.output is not None:
            return Path(self.output)
        root = Path(self.run_names[0])
        is_one = len(self.run_names) == 1 and root.is_dir() and run_folder(root) is None
        return root / "tables" if is_one else None

    def folder(self, data: str, is_only: bool) -> Path | None:
        """Give the folder for the tables of a data set: below ``output``, else among its runs.

        None where neither is known: several places of runs are named, or a run alone.
        is_only: whether all runs are of this data set.
        """
        if self.output is not None and is_only:
            return Path(self.output)
        if self.output is not None:
            return path_within(self.output, data)
        place = self.place(data)
        if place is None:
            return None
        is_own = place != Path(self.run_names[0])
        tables = place / "tables"
        return tables if is_own or is_only else path_within(tables, data)


@if_stopped("tables that are written are whole")
def run_tables(settings: TablesSettings) -> None:
    """Write the tables of each data set, and of all linear SVMs, CSV and Markdown; print them."""
    if settings.compare:
        _compare(settings)
        return
    svms = find_generic(settings.run_names, settings.data)
    try:
        by_data = find_runs(settings.run_names, settings.data)
    except UserError as error:
        if not svms:
            raise
        log.warning("Tables 1 to 3 are left out: %s", error)
        by_data = {}
    folders = {data: settings.folder(data, is_only=len(by_data) == 1) for data in by_data}
    for data, runs in by_data.items():
        place = ", ".join(settings.run_names)
        print(f"data set: {data} ({len(runs)} scored runs under {place})\n")
        sheets = _sheets(runs, chosen_sources(settings.source, runs))
        print(markdown(sheets))
        empty = [sheet.stem for sheet in sheets if sheet.is_empty]
        if empty:
            print(paragraph(f"no run fills a row of {', '.join(empty)}") + "\n")
        _write(sheets, folders[data], "tables")
    if svms:
        sheets = generic_sheets(svms)
        print(markdown(sheets))
        _write(sheets, settings.folder_of_all(), "generic")


def _compare(settings: TablesSettings) -> None:
    """Write the table that compares the first run with the others, and print it."""
    runs = open_runs(settings.run_names, settings.data)
    folder = settings.folder(runs[0].data, is_only=True)
    sheet = comparison_sheet(runs, settings.rules)
    print(markdown([sheet]))
    _write([sheet], folder, "comparison")


def _write(sheets: list[Sheet], folder: Path | None, together: str) -> None:
    """Write sheets to a folder, or say that there is none; ``together`` names the Markdown."""
    if folder is None:
        print("not written to files: name a folder with output=DIR\n")
        return
    files = write_sheets(sheets, folder, together)
    said = f"written to {folder}: {' '.join(files)}"
    # Those of an earlier call stay, and may be of other runs or of older results.
    there = {path.name for kind in ("*.csv", "*.md") for path in folder.glob(kind)}
    others = sorted(there.difference(files))
    if others:
        said += f"; also there, but not written now: {' '.join(others)}"
    print(paragraph(said) + "\n")


def chosen_sources(wanted: str, runs: list[Run]) -> list[Source]:
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
    """Make Tables 1 to 3 for each source, and those that compare two sources.

    Then, where there are runs, Grad-CAM's table, GAIN's, that of saliency methods and that of
    protocols; and that of all runs.
    """
    tables = [build_tables(runs, source) for source in sources]
    sheets = [paper_sheet(table) for by_source in tables for table in by_source]
    if len(tables) > 1:
        paper, authors = tables
        sheets += [sources_sheet(*pair) for pair in zip(paper, authors, strict=True)]
    gradcam = build_gradcam_table(runs)
    sheets += [] if gradcam is None else [paper_sheet(gradcam)]
    others = (gain_sheet(runs), methods_sheet(runs), protocols_sheet(runs))
    sheets += [sheet for sheet in others if sheet is not None]
    return [*sheets, runs_sheet(runs)]
