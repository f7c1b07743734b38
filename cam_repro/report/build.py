"""Gather what the report on one data set shows: numbers, charts and pictures of its runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from markupsafe import Markup

from cam_repro.figures.shown import Shown
from cam_repro.metrics.breakdown import Part, by_class, by_instances, by_size
from cam_repro.metrics.intervals import Number
from cam_repro.report.comparisons import Compared, compare_errors
from cam_repro.report.curves import ErrorCurves, read_curves
from cam_repro.report.pictures import Comparison, Gallery, Pictured, compare_runs, galleries
from cam_repro.report.plots import draw_table, draw_threshold_curves, draw_training
from cam_repro.report.training import Training
from cam_repro.runs.folders import labels_of
from cam_repro.tables import Run, Source, Table, build_tables
from cam_repro.tables.protocols import Ours, Published, beside_published
from cam_repro.tables.settings import changed_settings
from cam_repro.truth import Truth

FEW_CLASSES = 40
"""Up to so many classes stand in one list."""

EXTREMES = 10
"""Of more classes so many worst and so many best ones are shown, the others in a closed list."""

MOST_CELLS = 60_000
"""The closed list is left out where it would have more numbers than this."""


@dataclass(frozen=True, eq=False)
class RuleErrors:
    """Hold the errors of one box rule of a run, by their names; settings as in the tables."""

    rule: str
    settings: list[str]
    numbers: dict[str, Number]


@dataclass(frozen=True, eq=False)
class ReportedRun:
    """Hold a scored run as the report shows it.

    label: short and unlike all others. anchor: where its description is in the page. folder: of
    its files. rules: those with errors; none where no label is known. curves, chart: localization
    error over the threshold; None where the run does not hold it.
    """

    label: str
    anchor: str
    folder: Path
    run: Run
    rules: list[RuleErrors]
    curves: ErrorCurves | None
    chart: Markup | None


@dataclass(frozen=True, eq=False)
class ShownTable:
    """Hold a table of the paper with a chart for each of its columns."""

    table: Table
    charts: list[Markup]


@dataclass(frozen=True)
class GridRow:
    """Hold a row of a grid: its name, where that leads (None: nowhere), images, and errors."""

    name: str
    anchor: str | None
    n: int
    numbers: list[Number | None]


@dataclass(frozen=True)
class Grid:
    """Hold errors of many runs on many parts of the images.

    columns: name of each, and where that leads in the page, or None. rows: in their order.
    counts: images of each column, where columns are parts; none where rows are.
    """

    columns: list[tuple[str, str | None]]
    counts: list[int]
    rows: list[GridRow]


@dataclass(frozen=True)
class ClassGrids:
    """Hold an error by class, the classes with most errors first.

    first: all classes, or the worst. best: the best, where there are too many; else None.
    all: every class, where there are too many for ``first`` but not for a page; else None.
    """

    error: str
    n_classes: int
    first: Grid
    best: Grid | None = None
    all: Grid | None = None


@dataclass(frozen=True, eq=False)
class SplitErrors:
    """Hold the errors of the runs over one split, as those of other splits are of other images.

    n: images of the split, in the run with most. by_size, by_instances: None where no run has
    labels and true boxes.
    """

    split: str
    n: int
    runs: list[ReportedRun]
    by_size: Grid | None
    by_instances: Grid | None
    by_class: list[ClassGrids]

    @property
    def has_errors(self) -> bool:
        """Tell whether some run has labels to score against."""
        return any(shown.rules for shown in self.runs)

    @property
    def whole_image(self) -> Number | None:
        """Give the GT-known error of boxes of the whole image; None where no run has these."""
        known = [rule for shown in self.runs for rule in shown.rules if rule.rule == "whole_image"]
        return next(
            (rule.numbers["gt_known"] for rule in known if "gt_known" in rule.numbers), None
        )

    def lowest(self, error: str) -> list[tuple[ReportedRun, RuleErrors]]:
        """Find the runs and box rules with the lowest error of a name; none where none has it.

        A classification error is of a run, whatever its box rules, so it is given once.
        """
        known = [
            (shown, rule)
            for shown in self.runs
            for rule in (shown.rules[:1] if error.startswith("cls") else shown.rules)
            if error in rule.numbers
        ]
        least = min((rule.numbers[error].error for _, rule in known), default=None)
        return [(shown, rule) for shown, rule in known if rule.numbers[error].error == least]


@dataclass(frozen=True, eq=False)
class Report:
    """Hold all that the page shows.

    left_out: names of runs of the data set that are not shown, and of those that may be of it.
    protocols: numbers by the protocols of later papers, with the published one, or None.
    """

    data: str
    runs: list[ReportedRun]
    left_out: list[str]
    tables: list[ShownTable]
    protocols: list[tuple[Published | None, Ours]]
    splits: list[SplitErrors]
    galleries: list[Gallery]
    compared: list[Compared]
    comparisons: list[Comparison]
    trainings: list[tuple[Training, Markup]]

    def of(self, run: Run) -> ReportedRun:
        """Give a run as the page shows it."""
        return next(shown for shown in self.runs if shown.run is run)

    @property
    def fills_a_table(self) -> bool:
        """Tell whether some run fills a row of the paper's tables."""
        return any(line.run for shown in self.tables for line in shown.table.lines)


def build_report(
    runs: list[Run],
    folders: dict[str, Path],
    left_out: list[str],
    sources: list[Source],
    trainings: list[Training],
    examples: dict[str, list[Shown]],
) -> Report:
    """Gather what the page shows of the runs of one data set.

    folders, examples: of the runs, by their names; a run may have no examples, and those that it
    has are with guesses of its first box rule. left_out: names of
    other runs. trainings: of the runs' networks.
    """
    shown = _shown_runs(runs, folders)
    tables = [table for source in sources for table in build_tables(runs, source)]
    splits = sorted({each.run.split for each in shown})
    pictured = [Pictured(s.label, s.anchor, s.run, examples.get(s.run.name, [])) for s in shown]
    return Report(
        data=runs[0].data,
        runs=shown,
        left_out=left_out,
        tables=[
            ShownTable(table, _charts(table, number)) for number, table in enumerate(tables, 1)
        ],
        protocols=[(row, found) for row, found in beside_published(runs) if found],
        splits=[_split([each for each in shown if each.run.split == name]) for name in splits],
        galleries=galleries(pictured),
        compared=compare_errors(runs),
        comparisons=compare_runs(pictured),
        trainings=[
            (training, draw_training(training, f"training{number}"))
            for number, training in enumerate(trainings, 1)
        ],
    )


# --- runs ----------------------------------------------------------------------------------------


def _shown_runs(runs: list[Run], folders: dict[str, Path]) -> list[ReportedRun]:
    shown = []
    labels = labels_of([run.manifest for run in runs], [run.name for run in runs])
    for number, (run, label) in enumerate(zip(runs, labels, strict=True), start=1):
        curves = read_curves(run)
        chart = draw_threshold_curves(curves, label, f"curve{number}") if curves else None
        rules = _rules(run)
        anchor = f"run-{number}"
        shown.append(ReportedRun(label, anchor, folders[run.name], run, rules, curves, chart))
    return shown


def _rules(run: Run) -> list[RuleErrors]:
    """Measure the errors of each box rule of a run that are known."""
    of_classes = {}
    if run.classifies:
        of_classes = {f"cls {k}": Number.of(run.cls_outcomes[k]) for k in ("top1", "top5")}
    rules = []
    for rule in run.table.rules:
        numbers = dict(of_classes)
        if run.localizes:
            wrong = run.loc_outcomes[rule]
            if run.classifies:
                numbers |= {f"loc {k}": Number.of(wrong[k]) for k in ("top1", "top5")}
            numbers["gt_known"] = Number.of(wrong["gt_known"])
        if numbers:
            rules.append(RuleErrors(rule, changed_settings(run.manifest, rule), numbers))
    return rules


def _charts(table: Table, number: int) -> list[Markup]:
    """Draw the columns of a table that some run fills."""
    if not any(line.numbers for line in table.lines):
        return []
    columns = range(len(table.paper.columns))
    return [draw_table(table, column, f"table{number}-{column}") for column in columns]


# --- errors of parts -----------------------------------------------------------------------------


def _split(shown: list[ReportedRun]) -> SplitErrors:
    """Measure the errors of the runs over one split, and on which images they are made."""
    localized = [each for each in shown if each.run.localizes]
    classified = [each for each in shown if each.run.classifies]
    return SplitErrors(
        split=shown[0].run.split,
        n=max(len(each.run.table) for each in shown),
        runs=shown,
        by_size=_grid(localized, by_size),
        by_instances=_grid(localized, by_instances),
        by_class=[
            *_class_grids(localized, "GT-known localization error", _gt_known),
            *_class_grids(classified, "top-1 classification error", _cls_top1),
        ],
    )


def _gt_known(run: Run) -> np.ndarray:
    """Tell which images the run's first box rule localizes wrongly, the class given."""
    return run.loc_outcomes[next(iter(run.table.rules))]["gt_known"]


def _cls_top1(run: Run) -> np.ndarray:
    return run.cls_outcomes["top1"]


def _errors_of(run: Run, parts: list[Part], outcomes: np.ndarray) -> list[Number | None]:
    """Measure the error of each part; None for one without images."""
    wrong = [int(np.count_nonzero(outcomes[part.rows_N])) for part in parts]
    return [
        Number.of_counts(count, len(part)) if len(part) else None
        for count, part in zip(wrong, parts, strict=True)
    ]


def _grid(shown: list[ReportedRun], parts_of: Callable[[Truth], list[Part]]) -> Grid | None:
    """Measure the GT-known error of each run on each part; None where no run has one."""
    if not shown:
        return None
    rows = []
    for each in shown:
        numbers = _errors_of(each.run, parts_of(each.run.table), _gt_known(each.run))
        rows.append(GridRow(each.label, each.anchor, len(each.run.table), numbers))
    parts = parts_of(shown[0].run.table)
    return Grid([(part.name, None) for part in parts], [len(part) for part in parts], rows)


def _class_grids(
    shown: list[ReportedRun], error: str, outcomes_of: Callable[[Run], np.ndarray]
) -> list[ClassGrids]:
    """Measure an error of each run on each class; nothing where no run has it.

    Classes are in the order of their mean error over the runs, the worst first; those without an
    image are left out.
    """
    if not shown:
        return []
    parts = by_class(shown[0].run.table)
    of_runs = [
        _errors_of(s.run, by_class(s.run.table), outcomes_of(s.run)) for s in shown
    ]  # one list a run, one number a class
    rows = [
        GridRow(part.name, None, len(part), [numbers[index] for numbers in of_runs])
        for index, part in enumerate(parts)
        if len(part)
    ]
    rows.sort(key=lambda row: -np.mean([n.error for n in row.numbers if n is not None]))
    columns: list[tuple[str, str | None]] = [(each.label, each.anchor) for each in shown]
    everything = Grid(columns, [], rows)
    if len(rows) <= FEW_CLASSES:
        return [ClassGrids(error, len(rows), everything)]
    fits = len(rows) * len(columns) <= MOST_CELLS
    return [
        ClassGrids(
            error,
            len(rows),
            first=Grid(columns, [], rows[:EXTREMES]),
            best=Grid(columns, [], rows[: -EXTREMES - 1 : -1]),
            all=everything if fits else None,
        )
    ]
