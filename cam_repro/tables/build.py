"""From run folders to filled tables. Which run fills which row is data: see paper.py."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from cam_repro.errors import UserError
from cam_repro.metrics.intervals import bootstrap_interval
from cam_repro.metrics.scores import cls_outcomes, loc_outcomes
from cam_repro.predictions import MANIFEST, PredictionTable, read_manifest, read_predictions
from cam_repro.tables.paper import TABLES, PaperTable, Row, Source

log = logging.getLogger(__name__)

_KIND = ("model", "saliency", "split")


@dataclass(frozen=True, eq=False)
class Run:
    """A scored run: its folder, its name (the folder relative to the runs folder), its manifest."""

    folder: Path
    name: str
    manifest: dict[str, Any]

    @property
    def data(self) -> str:
        """Name of its data set."""
        return self.manifest["data"]["name"]

    @property
    def split(self) -> str:
        """Split that it scored."""
        return self.manifest["split"]


@dataclass(frozen=True)
class Number:
    """An error and its 95 % interval, percent."""

    error: float
    low: float
    high: float


@dataclass(frozen=True)
class Line:
    """A row of a table, and what fills it; ``run`` None and no numbers where nothing does."""

    row: Row
    run: Run | None = None
    numbers: tuple[Number, ...] = ()
    n: int = 0


@dataclass(frozen=True)
class Table:
    """A table of the paper filled for one data set and view.

    is_ilsvrc: whether our numbers and the paper's are of the same data set.
    """

    paper: PaperTable
    data: str
    view: str
    is_ilsvrc: bool
    lines: tuple[Line, ...]


def find_runs(
    runs_dir: Path | str, view: str = "squash", data: str | None = None
) -> dict[str, list[Run]]:
    """The finished runs of one view, by data set, under ``<runs>/<data>/<model>/eval/<run>/``.

    data: one data set, or None for each that has such runs. What a run is stands in its manifest;
    folder names do not count. Raises UserError where there are none, or a manifest is broken.
    """
    runs_dir = Path(runs_dir)
    folders = sorted(path.parent for path in runs_dir.glob(f"*/*/eval/*/{MANIFEST}"))
    runs = [
        Run(folder, folder.relative_to(runs_dir).as_posix(), read_manifest(folder))
        for folder in folders
    ]
    if not runs:
        raise UserError(f"no scored runs under {runs_dir}: run cam-reproduce or cam-eval first")
    names = sorted({run.data for run in runs})
    if data is not None and data not in names:
        raise UserError(
            f"no scored runs of data={data} under {runs_dir}; there: {', '.join(names)}"
        )
    groups: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        if data in (None, run.data) and run.manifest["view"] == view:
            groups[run.data].append(run)
    if not groups:
        views = sorted({run.manifest["view"] for run in runs if data in (None, run.data)})
        raise UserError(
            f"no scored runs with view={view} under {runs_dir}; views there: {', '.join(views)}"
        )
    return dict(sorted(groups.items()))


def build_tables(runs: list[Run]) -> list[Table]:
    """Tables 1 to 3 from the runs of one data set and one view.

    A row is filled by the newest run that fits it. Runs of another version of the data set (other
    images under the same name) are left out with a warning: the version most runs have counts.
    """
    assert len({(run.data, run.manifest["view"]) for run in runs}) == 1
    runs = _without_superseded(_of_one_version(runs))
    is_ilsvrc = all(run.manifest["data"]["is_ilsvrc"] for run in runs)
    view = runs[0].manifest["view"]
    read = cache(lambda run: read_predictions(run.folder))
    tables = [
        Table(
            paper=paper,
            data=runs[0].data,
            view=view,
            is_ilsvrc=is_ilsvrc,
            lines=tuple(_line(paper, row, runs, read) for row in paper.rows),
        )
        for paper in TABLES
    ]
    used = {line.run for table in tables for line in table.lines}
    for run in runs:
        if run not in used:
            log.info("%s fills no row of the tables", run.name)
    return tables


def _of_one_version(runs: list[Run]) -> list[Run]:
    """The runs whose data fingerprint is the most common of their split; the newest of equals."""
    kept = []
    for split in sorted({run.split for run in runs}):
        same_split = [run for run in runs if run.split == split]
        prints = [_fingerprint(run) for run in same_split]
        newest: dict[str, str] = {}
        for run, print_ in zip(same_split, prints, strict=True):
            newest[print_] = max(newest.get(print_, ""), run.manifest["created"])
        counts = Counter(prints)
        chosen = max(counts, key=lambda print_: (counts[print_], newest[print_], print_))
        for run, print_ in zip(same_split, prints, strict=True):
            if print_ == chosen:
                kept.append(run)
            else:
                log.warning(
                    "%s is left out: it scored other images than the other runs of %s, split %s",
                    run.name,
                    run.data,
                    split,
                )
    return kept


def _without_superseded(runs: list[Run]) -> list[Run]:
    """The runs without those that a newer run of the same kind can stand for."""
    kept: list[Run] = []
    for run in sorted(runs, key=_age, reverse=True):
        for newer in kept:
            same = all(run.manifest[key] == newer.manifest[key] for key in _KIND)
            if same and set(run.manifest["strategies"]) <= set(newer.manifest["strategies"]):
                log.info("%s is left out: %s is the same, newer", run.name, newer.name)
                break
        else:
            kept.append(run)
    return kept


def _fingerprint(run: Run) -> str:
    return str(run.manifest["data"].get("fingerprint"))


def _line(
    paper: PaperTable, row: Row, runs: list[Run], read: Callable[[Run], PredictionTable]
) -> Line:
    for split in paper.splits:
        for source in row.sources:
            run = _newest([run for run in runs if _fits(run, source, split)])
            if run is None:
                continue
            table = read(run)
            outcomes = (
                cls_outcomes(table)
                if source.strategy is None
                else loc_outcomes(table, source.strategy)
            )
            numbers = []
            for column in paper.columns:
                low, high = bootstrap_interval(outcomes[column])
                error = float(outcomes[column].mean())
                numbers.append(Number(100 * error, 100 * low, 100 * high))
            return Line(row, run, tuple(numbers), len(table))
    return Line(row)


def _fits(run: Run, source: Source, split: str) -> bool:
    manifest = run.manifest
    return (
        run.split == split
        and manifest["data"]["has_labels"]
        and manifest["counts"]["images"] > 0
        and manifest["model"] == source.model
        and manifest["saliency"] == source.saliency
        and (source.strategy is None or source.strategy in manifest["strategies"])
    )


def _newest(runs: list[Run]) -> Run | None:
    return max(runs, key=_age, default=None)


def _age(run: Run) -> tuple[str, str]:
    """Sorts the newest last: ``created`` is ISO 8601 in UTC, where text order is time order."""
    return run.manifest["created"], run.name
