"""Compare runs as the paper does, over the same images: its statements, and how sure they are."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations

from cam_repro.errors import UserError
from cam_repro.metrics.comparison import Paired, compare, pair_images
from cam_repro.tables import SOURCES, Run

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Compared:
    """Hold two runs, or two box rules of one, and their errors over the images of both.

    title: what sets them apart, the paper's own choice first. paired: by the error's name.
    """

    title: str
    runs: tuple[Run, Run]
    rules: tuple[str, str]
    paired: dict[str, Paired]


def what_is_compared(first: Run, second: Run) -> str | None:
    """Name what sets two runs apart; None if it is more than that, or nothing the paper compares.

    Both must be of the same split and view, and the first by CAM.
    """
    ours, other = first.manifest, second.manifest
    if ours.saliency != "cam" or (ours.split, ours.view) != (other.split, other.view):
        return None
    plain = ours.model.replace("_gap", "")
    if other.saliency == "backprop" and other.model in (ours.model, plain):
        return "CAM and Backprop"
    if other.saliency != "cam" or plain == ours.model:
        return None
    return {
        plain: "The GAP network and the plain one",
        ours.model.replace("_gap", "_gmp"): "Global average pooling and global max pooling",
    }.get(other.model)


def compare_errors(runs: list[Run]) -> list[Compared]:
    """Compare the localization errors of all runs that the paper's statements are about.

    Two runs are compared by the first box rule that both have. Loose and tight boxes together are
    compared with loose ones alone within each run, by the five guesses, as the others are the same.
    """
    found = []
    for title, pair, rules, errors in [*_runs(runs), *_rules(runs)]:
        tables = pair[0].table, pair[1].table
        try:
            images = pair_images(*tables, (pair[0].name, pair[1].name))
        except UserError as error:
            log.warning("not compared: %s", error)
            continue
        paired = compare(*tables, images, rules)
        paired = {name: paired[name] for name in errors if name in paired}
        if paired:
            found.append(Compared(title, pair, rules, paired))
    return found


_Pair = tuple[str, tuple[Run, Run], tuple[str, str], tuple[str, ...]]
"""A title, two runs, their box rules, and the errors to compare."""


def _runs(runs: list[Run]) -> Iterator[_Pair]:
    for first, second in permutations(runs, 2):
        title = what_is_compared(first, second)
        shared = [rule for rule in first.table.rules if rule in second.table.rules]
        if title is not None and shared:
            yield title, (first, second), (shared[0], shared[0]), ("loc top-5", "GT-known")


def _rules(runs: list[Run]) -> Iterator[_Pair]:
    for run in runs:
        for source in SOURCES.values():
            rules = source.rules["heuristic"], source.rules["threshold"]
            if set(rules) <= run.table.rules.keys():
                title = "Loose and tight boxes, and loose ones alone"
                yield title, (run, run), rules, ("loc top-5",)
