"""Compute the error rates of one scored run: the contents of ``scores.json``."""

from __future__ import annotations

from typing import Any

import numpy as np

from cam_repro.errors import UserError
from cam_repro.metrics.official import hits, overlaps, percent, warn_about_boxes, wrong
from cam_repro.metrics.protocol import FIXED
from cam_repro.runs.predictions import Predictions


def cls_outcomes(table: Predictions) -> dict[str, np.ndarray]:
    """Tell which images are classified wrongly: ``top1`` and ``top5``, bool (N,), True = wrong.

    Raises UserError where there is no image, or a label is not known.
    """
    _check_labels(table)
    hit_N5 = table.classes_N5 == table.labels_N[:, None]
    return {"top1": wrong(hit_N5, 1), "top5": wrong(hit_N5, 5)}


def loc_wrong(table: Predictions, rule: str) -> dict[str, np.ndarray]:
    """Tell which images a box rule localizes wrongly, bool (N,), True = wrong.

    ``top1`` and ``top5`` are the official metric on the rule's first guess and on all five;
    ``gt_known`` looks at the box of the true class alone. An image without a true box is always
    wrong; blacklisted images are not treated otherwise.
    Raises UserError where there is no image, or a label is not known.
    """
    _check_labels(table)
    guesses = table.rules[rule]
    _, hit_N5 = hits(table, guesses.classes_N5, guesses.boxes_N54)
    known_N1 = overlaps(guesses.gt_known_N4[:, None], table.boxes)
    return {"top1": wrong(hit_N5, 1), "top5": wrong(hit_N5, 5), "gt_known": wrong(known_N1, 1)}


def loc_outcomes(table: Predictions, rule: str) -> dict[str, np.ndarray]:
    """Give ``loc_wrong``, but ``top1`` and ``top5`` without the blacklisted images.

    Raises UserError where no image is left, or a label is not known.
    """
    found = loc_wrong(table, rule)
    if table.blacklisted_N is None:
        return found
    _check_kept(table)
    kept_N = ~table.blacklisted_N
    return {**found, "top1": found["top1"][kept_N], "top5": found["top5"][kept_N]}


def check_outcomes(table: Predictions) -> None:
    """Raise UserError where ``cls_outcomes`` or ``loc_outcomes`` would, before any is computed."""
    _check_labels(table)
    if table.has_boxes:
        _check_kept(table)


def score(table: Predictions) -> dict[str, Any]:
    """Compute all errors of a run in percent, as written to ``scores.json``.

    ``{"n_images": .., "n_blacklisted": .., "cls": {"top1", "top5"}, "loc": {rule:
    {"top1", "top5", "gt_known"}}, "thresholds_are": {"iou", "box"}}``, without the last two where
    no image has a true box.
    Raises UserError where the labels are not known (split=test).
    """
    cls = cls_outcomes(table)
    counts = {"n_images": len(table), "n_blacklisted": table.n_blacklisted}
    if not table.has_boxes:
        return {**counts, "cls": _percent(cls)}
    warn_about_boxes(table)
    return {
        **counts,
        "cls": _percent(cls),
        "loc": {name: _percent(loc_outcomes(table, name)) for name in table.rules},
        "thresholds_are": {"iou": FIXED, "box": FIXED},
    }


def _percent(outcomes: dict[str, np.ndarray]) -> dict[str, float]:
    return {name: percent(wrong_N) for name, wrong_N in outcomes.items()}


def _check_kept(table: Predictions) -> None:
    if table.blacklisted_N is not None and table.blacklisted_N.all():
        raise UserError("no image to score: every image is blacklisted; add data.blacklist=none")


def _check_labels(table: Predictions) -> None:
    if not len(table):
        raise UserError("no image to score: the run holds none")
    if (table.labels_N < 0).any():
        raise UserError(
            "no labels to score against: this split has predictions and a submission only; "
            "score a labelled one (split=val)"
        )
