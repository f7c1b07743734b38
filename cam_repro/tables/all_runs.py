"""Make one table of all scored runs of a data set, also of those in no table of the paper."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from cam_repro.metrics.intervals import Number
from cam_repro.metrics.protocol import FIXED
from cam_repro.tables.build import Run
from cam_repro.tables.settings import changed_settings
from cam_repro.tables.sheet import Footnotes, Sheet, counted, grid, paragraph, reach, short

ERRORS = ("cls top-1", "cls top-5", "loc top-1", "loc top-5", "GT-known")
_HEADER = (
    *("network", "maps", "view", "split", "box", "settings", *ERRORS),
    *("n", "data", "run"),
    *(f"{name} 95% {end}" for name in ERRORS for end in ("low", "high")),
    "thresholds",
    *("GT-known oracle", "GT-known oracle 95% low", "GT-known oracle 95% high"),
)


COLUMNS = {
    "cls": ("cls top-1", "cls top-5"),
    "loc": ("loc top-1", "loc top-5"),
    "GT": ("GT-known", "GT-known oracle"),
}
"""Columns of the terminal's table, and the errors in each."""

ORACLE_NOTE = (
    "Behind the slash of GT: the error at the one threshold, of 0 to 99 % of the map's maximum, "
    "that is best on these very images, an oracle; known where maps were saved."
)


@dataclass(frozen=True)
class ScoredRule:
    """Hold one box rule of a run and its errors: those of ``ERRORS``, and the oracle, it has."""

    run: Run
    rule: str
    settings: list[str]
    errors: dict[str, Number]

    @property
    def what(self) -> list[str]:
        """Its first cells: network, maps, view."""
        return [self.run.manifest.model, self.run.manifest.saliency, self.run.view]


def runs_sheet(runs: list[Run]) -> Sheet:
    """Make ``runs.csv``: a line for each box rule of each run.

    Without true boxes the localization errors are empty; without a network (``model=none``) all
    errors but GT-known are. A run without labels has no errors, and so no line. GT-known at the
    best threshold, an oracle, is beside the rule ``threshold`` in runs that saved maps.
    """
    lines = [line for run in runs for line in scored_rules(run)]
    rows = [
        [
            *(*line.what, line.run.split, line.rule, " ".join(line.settings)),
            *(f"{line.errors[name].error:.2f}" if name in line.errors else "" for name in ERRORS),
            *(str(len(line.run.table)), line.run.data, line.run.name),
            *(end for name in ERRORS for end in ends(line.errors.get(name))),
            FIXED,
            *with_ends(line.errors.get("GT-known oracle")),
        ]
        for line in lines
    ]
    splits = sorted({line.run.split for line in lines})
    texts = [_text([line for line in lines if line.run.split == split]) for split in splits]
    return Sheet("runs", list(_HEADER), rows, "\n".join(texts))


def scored_rules(run: Run) -> Iterator[ScoredRule]:
    """Yield each box rule of a run with the errors that are known of it."""
    errors = {}
    if run.classifies:
        wrong = run.cls_outcomes
        errors = {"cls top-1": wrong["top1"], "cls top-5": wrong["top5"]}
    for rule in run.table.rules:
        boxes = {}
        if run.localizes:
            wrong = run.loc_outcomes[rule]
            boxes = {"GT-known": wrong["gt_known"]}
            if rule == "threshold" and run.table.right_at_N100 is not None:
                boxes["GT-known oracle"] = ~_at_best_threshold(run.table.right_at_N100)
            if run.classifies:
                boxes |= {"loc top-1": wrong["top1"], "loc top-5": wrong["top5"]}
        numbers = {name: Number.of(wrong_N) for name, wrong_N in (errors | boxes).items()}
        if numbers:
            yield ScoredRule(run, rule, changed_settings(run.manifest, rule), numbers)


def ends(number: Number | None) -> tuple[str, str]:
    """Write both ends of an interval; nothing where there is no number."""
    return ("", "") if number is None else (f"{number.low:.2f}", f"{number.high:.2f}")


def with_ends(number: Number | None) -> tuple[str, str, str]:
    """Write an error and both ends of its interval; nothing where there is none."""
    return ("" if number is None else f"{number.error:.2f}", *ends(number))


def _at_best_threshold(right_at_N100: np.ndarray) -> np.ndarray:
    """Tell which images are right at the one threshold that is best for all of them, bool (N,)."""
    best_N: np.ndarray = right_at_N100[:, right_at_N100.sum(axis=0).argmax()]
    return best_N


def _text(lines: list[ScoredRule]) -> str:
    """Write the lines of one split as Markdown, under each line how far its intervals reach."""
    notes = Footnotes()
    body = []
    for line in lines:
        cells = [*line.what, line.rule + notes.mark(line.settings)]
        body.append(cells + [joined(line.errors, names, error) for names in COLUMNS.values()])
        body.append([*("" for _ in cells), *reaches(line.errors, COLUMNS.values())])
    head = ["network", "maps", "view", "box", *COLUMNS]
    caption = (
        f"**All runs**: data set {lines[0].run.data}, split {lines[0].run.split}, "
        f"{counted(len(line.run.table) for line in lines)}. Errors in %: classification (cls) and "
        "localization (loc), top-1/top-5, and localization with the true class given (GT-known). "
        "±: the farther end of the 95 % bootstrap interval over images; both ends are in the CSV. "
        "Thresholds are fixed: IoU 0.5, and those of the settings."
    )
    if any("GT-known oracle" in line.errors for line in lines):
        caption += f" {ORACLE_NOTE}"
    return f"{paragraph(caption)}\n\n{grid(head, body, left=4)}\n{notes.text()}"


def joined(
    errors: dict[str, Number], names: tuple[str, ...], write: Callable[[Number], str]
) -> str:
    """Write the errors of a cell as ``28.4/8.9``; nothing where they are not known."""
    return "/".join(write(errors[name]) for name in names if name in errors)


def reaches(errors: dict[str, Number], columns: Iterable[tuple[str, ...]]) -> list[str]:
    """Write how far the intervals of the errors in each column reach: ``±4.2/3.1``."""
    found = [joined(errors, names, reach) for names in columns]
    return [f"±{cell}" if cell else "" for cell in found]


def error(number: Number) -> str:
    return short(number.error)
