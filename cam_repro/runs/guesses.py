"""Read anybody's guesses, in whatever form, and bring them into the order of a ground truth."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cam_repro.errors import UserError, choose
from cam_repro.formats.names import name_of
from cam_repro.formats.submissions import (
    KAGGLE_HEADER,
    read_kaggle_submission,
    read_submission,
)
from cam_repro.formats.text import read_header
from cam_repro.runs.folders import run_folder
from cam_repro.truth import Truth
from cam_repro.types import NO_LABEL, PAD

log = logging.getLogger(__name__)


@dataclass
class Guesses:
    """Hold guesses in the ground truth's order, ``PAD`` (-1) where there is none.

    labels_N5: numbers of the same kind as the ground truth's labels; boxes_N54: their boxes;
    known_N4: the one box of each image for its true class.
    """

    labels_N5: np.ndarray
    boxes_N54: np.ndarray
    known_N4: np.ndarray


def read_guesses(path: Path, truth: Truth, rule: str | None, with_labels: bool) -> Guesses:
    """Read a submission in any form and bring it into the order of the ground truth.

    path: a run folder or its predictions.parquet, Kaggle's CSV, or a text file of the development
        kit. The last is matched line by line, the others by image id.
    rule: the box rule of a run to read; None: its first.
    with_labels: whether the labels will be used. If not, they are not checked, and may be anything.

    Raises UserError for lines or images that do not match. Images that a submission with ids does
    not name have no guess.
    """
    folder = run_folder(path)
    if folder is not None:
        return _read_run(folder, truth, rule, with_labels)
    if rule is not None:
        raise UserError(f"box={rule}: {path} is no run folder, so it has no box rules")
    if set(KAGGLE_HEADER) <= set(read_header(path, "submission")):
        return _read_kaggle(path, truth, with_labels)
    return _read_text(path, truth, with_labels)


def _read_run(folder: Path, truth: Truth, rule: str | None, with_labels: bool) -> Guesses:
    from cam_repro.runs.predictions import read_predictions  # pyarrow, which text files do without

    table = read_predictions(folder)
    names = list(table.rules)
    name = rule or names[0]
    if name not in names:
        raise UserError(f"box={name}: not in {folder}; {choose(name, names)}")
    found = table.rules[name]
    if with_labels:
        if not table.manifest.classifies:
            raise UserError(
                f"{folder}: made without a network, it guesses no classes: add protocol=gt_known"
            )
        classes = table.classes
        if truth.classes is None:
            log.warning("labels of the ground truth are taken as class indices (0, 1, ...)")
        elif classes is not None and len(classes) != len(truth.classes):
            raise UserError(
                f"{folder} is of {len(classes)} classes, the ground truth of {len(truth.classes)}"
            )
    elif (found.gt_known_N4 == PAD).all():
        raise UserError(
            f"{folder}: has no boxes of the true class, which was not known: score a labelled split"
        )
    rows_N = match_ids(table.ids, truth.ids, folder)
    others = ", ".join(other for other in names if other != name)
    log.info("box rule %s%s", name, f" (box=NAME for {others})" if others else "")
    return Guesses(
        labels_N5=_in_order(found.classes_N5, rows_N),
        boxes_N54=_in_order(found.boxes_N54, rows_N),
        known_N4=_in_order(found.gt_known_N4, rows_N),
    )


def _read_kaggle(path: Path, truth: Truth, with_labels: bool) -> Guesses:
    ids, words_N5, boxes_N54 = read_kaggle_submission(path)
    labels_N5 = np.full(words_N5.shape, PAD, np.int64)
    if with_labels:
        classes = truth.classes
        if classes is None:
            raise UserError(_no_wnids(path))
        index_of = {wnid: index for index, wnid in enumerate(classes.wnids)}
        index_of |= {str(label): index for index, label in enumerate(classes.submission_labels_C)}
        guessed_N5 = words_N5 != ""
        words = words_N5[guessed_N5].tolist()
        labels_N5[guessed_N5] = [index_of.get(word, NO_LABEL) for word in words]
        is_unknown_N5 = guessed_N5 & (labels_N5 == NO_LABEL)
        if words and is_unknown_N5.sum() == len(words):
            raise UserError(_no_wnids(path))
        _warn_of_unknown(path, words_N5[is_unknown_N5].tolist())
    rows_N = match_ids(ids, truth.ids, path)
    boxes_N54 = _in_order(boxes_N54, rows_N)
    return Guesses(_in_order(labels_N5, rows_N), boxes_N54, boxes_N54[:, 0])


def _no_wnids(path: Path) -> str:
    return (
        f"{path}: names classes (by WordNet ids) that the ground truth does not know; give "
        "data=ilsvrc data.root=DIR, XML files or a CSV with class_index as ground truth"
    )


def _read_text(path: Path, truth: Truth, with_labels: bool) -> Guesses:
    labels_N5, boxes_N54 = read_submission(path)
    if len(labels_N5) != len(truth):
        raise UserError(
            f"{path}: the submission has {len(labels_N5)} lines, ground truth {len(truth)}: "
            "one line an image is needed, an empty one where nothing is guessed"
        )
    if list(truth.ids) != sorted(truth.ids):
        log.warning("the ground truth is not in file-name order; lines are matched as they stand")
    if with_labels and truth.classes is not None:
        given_N5, labels_N5 = labels_N5, truth.classes.indices_of_labels(labels_N5)
        is_guess_N5 = (given_N5 != PAD) | (boxes_N54 != PAD).any(axis=2)
        unknown = given_N5[is_guess_N5 & (labels_N5 == NO_LABEL)]
        _warn_of_unknown(path, unknown.tolist())
    return Guesses(labels_N5, boxes_N54, boxes_N54[:, 0])


def _warn_of_unknown(path: Path, labels: Sequence[object]) -> None:
    if labels:
        log.warning(
            "%s: %d guesses have a label that no class has (the first: %s); each counts as wrong",
            path,
            len(labels),
            labels[0],
        )


def match_ids(ids: Sequence[str], images: Sequence[str], source: Path) -> np.ndarray:
    """Find the row among ``ids`` of each of the ground truth's ``images``, int64; -1 for none.

    If some ids are not among the images, both are compared without folder and suffix
    (``val/a.JPEG`` is ``a``), as long as these short names are distinct.
    Raises UserError for an id that is no image of the ground truth; warns of images without one.
    """
    known = set(images)
    if not known.issuperset(ids):
        short_ids, short_images = (
            [name_of(name) for name in ids],
            [name_of(name) for name in images],
        )
        if len(set(short_ids)) == len(ids) and len(set(short_images)) == len(images):
            ids, images, known = short_ids, short_images, set(short_images)
    row_of = {image_id: row for row, image_id in enumerate(ids)}
    rows_N = np.array([row_of.get(image, -1) for image in images], np.int64)
    strange = sorted(row_of.keys() - known, key=row_of.__getitem__)
    if strange:
        raise UserError(
            f"{source}: image {strange[0]} is not in the ground truth ({len(strange)} of "
            f"{len(ids)} are not); give the ground truth of the same images"
        )
    if np.count_nonzero(rows_N >= 0) > len(ids):
        raise UserError("the ground truth has an image twice, so guesses cannot be matched by name")
    lacking = np.flatnonzero(rows_N < 0)
    if len(lacking):
        log.warning(
            "%s: no guesses for %d of %d images (the first: %s); each counts as wrong",
            source,
            len(lacking),
            len(images),
            images[lacking[0]],
        )
    return rows_N


def _in_order(values_X: np.ndarray, rows_N: np.ndarray) -> np.ndarray:
    """Put the rows of an array in the order of ``rows_N``, ``PAD`` where that is -1."""
    ordered_N = np.full((len(rows_N), *values_X.shape[1:]), PAD, np.int64)
    ordered_N[rows_N >= 0] = values_X[rows_N[rows_N >= 0]]
    return ordered_N
