"""Tell how each image fared: one row an image, with the IoU of its boxes."""

from __future__ import annotations

from typing import Any

import numpy as np

from cam_repro.metrics.gt_known import best_iou
from cam_repro.runs.guesses import Guesses
from cam_repro.truth import Truth
from cam_repro.types import PAD


def rows_of_images(
    truth: Truth, classes_N5: np.ndarray, rules: dict[str, Guesses]
) -> dict[str, list[Any]]:
    """Make a table with a row an image: its columns by name, None where there is nothing.

    classes_N5: the best five classes, best first, numbered as the truth's labels; ``PAD`` where
    there is none. rules: guesses by box rule, in the truth's order; of a file alone, by "".

    Columns: ``id``; ``label``, the true class; ``top1``, the class guessed first; ``place`` of the
    true class among the five, 1 to 5; ``true_boxes``, how many; ``blacklisted``, 0 or 1. Then of
    each rule, as ``RULE/first_iou``: the IoU of a box with the true box that it overlaps most, of
    ``first_iou`` the first guess's box, whatever its class; of ``right_iou`` the best box of the
    right class; of ``known_iou``, in runs, the box when the true class is given.
    """
    labels_N = np.asarray(truth.labels_N)
    right_N5 = (classes_N5 == labels_N[:, None]) & (classes_N5 >= 0)
    place_N = np.where(right_N5.any(axis=1), right_N5.argmax(axis=1) + 1, PAD)
    blacklisted_N = truth.blacklisted_N
    if blacklisted_N is None:
        blacklisted_N = np.zeros(len(truth), bool)
    columns: dict[str, list[Any]] = {
        "id": list(truth.ids),
        "label": _or_none(labels_N, labels_N >= 0),
        "top1": _or_none(classes_N5[:, 0], classes_N5[:, 0] >= 0),
        "place": _or_none(place_N, place_N > 0),
        "true_boxes": truth.boxes.counts_N.tolist(),
        "blacklisted": blacklisted_N.astype(int).tolist(),
    }
    for name, guesses in rules.items():
        for column, values in _ious(truth, guesses).items():
            columns[f"{name}/{column}" if name else column] = values
    return columns


def _ious(truth: Truth, guesses: Guesses) -> dict[str, list[Any]]:
    """Give the columns of a box rule."""
    made_N5 = (guesses.boxes_N54 != PAD).any(axis=2)
    right_N5 = made_N5 & (guesses.labels_N5 == np.asarray(truth.labels_N)[:, None])
    first_N = best_iou(guesses.boxes_N54[:, 0], truth.boxes)
    right_N = np.zeros(len(truth))
    for rank in range(right_N5.shape[1]):
        rows = np.flatnonzero(right_N5[:, rank])
        iou_X = best_iou(guesses.boxes_N54[rows, rank], truth.boxes.select(rows))
        right_N[rows] = np.maximum(right_N[rows], iou_X)
    columns = {
        "first_iou": _or_none(first_N, made_N5[:, 0]),
        "right_iou": _or_none(right_N, right_N5.any(axis=1)),
    }
    if not guesses.is_of_file:
        known_N = best_iou(guesses.known_N4, truth.boxes)
        columns["known_iou"] = _or_none(known_N, (guesses.known_N4 != PAD).any(axis=1))
    return columns


def _or_none(values_N: np.ndarray, there_N: np.ndarray) -> list[Any]:
    """Give values as a list, None where ``there_N``, bool (N,), is false."""
    pairs = zip(values_N.tolist(), there_N.tolist(), strict=True)
    return [value if there else None for value, there in pairs]
