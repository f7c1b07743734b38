"""Fill the paper's tables from run folders. Which run fills which row is data, in paper.py."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from cam_repro.errors import UserError, choose
from cam_repro.metrics.intervals import Number
from cam_repro.metrics.scores import check_outcomes, cls_outcomes, loc_outcomes
from cam_repro.runs.folders import find_run_folders
from cam_repro.runs.manifest import EvalManifest, read_eval_manifest
from cam_repro.runs.predictions import Predictions, read_predictions
from cam_repro.runs.scores import read_scores
from cam_repro.tables.paper import (
    GRADCAM,
    TABLES,
    PaperTable,
    Row,
    WantedRun,
    runs_of_the_tables,
)
from cam_repro.tables.settings import changed_settings
from cam_repro.tables.sources import PAPER, Source

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Run:
    """Hold a scored run: its name (``runs.folders.find_run_folders``) and predictions.

    folder: where it is, for what else lies there; None where there is nothing else.
    """

    name: str
    table: Predictions
    folder: Path | None = None

    @property
    def manifest(self) -> EvalManifest:
        """The manifest: where the run came from."""
        return self.table.manifest

    @property
    def data(self) -> str:
        """Name of its data set."""
        return self.manifest.data.name

    @property
    def split(self) -> str:
        """Split that it scored."""
        return self.manifest.split

    @property
    def view(self) -> str:
        """View in which its network saw the images."""
        return self.manifest.view

    @property
    def classifies(self) -> bool:
        """Whether it has classification errors: where labels are known and a network guessed."""
        return self._has_labels and self.manifest.classifies

    @property
    def localizes(self) -> bool:
        """Whether it has localization errors: where labels and true boxes are known."""
        return self._has_labels and self.manifest.data.has_boxes

    @cached_property
    def scores(self) -> dict[str, dict[str, Any]]:
        """What protocols made of it, by name, where ``cam-score keep=true`` kept that."""
        return {} if self.folder is None else read_scores(self.folder)

    @cached_property
    def cls_outcomes(self) -> dict[str, np.ndarray]:
        """The images that are classified wrongly, as ``metrics.scores.cls_outcomes`` has them."""
        return cls_outcomes(self.table)

    @cached_property
    def loc_outcomes(self) -> dict[str, dict[str, np.ndarray]]:
        """By box rule, what ``metrics.scores.loc_outcomes`` finds; kept for several tables."""
        return {name: loc_outcomes(self.table, name) for name in self.table.rules}

    @property
    def _has_labels(self) -> bool:
        return self.manifest.data.has_labels and len(self.table) > 0


@dataclass(frozen=True)
class Line:
    """Hold a row of a table and what fills it; no run and no numbers where nothing does.

    rule: the box rule; None in classification. settings: those of the run that differ from the
    source's or from the defaults.
    """

    row: Row
    run: Run | None = None
    rule: str | None = None
    numbers: tuple[Number, ...] = ()
    settings: tuple[str, ...] = ()

    @property
    def n(self) -> int:
        """Number of images that its errors are of: in localization, those not blacklisted."""
        return self.numbers[0].n if self.numbers else 0


@dataclass(frozen=True)
class Table:
    """Hold a table of the paper, filled for one data set by one source.

    is_ilsvrc: whether our numbers are of ILSVRC, as the paper's are.
    """

    paper: PaperTable
    source: Source
    data: str
    is_ilsvrc: bool
    lines: tuple[Line, ...]


def find_runs(runs: Path | str | Sequence[str], data: str | None = None) -> dict[str, list[Run]]:
    """Find the scored runs of each data set, in the order of their names.

    What a run is stands in its manifest; the names of folders do not count. A data set may have
    runs of several versions (other images under the same name): only those of the version with most
    runs are kept, the others are left out with a warning.

    runs: folders, runs or globs (``runs.folders.find_run_folders``). data: one data set, or None
    for each that has runs. Runs that cannot be scored are left out with a warning too. Raises
    UserError where nothing is left.
    """
    groups: dict[str, list[Run]] = defaultdict(list)
    opened = open_runs(runs, data)
    for run in opened:
        try:
            if run.classifies or run.localizes:
                check_outcomes(run.table)
            groups[run.data].append(run)
        except UserError as error:
            log.warning("left out: %s: %s", run.name, error)
    if not groups:
        raise UserError(f"no scored run can be shown ({len(opened)} left out)")
    return {name: _of_one_version(of_data) for name, of_data in sorted(groups.items())}


def open_runs(runs: Path | str | Sequence[str], data: str | None = None) -> list[Run]:
    """Open scored runs, in the order in which they are named; as for ``find_runs``.

    Runs that cannot be read are left out with a warning.
    """
    names = [str(runs)] if isinstance(runs, Path | str) else list(runs)
    there, opened = set(), []
    for run_name, folder in find_run_folders(names).items():
        try:
            name = read_eval_manifest(folder).data.name
            there.add(name)
            if data in (None, name):
                opened.append(Run(run_name, read_predictions(folder), folder))
        except UserError as error:
            log.warning("left out: %s", error)
    if data is not None and there and data not in there:
        raise UserError(
            f"no scored runs of data={data} under {', '.join(names)}; {choose(data, sorted(there))}"
        )
    if not opened:
        raise UserError(f"no scored run under {', '.join(names)} can be read")
    return opened


def build_tables(runs: list[Run], source: Source) -> list[Table]:
    """Fill Tables 1 to 3 from the runs of one data set, each row from the newest that fits it."""
    return [_table(paper, runs, source) for paper in TABLES]


def build_gradcam_table(runs: list[Run]) -> Table | None:
    """Fill Grad-CAM's Table 1; None where no run is of a method that it has and Table 2 has not."""
    own = {run.saliency for row in GRADCAM.rows for run in row.wanted}
    own -= {saliency for _, saliency in runs_of_the_tables()}
    table = _table(GRADCAM, runs, PAPER)
    is_there = any(line.run and line.run.manifest.saliency in own for line in table.lines)
    return table if is_there else None


def has_runs(source: Source, runs: list[Run]) -> bool:
    """Tell whether some run has the view and a box rule of the source."""
    own = set(source.rules.values())
    return any(run.view == source.view and own & set(run.table.rules) for run in runs)


def _of_one_version(runs: list[Run]) -> list[Run]:
    """Keep, for each split, the runs whose data has the most common fingerprint.

    Of fingerprints that are equally common, the one of the newest run counts.
    """
    kept = []
    for split in sorted({run.split for run in runs}):
        same_split = [run for run in runs if run.split == split]
        prints = [run.manifest.data.fingerprint for run in same_split]
        newest: dict[str, str] = {}
        for run, print_ in zip(same_split, prints, strict=True):
            newest[print_] = max(newest.get(print_, ""), run.manifest.provenance.created)
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
    return sorted(kept, key=lambda run: run.name)


def _table(paper: PaperTable, runs: list[Run], source: Source) -> Table:
    """Fill a table from the runs of one data set."""
    assert len({run.data for run in runs}) == 1
    return Table(
        paper=paper,
        source=source,
        data=runs[0].data,
        is_ilsvrc=all(run.manifest.data.is_ilsvrc for run in runs),
        lines=tuple(_line(paper, row, runs, source) for row in paper.rows),
    )


def _line(paper: PaperTable, row: Row, runs: list[Run], source: Source) -> Line:
    """Fill a row: by the split that the table prefers, then by the run that the source prefers."""
    for split in paper.splits:
        shown = [run for run in runs if run.split == split and run.view == source.view]
        for wanted in source.wanted_runs(row):
            fitting = [run for run in shown if _fits(run, wanted)]
            if fitting:
                run = max(fitting, key=_age)
                numbers = _numbers(run, wanted.rule, paper.columns)
                return Line(row, run, wanted.rule, numbers, _settings(run, wanted, source))
    return Line(row)


def _fits(run: Run, wanted: WantedRun) -> bool:
    if (run.manifest.model, run.manifest.saliency) != (wanted.run_name, wanted.saliency):
        return False
    if wanted.rule is None:
        return run.classifies
    return run.localizes and wanted.rule in run.table.rules


def _age(run: Run) -> tuple[str, str]:
    """Give a key that sorts the newest run last: UTC times in ISO 8601 sort as text."""
    return run.manifest.provenance.created, run.name


def _numbers(run: Run, rule: str | None, columns: tuple[str, ...]) -> tuple[Number, ...]:
    outcomes = dict(run.cls_outcomes if rule is None else run.loc_outcomes[rule])
    outcomes |= {f"loc_{top}": wrong_N for top, wrong_N in outcomes.items()}
    outcomes |= {f"cls_{top}": wrong_N for top, wrong_N in run.cls_outcomes.items()}
    return tuple(Number.of(outcomes[column]) for column in columns)


def _settings(run: Run, wanted: WantedRun, source: Source) -> tuple[str, ...]:
    stands_in = wanted.variant != source.variants[0]
    return (
        *([f"model.variant={wanted.variant}"] if stands_in else []),
        *(changed_settings(run.manifest, wanted.rule) if wanted.rule else []),
    )
