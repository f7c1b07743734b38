"""Read anybody's guesses, in whatever form, and bring them into the order of a ground truth."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cam_repro.classes import ClassTable, are_numbers
from cam_repro.errors import UserError, one_of
from cam_repro.formats.names import name_of
from cam_repro.formats.submissions import (
    KAGGLE_HEADER,
    read_kaggle_submission,
    read_submission,
)
from cam_repro.formats.text import has_columns, read_header
from cam_repro.geometry import corners_of_xywh
from cam_repro.runs.manifest import check_unchanged
from cam_repro.truth import Truth
from cam_repro.types import NO_LABEL, PAD

if TYPE_CHECKING:  # pyarrow, which text files do without
    from cam_repro.runs.predictions import Predictions

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Numbering:
    """Say how the labels of a text file number the classes.

    what: its name for messages. indices: turns labels, integers of any shape, into class indices;
    ``NO_LABEL`` where a number is no label.
    """

    what: str
    indices: Callable[[np.ndarray, ClassTable], np.ndarray]


def _checked(indices_X: np.ndarray, classes: ClassTable) -> np.ndarray:
    is_class_X = (indices_X >= 0) & (indices_X < len(classes))
    return np.where(is_class_X, indices_X, NO_LABEL)


NUMBERINGS = {
    "kit": Numbering("ids of the development kit", lambda x, of: of.indices_of_labels(x)),
    "index": Numbering("class indices", _checked),
    "index+1": Numbering("class index + 1", lambda x, of: _checked(x - 1, of)),
}
"""What ``labels=NAME`` names. The default is ``kit``: class index + 1 where classes have no ids."""


@dataclass(frozen=True)
class Form:
    """Say how the numbers of a submission are meant.

    labels: of ``NUMBERINGS``, for text files; None: the development kit's ids, or class index + 1
    where the classes have none, or just as in a ground truth without named classes.
    boxes: ``xyxy``, corners, or ``xywh``, ``x y width height``.
    Raises UserError for other words.
    """

    labels: str | None = None
    boxes: str = "xyxy"

    def __post_init__(self) -> None:
        if self.labels is not None:
            one_of("labels", self.labels, NUMBERINGS)
        one_of("boxes", self.boxes, ("xyxy", "xywh"))


@dataclass
class Guesses:
    """Hold guesses in the ground truth's order, ``PAD`` (-1) where there is none.

    labels_N5: numbers of the same kind as the ground truth's labels; boxes_N54: their boxes;
    known_N4: the one box of each image for its true class.
    n_beyond: guesses after the fifth of an image, left out. n_unknown: guesses whose label no class
    has. is_of_file: whether anybody's file was read, not a run; form: how its numbers were meant;
    given_N5: the labels of a file that numbers the classes, as they stand there.
    """

    labels_N5: np.ndarray
    boxes_N54: np.ndarray
    known_N4: np.ndarray
    n_beyond: int = 0
    n_unknown: int = 0
    is_of_file: bool = False
    form: Form = Form()
    given_N5: np.ndarray | None = None


def read_guesses(
    path: Path,
    truth: Truth,
    with_labels: bool = True,
    form: Form | None = None,
) -> Guesses:
    """Read a file of guesses and bring them into the order of the ground truth.

    path: Kaggle's CSV, matched by image id, or a text file of the development kit, by line.
    with_labels: whether the labels will be used. If not, they are not checked, and may be anything.
    form: how the numbers of the file are meant.

    Raises UserError for lines or images that do not match. Images that a submission with ids does
    not name have no guess.
    """
    form = form or Form()
    check_unchanged(path, "copy it to another folder if you changed it, or score the run again")
    if has_columns(read_header(path, "submission"), KAGGLE_HEADER):
        guesses = _read_kaggle(path, truth, with_labels, form)
    else:
        guesses = _read_text(path, truth, with_labels, form)
    if form.boxes == "xywh":
        guesses.boxes_N54 = corners_of_xywh(guesses.boxes_N54)
        guesses.known_N4 = guesses.boxes_N54[:, 0]
    return guesses


@dataclass(frozen=True, eq=False)
class RunGuesses:
    """Hold a run and where its images are in the order of a truth.

    folder: of the run, for messages. rows_N: the run's row of each image of the truth; -1 for none.
    """

    table: Predictions
    folder: Path
    truth: Truth
    rows_N: np.ndarray

    @classmethod
    def in_order_of(cls, truth: Truth, table: Predictions, folder: Path) -> RunGuesses:
        """Match a run's images with those of a truth; raises UserError as ``match_ids`` does."""
        return cls(table, folder, truth, match_ids(table.ids, truth.ids, folder))

    @property
    def classes_N5(self) -> np.ndarray:  # noqa: N802
        """The best five classes of each image, best first, int64; ``PAD`` where there is none."""
        return _in_order(self.table.classes_N5, self.rows_N)

    def of(self, rule: str) -> Guesses:
        """Give the guesses of a box rule that the run has."""
        found = self.table.rules[rule]
        return Guesses(
            labels_N5=_in_order(found.classes_N5, self.rows_N),
            boxes_N54=_in_order(found.boxes_N54, self.rows_N),
            known_N4=_in_order(found.gt_known_N4, self.rows_N),
        )

    def chosen(self, rule: str | None, with_labels: bool) -> Guesses:
        """Give the guesses of the box rule to be scored; None: the first. Say which others it has.

        with_labels: whether the labels will be used. Raises UserError where the run lacks the rule,
        or what is to be scored.
        """
        names = list(self.table.rules)
        name = rule or names[0]
        self.table.manifest.check_rule(name, self.folder)
        if with_labels:
            self._check_classes()
        elif (self.table.rules[name].gt_known_N4 == PAD).all():
            raise UserError(
                f"{self.folder}: has no boxes of the true class, which was not known: score a "
                "labelled split"
            )
        others = ", ".join(other for other in names if other != name)
        log.info("box rule %s%s", name, f" (box=NAME for {others})" if others else "")
        return self.of(name)

    def _check_classes(self) -> None:
        """Raise UserError unless the run guesses classes, and those of the truth."""
        if not self.table.manifest.classifies:
            raise UserError(
                f"{self.folder}: made without a network, it guesses no classes: add "
                "protocol=gt_known"
            )
        classes, true = self.table.classes, self.truth.classes
        if true is None:
            log.warning("labels of the ground truth are taken as class indices (0, 1, ...)")
        elif classes is not None:
            fits = len(classes) == len(true) if true.is_named else len(classes) >= len(true)
            if not fits:
                raise UserError(
                    f"{self.folder} is of {len(classes)} classes, the ground truth of {len(true)}"
                )


def _read_kaggle(path: Path, truth: Truth, with_labels: bool, form: Form) -> Guesses:
    ids, words_N5, boxes_N54, n_beyond = read_kaggle_submission(path)
    labels_N5 = np.full(words_N5.shape, PAD, np.int64)
    given_N5, n_unknown = None, 0
    if with_labels:
        labels_N5, given_N5 = _labels_of_words(path, words_N5, truth.classes, form)
        unknown = words_N5[(words_N5 != "") & (labels_N5 == NO_LABEL)].tolist()
        n_unknown = len(unknown)
        _warn_of_unknown(path, unknown)
    rows_N = match_ids(ids, truth.ids, path)
    boxes_N54 = _in_order(boxes_N54, rows_N)
    return Guesses(
        labels_N5=_in_order(labels_N5, rows_N),
        boxes_N54=boxes_N54,
        known_N4=boxes_N54[:, 0],
        n_beyond=n_beyond,
        n_unknown=n_unknown,
        is_of_file=True,
        form=form,
        given_N5=None if given_N5 is None else _in_order(given_N5, rows_N),
    )


def _labels_of_words(
    path: Path, words_N5: np.ndarray, classes: ClassTable | None, form: Form
) -> tuple[np.ndarray, np.ndarray | None]:
    """Give the class indices of what Kaggle's CSV calls the classes, int64 (N, 5), and the numbers.

    Those are class names; or, in all rows alike, labels as of a text file (``_are_labels``). The
    numbers are None where not all are numbers. Raises UserError where none is of a class.
    """
    is_guess_N5 = words_N5 != ""
    words = words_N5[is_guess_N5].tolist()
    if form.labels is not None and not are_numbers(words):
        raise UserError(f"labels={form.labels}: {path} has names of classes; leave labels out")
    if classes is None:
        raise UserError(_no_wnids(path))
    labels_N5, given_N5 = np.full(words_N5.shape, PAD, np.int64), None
    if are_numbers(words):
        given_N5 = labels_N5.copy()
        given_N5[is_guess_N5] = [min(int(word), 2**31) for word in words]
    if given_N5 is not None and _are_labels(path, words, classes, form):
        labels_N5 = _numbering(path, classes, form).indices(given_N5, classes).astype(np.int64)
    else:
        index_of = {wnid: index for index, wnid in enumerate(classes.wnids)}
        if not are_numbers(classes.wnids):
            labels = map(str, classes.submission_labels_C)
            index_of |= {label: index for index, label in enumerate(labels)}
        labels_N5[is_guess_N5] = [index_of.get(word, NO_LABEL) for word in words]
    if words and not (labels_N5[is_guess_N5] != NO_LABEL).any():
        raise UserError(_no_wnids(path))
    return labels_N5, given_N5


def _are_labels(path: Path, words: Sequence[str], classes: ClassTable, form: Form) -> bool:
    """Tell whether numbers in Kaggle's CSV are labels, not the names of classes; log a choice.

    Where classes are called by numbers, numbers are their names if all of them are, or if not all
    are labels either.
    """
    if form.labels is not None or not are_numbers(classes.wnids):
        return True
    labels = dict(zip(map(str, classes.submission_labels_C), classes.wnids, strict=True))
    if all(labels.get(word) == word for word in words):
        return False  # as names and as labels they are the same
    no_name = next((word for word in words if classes.get(word) is None), None)
    if no_name is not None and labels.keys() >= set(words):
        log.info(
            "labels of %s are read as %s, as no class is called %s",
            *(path, classes.labels_are, no_name),
        )
        return True
    log.info("labels of %s are read as names of classes (labels=index+1: as class index + 1)", path)
    return False


def _numbering(path: Path, classes: ClassTable, form: Form) -> Numbering:
    """Give the numbering that a file's labels are read by; UserError where the classes lack it."""
    if form.labels == "kit" and classes.devkit_ids_C is None:
        raise UserError("labels=kit: these classes have no ids of the development kit")
    if form.labels is None and not classes.is_named:
        log.info("labels of %s are read as class index + 1 (labels=index: as indices)", path)
    return NUMBERINGS[form.labels or "kit"]


def _no_wnids(path: Path) -> str:
    return (
        f"{path}: names classes (by WordNet ids) that the ground truth does not know; give "
        "data=ilsvrc data.root=DIR, XML files or a CSV with class_index as ground truth"
    )


def _read_text(path: Path, truth: Truth, with_labels: bool, form: Form) -> Guesses:
    given_N5, boxes_N54, n_beyond = read_submission(path)
    if len(given_N5) != len(truth):
        raise UserError(
            f"{path}: the submission has {len(given_N5)} lines, ground truth {len(truth)}: "
            "one line an image is needed, an empty one where nothing is guessed"
        )
    if list(truth.ids) != sorted(truth.ids):
        log.warning("the ground truth is not in file-name order; lines are matched as they stand")
    labels_N5, n_unknown = given_N5, 0
    if with_labels and truth.classes is not None:
        labels_N5 = _numbering(path, truth.classes, form).indices(given_N5, truth.classes)
        places = np.nonzero(labels_N5 == NO_LABEL)  # of unknown labels, or of no guess
        unknown = given_N5[places]
        unknown = unknown[(unknown != PAD) | (boxes_N54[places] != PAD).any(axis=1)]
        n_unknown = len(unknown)
        _warn_of_unknown(path, unknown.tolist())
    elif form.labels is not None:
        raise UserError(
            f"labels={form.labels}: the ground truth does not say what its labels stand for; call "
            "its column class_index"
        )
    return Guesses(
        labels_N5=labels_N5,
        boxes_N54=boxes_N54,
        known_N4=boxes_N54[:, 0],
        n_beyond=n_beyond,
        n_unknown=n_unknown,
        is_of_file=True,
        form=form,
        given_N5=given_N5,
    )


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
