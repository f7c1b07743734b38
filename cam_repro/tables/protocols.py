"""Show what runs score by the protocols of later papers, and what was published for CAM beside it.

``published/*.csv`` has the published numbers, each with its data set, its source, and how its
threshold came about. Ours are what ``cam-score keep=true`` left with a run; the localization at a
fixed threshold is known of every run with ``box=threshold``. All are accuracies in percent.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cam_repro.metrics.intervals import Number
from cam_repro.metrics.protocol import FIXED
from cam_repro.runs.manifest import DEFAULT_VIEW
from cam_repro.tables.build import Run
from cam_repro.tables.settings import changed_settings
from cam_repro.tables.sheet import Footnotes, Sheet, grid, paragraph

PUBLISHED = Path(__file__).parent / "published"

ALL, NONE = "all", "none"
"""Of a number over all thresholds, such as PxAP, or of one without, such as the pointing game's, in
place of what its threshold is."""

_HEADER = (
    *("number", "network", "maps", "view", "ours", "95% low", "95% high", "threshold", "n"),
    *("published", "their network", "their data", "their threshold", "source", "data", "split"),
    *("settings", "run"),
)


@dataclass(frozen=True)
class Published:
    """Hold a published number of CAM.

    number: what it is. network: as its source calls it. models: our names of that network, best
    first. data, split: what it was measured on. threshold: ``fixed``, ``oracle`` or ``ALL``.
    """

    number: str
    network: str
    models: tuple[str, ...]
    data: str
    split: str
    value: float
    threshold: str
    source: str


@dataclass(frozen=True)
class Ours:
    """Hold a number of one of our runs: accuracy, 95 % interval where known, and threshold."""

    run: Run
    number: str
    value: float
    ends: tuple[float, float] | None
    threshold: str

    @property
    def settings(self) -> list[str]:
        """What differs from the defaults among the settings by which the number came about.

        A fixed threshold is that of the box rule; others were not chosen by any setting.
        """
        rule = "threshold" if self.threshold == FIXED else None
        return changed_settings(self.run.manifest, rule)


@dataclass(frozen=True)
class _Kept:
    """Say where a number stands in the JSON of a protocol.

    path, ends: keys of the number and of its interval, None where there is no interval. threshold:
    its key in ``thresholds_are``, or ``ALL`` or ``NONE``. of_error: whether the JSON has the error,
    100 less the accuracy.
    """

    number: str
    protocol: str
    path: tuple[str, ...]
    ends: tuple[str, ...] | None
    threshold: str
    of_error: bool = False


_CHOSEN = tuple(
    _Kept(
        f"{name} localization",
        "threshold_curve",
        ("chosen", key, "error"),
        ("chosen", key, "error_95"),
        "chosen",
        of_error=True,
    )
    for name, key in (("top-1", "top1"), ("top-5", "top5"), ("GT-known", "gt_known"))
)

_POINTING, _ENERGY = "pointing_game", "energy_in_box"

KEPT = (
    _Kept("MaxBoxAcc", "max_box_acc", ("max_box_acc", "0.5"), ("max_box_acc_95", "0.5"), "mean"),
    _Kept("MaxBoxAccV2", "max_box_acc_v2", ("mean",), None, "mean"),
    _Kept("MaxBoxAccV2", "max_box_acc_v2", ("chosen", "mean"), None, "chosen"),
    _Kept("PxAP", "pxap", ("pxap",), ("pxap_95",), ALL),
    *_CHOSEN,
    *(
        _Kept(
            f"pointing game, {part}", _POINTING, (_POINTING, part), (f"{_POINTING}_95", part), NONE
        )
        for part in ("all", "difficult")
    ),
    _Kept("energy in the box", _ENERGY, (_ENERGY,), (f"{_ENERGY}_95",), NONE),
)
"""The numbers that are shown, in their order."""

_AT_FIXED = {
    "top-1 localization": "top1",
    "top-5 localization": "top5",
    "GT-known localization": "gt_known",
}


def published() -> list[Published]:
    """Read the published numbers, in the order of their files."""
    rows = []
    for path in sorted(PUBLISHED.glob("*.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                models, value = tuple(row.pop("models").split()), float(row.pop("value"))
                rows.append(Published(models=models, value=value, **row))
    return rows


def protocols_sheet(runs: list[Run]) -> Sheet | None:
    """Make ``protocols.csv`` of the runs of one data set; None where none has kept scores."""
    lines = beside_published(runs)
    if not lines:
        return None
    return Sheet("protocols", list(_HEADER), [_row(*line) for line in lines], _text(lines, runs[0]))


def beside_published(runs: list[Run]) -> list[tuple[Published | None, Ours | None]]:
    """Put the numbers of the runs of one data set beside published ones.

    First the published numbers, beside each the newest run of that network by CAM on the same data
    set with a threshold of the same kind, by the default view and settings; None where no run fills
    it. Then all other numbers of the runs. Nothing where no run has kept scores.
    """
    if not any(run.scores for run in runs):
        return []
    ours = [found for run in runs for found in numbers_of(run)]
    rows = [(row, _beside(row, ours)) for row in published()]
    used = {id(found) for _, found in rows if found}
    return [*rows, *((None, found) for found in ours if id(found) not in used)]


def numbers_of(run: Run) -> Iterator[Ours]:
    """Yield the numbers of a run: those that were kept, and those at its fixed threshold."""
    for kept in KEPT:
        numbers = run.scores.get(kept.protocol, {})
        value = _at(numbers, kept.path)
        if not _is_number(value):
            continue
        ends = None if kept.ends is None else _ends(_at(numbers, kept.ends))
        threshold = kept.threshold
        if threshold not in (ALL, NONE):
            threshold = str(_at(numbers, ("thresholds_are", kept.threshold)) or "")
        if kept.of_error:
            value, ends = 100 - value, ends and (100 - ends[1], 100 - ends[0])
        yield Ours(run, kept.number, value, ends, threshold)
    if run.localizes and run.classifies and "threshold" in run.table.rules:
        for name, key in _AT_FIXED.items():
            right = Number.of(~run.loc_outcomes["threshold"][key])
            yield Ours(run, name, right.error, (right.low, right.high), FIXED)


def _at(values: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    """Follow keys into a JSON object; None where one is not there."""
    found: Any = values
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def _ends(value: Any) -> tuple[float, float] | None:
    """Take the ends of an interval; None where they are no two numbers."""
    are_ends = isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))
    return (value[0], value[1]) if are_ends else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _beside(row: Published, ours: list[Ours]) -> Ours | None:
    """Find our number for a published one: of the newest run, of the first of its networks."""

    def fits(found: Ours) -> bool:
        manifest = found.run.manifest
        is_data = row.data == found.run.data or (row.data == "ilsvrc" and manifest.data.is_ilsvrc)
        is_same = (found.number, found.threshold) == (row.number, row.threshold)
        is_cam = (manifest.saliency, manifest.view) == ("cam", DEFAULT_VIEW) and not found.settings
        return is_same and is_data and is_cam and row.split == found.run.split

    fitting = [found for found in ours if fits(found) and found.run.manifest.model in row.models]
    if not fitting:
        return None
    return max(
        fitting,
        key=lambda found: (
            -row.models.index(found.run.manifest.model),
            found.run.manifest.provenance.created,
        ),
    )


def _row(row: Published | None, found: Ours | None) -> list[str]:
    cells = [row.number if row else found.number if found else ""]
    if found:
        ends = (f"{found.ends[0]:.2f}", f"{found.ends[1]:.2f}") if found.ends else ("", "")
        manifest = found.run.manifest
        cells += [manifest.model, manifest.saliency, found.run.view, f"{found.value:.2f}", *ends]
        cells += [found.threshold, str(len(found.run.table))]
    else:
        cells += [""] * 8
    if row:
        data = f"{row.data} {row.split}"
        cells += [f"{row.value:.1f}", row.network, data, row.threshold, row.source]
    else:
        cells += [""] * 5
    if not found:
        return cells + [""] * 4
    run = found.run
    return [*cells, run.data, run.split, " ".join(found.settings), run.name]


def _text(lines: list[tuple[Published | None, Ours | None]], run: Run) -> str:
    """Write what some run fills as Markdown.

    Notes say where thresholds were chosen, and what is not the default view and settings.
    """
    notes, body = Footnotes(), []
    for row, found in lines:
        if not found:
            continue
        kind, _, where = found.threshold.partition(" ")
        view = found.run.view
        changed = [*([] if view == DEFAULT_VIEW else [f"view={view}"]), *found.settings]
        cells = [found.number, found.run.manifest.model]
        cells += [
            found.run.manifest.saliency + notes.mark(changed),
            found.run.split,
            f"{found.value:.2f}",
            kind + notes.mark([where] if where else []),
        ]
        body.append([*cells, f"{row.value:.1f}" if row else ""])
    sources = "; ".join(dict.fromkeys(row.source for row, found in lines if row and found))
    caption = (
        f"**Protocols**: data set {run.data}. Accuracies in %. Threshold: fixed, chosen on other "
        "images, the best on these very images (oracle), all of them, or none. Published numbers "
        "stand where data set, network and the kind of threshold are the same, beside runs by the "
        "default view and settings"
        f"{': ' + sources if sources else '; here are none'}. The CSV has all published numbers "
        "and the intervals."
    )
    head = ["number", "network", "maps", "split", "ours", "threshold", "published"]
    return f"{paragraph(caption)}\n\n{grid(head, body, left=4)}\n{notes.text()}"
