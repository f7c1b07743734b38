"""Write the report: what ``cam-report`` does. Needs neither torch nor the images."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from cam_repro.commands.tables import BOTH, RunsSettings, chosen_sources
from cam_repro.errors import UserError, if_stopped
from cam_repro.figures.shown import Shown, show_examples
from cam_repro.files import check_file_writable, write_text
from cam_repro.report.build import build_report
from cam_repro.report.page import render
from cam_repro.report.training import read_trainings
from cam_repro.runs.examples import EXAMPLES, read_examples
from cam_repro.runs.folders import find_run_folders, is_complete
from cam_repro.runs.manifest import read_eval_manifest
from cam_repro.runs.provenance import provenance
from cam_repro.tables import Run, find_runs

log = logging.getLogger(__name__)

PAGE = "report.html"


@dataclass
class ReportSettings(RunsSettings):
    """Hold the settings of ``cam-report``: configs/report.yaml."""

    source: str = BOTH

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.output is not None and Path(self.output).suffix not in (".html", ".htm"):
            raise UserError(f"output={self.output}: is one file; give it a name that ends in .html")

    def page(self, data: str) -> Path:
        """Give the file for the report on a data set; raises UserError where none is known."""
        if self.output is not None:
            return Path(self.output)
        place = self.place(data)
        if place is None:
            raise UserError(
                "output not given: runs= names no folder to write to; add output=F.html"
            )
        return place / PAGE


@if_stopped("reports that are written are whole; older ones are kept")
def run_report(settings: ReportSettings) -> None:
    """Write the report of each data set, and print where it is."""
    by_data = find_runs(settings.run_names, settings.data)
    pages = {data: settings.page(data) for data in by_data}
    if len(set(pages.values())) < len(pages):
        raise UserError(
            f"there are runs of {', '.join(by_data)}, and the report of each is a file of its own: "
            "choose one with data=NAME"
        )
    folders = find_run_folders(settings.run_names)
    for data, runs in by_data.items():
        check_file_writable(pages[data])
        report = build_report(
            runs=runs,
            folders=folders,
            left_out=_left_out(folders, runs),
            sources=chosen_sources(settings.source, runs),
            trainings=read_trainings(_trained([folders[run.name] for run in runs])),
            examples={run.name: _examples(run, folders[run.name]) for run in runs},
        )
        write_text(pages[data], render(report, provenance()))
        megabytes = pages[data].stat().st_size / 1e6
        scored = f"{len(runs)} scored run{'s' * (len(runs) > 1)}"
        print(f"report of {data} ({scored}): {pages[data]}, {megabytes:.1f} MB")


def _left_out(folders: dict[str, Path], runs: list[Run]) -> list[str]:
    """Name the runs of a data set that are not shown, and those that may be of it."""
    shown = {run.name for run in runs}
    left_out = []
    for name, folder in folders.items():
        try:
            data = read_eval_manifest(folder).data.name
        except UserError:
            data = runs[0].data
        if name not in shown and data == runs[0].data:
            left_out.append(name)
    return left_out


def _trained(folders: list[Path]) -> list[Path]:
    """List the folders of the training runs that lie beside scored runs, each once."""
    beside = dict.fromkeys(folder.parent.parent / "train" for folder in folders)
    return [folder for folder in beside if is_complete(folder)]


def _examples(run: Run, folder: Path) -> list[Shown]:
    """Read a run's examples, with the guesses of its first box rule; warn of a damaged file."""
    if not (folder / EXAMPLES).is_file():
        return []
    try:
        examples = read_examples(folder, run.table.ids)
    except UserError as error:
        log.warning("no pictures: %s", error)
        return []
    return show_examples(examples, run.table, next(iter(run.table.rules)))
