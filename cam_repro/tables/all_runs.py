"""Every scored run of a data set in one table, whether or not a row of the paper's wants it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cam_repro.tables.build import Run
from cam_repro.tables.settings import changed_settings
from cam_repro.tables.sheet import Footnotes, Sheet, counted, grid, paragraph, short

_ERRORS = ("cls top-1", "cls top-5", "loc top-1", "loc top-5", "GT-known")
_HEADER = (
    *("network", "maps", "view", "split", "box", "settings", *_ERRORS),
    *("n", "data", "run"),
)


@dataclass(frozen=True)
class _Scored:
    """A box rule of a run. errors: percent, those of ``_ERRORS`` that it has."""

    run: Run
    rule: str
    settings: list[str]
    errors: dict[str, float]

    @property
    def what(self) -> list[str]:
        """Network, maps, view."""
        return [self.run.manifest["model"], self.run.manifest["saliency"], self.run.view]


def runs_sheet(runs: list[Run]) -> Sheet:
    """``runs.csv``: one line a run and box rule.

    Localization is empty where there are no true boxes, all but GT-known where no network named
    classes (``model=none``). A run without labels has no errors and no line.
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
    errors = {}
    if run.classifies:
        wrong = run.cls_outcomes
        errors = {"cls top-1": wrong["top1"], "cls top-5": wrong["top5"]}
    for rule in run.table.rules:
        boxes = {}
        if run.localizes:
            wrong = run.loc_outcomes[rule]
            boxes = {"GT-known": wrong["gt_known"]}
            if run.classifies:
                boxes |= {"loc top-1": wrong["top1"], "loc top-5": wrong["top5"]}
        percent = {name: 100 * float(wrong_N.mean()) for name, wrong_N in (errors | boxes).items()}
        if percent:
            yield _Scored(run, rule, changed_settings(run.manifest, rule), percent)


def _text(lines: list[_Scored]) -> str:
    """The lines of one split as Markdown."""
    notes = Footnotes()
    body = []
    for line in lines:
        top1_top5 = [_pair(line.errors, kind) for kind in ("cls", "loc")]
        known = [short(line.errors["GT-known"]) if "GT-known" in line.errors else ""]
        body.append([*line.what, line.rule + notes.mark(line.settings), *top1_top5, *known])
    head = ["network", "maps", "view", "box", "cls", "loc", "GT"]
    caption = (
        f"**All runs**: data set {lines[0].run.data}, split {lines[0].run.split}, "
        f"{counted(len(line.run.table) for line in lines)}. Errors in %: classification (cls) and "
        "localization (loc), top-1/top-5, and localization with the true class given (GT-known)."
    )
    return f"{paragraph(caption)}\n\n{grid(head, body, left=4)}\n{notes.text()}"


def _pair(errors: dict[str, float], kind: str) -> str:
    """``28.4/8.9``, top-1 and top-5; empty where they are not known."""
    names = (f"{kind} top-1", f"{kind} top-5")
    return "/".join(short(errors[name]) for name in names if name in errors)
