"""Make one table of all scored runs of a data set, also of those in no table of the paper."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from cam_repro.tables.build import Run
from cam_repro.tables.settings import changed_settings
from cam_repro.tables.sheet import Footnotes, Sheet, counted, grid, paragraph, short

_ERRORS = ("cls top-1", "cls top-5", "loc top-1", "loc top-5", "GT-known", "oracle")
_HEADER = (
    *("network", "maps", "view", "split", "box", "settings", *_ERRORS),
    *("n", "data", "run"),
)


@dataclass(frozen=True)
class _Scored:
    """Hold one box rule of a run and its errors in percent: those of ``_ERRORS`` that it has."""

    run: Run
    rule: str
    settings: list[str]
    errors: dict[str, float]

    @property
    def what(self) -> list[str]:
        """Its first cells: network, maps, view."""
        return [self.run.manifest.model, self.run.manifest.saliency, self.run.view]


def runs_sheet(runs: list[Run]) -> Sheet:
    """Make ``runs.csv``: a line for each box rule of each run.

    Without true boxes the localization errors are empty; without a network (``model=none``) all
    errors but GT-known are. A run without labels has no errors, and so no line. The oracle stands
    beside the rule ``threshold``, in runs that saved maps.
    """
    lines = [line for run in runs for line in _scores(run)]
    rows = [
        [
            *(*line.what, line.run.split, line.rule, " ".join(line.settings)),
            *(f"{line.errors[name]:.2f}" if name in line.errors else "" for name in _ERRORS),
            *(str(len(line.run.table)), line.run.data, line.run.name),
        ]
        for line in lines
    ]
    splits = sorted({line.run.split for line in lines})
    texts = [_text([line for line in lines if line.run.split == split]) for split in splits]
    return Sheet("runs", list(_HEADER), rows, "\n".join(texts))


def _scores(run: Run) -> Iterator[_Scored]:
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
                boxes["oracle"] = ~_at_best_threshold(run.table.right_at_N100)
            if run.classifies:
                boxes |= {"loc top-1": wrong["top1"], "loc top-5": wrong["top5"]}
        percent = {name: 100 * float(wrong_N.mean()) for name, wrong_N in (errors | boxes).items()}
        if percent:
            yield _Scored(run, rule, changed_settings(run.manifest, rule), percent)


def _at_best_threshold(right_at_N100: np.ndarray) -> np.ndarray:
    """Tell which images are right at the one threshold that is best for all of them, bool (N,)."""
    best_N: np.ndarray = right_at_N100[:, right_at_N100.sum(axis=0).argmax()]
    return best_N


def _text(lines: list[_Scored]) -> str:
    """Write the lines of one split as Markdown."""
    notes = Footnotes()
    body = []
    for line in lines:
        pairs = [("cls top-1", "cls top-5"), ("loc top-1", "loc top-5"), ("GT-known", "oracle")]
        errors = [_joined(line.errors, names) for names in pairs]
        body.append([*line.what, line.rule + notes.mark(line.settings), *errors])
    head = ["network", "maps", "view", "box", "cls", "loc", "GT/best"]
    caption = (
        f"**All runs**: data set {lines[0].run.data}, split {lines[0].run.split}, "
        f"{counted(len(line.run.table) for line in lines)}. Errors in %: classification (cls) and "
        "localization (loc), top-1/top-5, and localization with the true class given (GT). Best: "
        "GT with that threshold, of 0 to 99 % of the maximum, which is best on these very images, "
        "an oracle; known where maps were saved."
    )
    return f"{paragraph(caption)}\n\n{grid(head, body, left=4)}\n{notes.text()}"


def _joined(errors: dict[str, float], names: tuple[str, str]) -> str:
    """Write two errors as ``28.4/8.9``; nothing for one that is not known."""
    return "/".join(short(errors[name]) for name in names if name in errors)
