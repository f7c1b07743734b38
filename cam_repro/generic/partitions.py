"""Part images into training and test images, as it is done on the sets of the paper's Table 5.

A partition is made by ``partition=NAME`` (configs/partition). How a set is parted where the paper
is silent is said in docs/generic.md.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cam_repro.classes import in_class_order
from cam_repro.errors import UserError
from cam_repro.files import at_home
from cam_repro.formats.names import image_id
from cam_repro.formats.text import lines_of_set
from cam_repro.types import NO_LABEL

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Labelled:
    """Hold images by their ids, with labels: class indices into ``classes``, -1 unknown."""

    ids: Sequence[str]
    labels_N: np.ndarray
    classes: Sequence[str]


@dataclass(frozen=True, eq=False)
class Parted:
    """Hold images that are parted: ``train`` and ``test`` are rows of ``images``.

    images: with labels; those that are in neither part may have none.
    """

    images: Labelled
    train: np.ndarray
    test: np.ndarray


class Partition(ABC):
    """Part images, ``repeats`` times, each time otherwise.

    name: the NAME of ``partition=NAME``, by which Table 5 finds the numbers of a set.
    """

    name: str
    repeats: int

    @abstractmethod
    def part(self, images: Labelled, repeat: int) -> Parted:
        """Part the images for the ``repeat``-th time, from 0. Raises UserError where it cannot."""


@dataclass
class RandomPartition(Partition):
    """Draw for each class ``train`` images for training, and of the rest ``test`` (null: all).

    seed: of the draw. without: classes that are left out.
    """

    name: str
    train: int
    test: int | None = None
    repeats: int = 10
    seed: int = 0
    without: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for key in ("train", "test", "repeats"):
            value = getattr(self, key)
            if not (isinstance(value, int) and value >= 1) and (key, value) != ("test", None):
                raise UserError(f"partition.{key}={value}: give a whole number of 1 or more")
        if not (isinstance(self.seed, int) and self.seed >= 0):
            raise UserError(f"partition.seed={self.seed}: give a whole number of 0 or more")
        if not isinstance(self.without, list):
            raise UserError(
                f"partition.without={self.without}: give a list of classes: "
                f"partition.without=[{self.without}]"
            )

    def part(self, images: Labelled, repeat: int) -> Parted:
        refuse_unlabelled(images.ids, images.labels_N)
        images = _without(images, self.without)
        rng = np.random.default_rng((self.seed, repeat))
        train, test = [], []
        for index, name in enumerate(images.classes):
            rows = rng.permutation(np.flatnonzero(images.labels_N == index))
            if len(rows) <= self.train:
                raise UserError(
                    f"partition.train={self.train}: class {name} has {len(rows)} images, and one "
                    "at least is to be tested: give a smaller number, or leave the class out "
                    "(partition.without)"
                )
            train.append(rows[: self.train])
            test.append(rows[self.train :][: self.test])
        return Parted(images, np.sort(np.concatenate(train)), np.sort(np.concatenate(test)))


def refuse_unlabelled(ids: Sequence[str], labels_N: np.ndarray) -> None:
    """Raise UserError where images have no label, which says how labels are had."""
    unlabelled = np.flatnonzero(labels_N == NO_LABEL)
    if len(unlabelled):
        raise UserError(
            f"{ids[int(unlabelled[0])]}: has no label ({len(unlabelled)} of {len(ids)} images have "
            "none), and an SVM needs labels: give features of a data set that has them, as of "
            "data=folder with a folder for each class below data.root="
        )


def _without(images: Labelled, left_out: Sequence[str]) -> Labelled:
    """Leave out classes: their images have no label then. Raises UserError for one that is none."""
    for name in left_out:
        if name not in images.classes:
            ends = [each for each in images.classes if each.endswith(f"/{name}")]
            remedy = f"is it {', '.join(ends)}?" if ends else "take it out of the list"
            raise UserError(f"partition.without: no class is called {name}: {remedy}")
    kept = [name for name in images.classes if name not in left_out]
    index_of = {name: index for index, name in enumerate(kept)}
    new_C = np.array([index_of.get(name, NO_LABEL) for name in images.classes], np.int32)
    labels_N = np.where(images.labels_N >= 0, new_C[images.labels_N], NO_LABEL)
    return Labelled(images.ids, labels_N, kept)


@dataclass
class ListedPartition(Partition):
    """Read the training and the test images from two text files, one image a line.

    lists: folder of the files. train, test: their names, with the number of the repeat, from 1, in
    place of ``{}``; without it there is one repeat. A line is the path of an image below the folder
    of all images.
    """

    name: str
    train: str
    test: str
    lists: str | None = None
    repeats: int = 1

    def __post_init__(self) -> None:
        _check_names(self.train, self.test)
        if not (isinstance(self.repeats, int) and self.repeats >= 1):
            raise UserError(f"partition.repeats={self.repeats}: give a whole number of 1 or more")
        try:
            lists = {(self.train.format(n), self.test.format(n)) for n in (1, 2)}
        except (ValueError, LookupError, AttributeError) as error:
            raise UserError(
                f"partition.train={self.train} partition.test={self.test}: {{}} alone stands for "
                f"the number of the repeat ({error})"
            ) from None
        if self.repeats > 1 and len(lists) == 1:
            raise UserError(
                f"partition.repeats={self.repeats}: the lists are one, as their names have no "
                "{} for the number of the repeat: give partition.repeats=1"
            )

    def part(self, images: Labelled, repeat: int) -> Parted:
        folder = _folder(self.lists)
        files = [folder / name.format(repeat + 1) for name in (self.train, self.test)]
        train, test = (_rows(file, _lines(file), images.ids) for file in files)
        _refuse_both(images.ids, train, test)
        rows = [*train, *test]
        refuse_unlabelled([images.ids[row] for row in rows], images.labels_N[rows])
        return Parted(images, train, test)


@dataclass
class ListedByClass(Partition):
    """Read the images from two text files for each class, which tell their labels too.

    lists: folder of the files. train, test: ends of their names, before which the class stands.
    The lists are one, and so is the repeat.
    """

    name: str
    train: str
    test: str
    lists: str | None = None
    repeats: int = field(default=1, init=False)

    def __post_init__(self) -> None:
        _check_names(self.train, self.test)

    def part(self, images: Labelled, repeat: int) -> Parted:
        folder = _folder(self.lists)
        ends = (self.train, self.test)
        found = {file.name.removesuffix(ends[0]) for file in folder.glob(f"*{ends[0]}")}
        classes = in_class_order(found)
        if not classes:
            raise UserError(f"partition.lists={folder}: has no file NAME{ends[0]} of a class NAME")
        labels_N = np.full(len(images.ids), NO_LABEL, np.int32)
        listed = Labelled(images.ids, labels_N, classes)
        parts = []
        for end in ends:
            rows: list[np.ndarray] = []
            for index, name in enumerate(classes):
                file = folder / f"{name}{end}"
                rows.append(_rows(file, _lines(file), images.ids))
                _refuse_second(file, rows[-1], listed, index)
                labels_N[rows[-1]] = index
            parts.append(np.concatenate(rows))
        _refuse_both(images.ids, *parts)
        return Parted(listed, *parts)


def _check_names(train: object, test: object) -> None:
    """Raise UserError where the names of lists are numbers or something else that is no text."""
    for key, value in (("train", train), ("test", test)):
        if not isinstance(value, str):
            raise UserError(
                f"partition.{key}={value}: is a name of lists here, and how many images they name "
                "is as they are: leave it out"
            )


def _folder(lists: str | None) -> Path:
    if lists is None:
        raise UserError("partition.lists is not given: name the folder of the set's lists")
    folder = at_home(lists)
    if not folder.is_dir():
        raise UserError(f"partition.lists={lists}: no such folder")
    return folder


def _lines(file: Path) -> list[str]:
    """Read the ids of images that a text file lists. Raises UserError where it cannot be read."""
    lines = filter(None, map(str.strip, lines_of_set(file)))
    return [image_id(line.lstrip("/"), nested=True) for line in lines]


def _rows(file: Path, wanted: list[str], ids: Sequence[str]) -> np.ndarray:
    """Find the rows of the images that a file lists; those that are not there are said.

    Raises UserError where none is there, and where one is listed twice, as it would count twice.
    """
    twice = [each for each, n in Counter(wanted).items() if n > 1]
    if twice:
        raise UserError(
            f"{file}: lists {twice[0]} more than once ({len(twice)} images are): mend the list"
        )
    row_of = {each: row for row, each in enumerate(ids)}
    missing = [each for each in wanted if each not in row_of]
    rows = [row_of[each] for each in wanted if each in row_of]
    if not rows:
        raise UserError(
            f"{file}: none of its {len(wanted)} images is among the features"
            + (f" (the first: {missing[0]}; theirs is {ids[0]})" if missing else "")
        )
    if missing:
        log.warning(
            "%s: %d of its %d images are not among the features, and left out (the first: %s)",
            file,
            len(missing),
            len(wanted),
            missing[0],
        )
    return np.array(rows)


def _refuse_second(
    file: Path,
    rows: np.ndarray,
    images: Labelled,
    index: int,
) -> None:
    """Raise UserError where images that a file lists for a class have the label of another.

    images: with the labels that other files gave them. index: of the class.
    """
    labels = images.labels_N[rows]
    others = np.flatnonzero((labels != NO_LABEL) & (labels != index))
    if len(others):
        first = int(others[0])
        raise UserError(
            f"{file}: lists {images.ids[int(rows[first])]}, which is listed as "
            f"{images.classes[int(labels[first])]} too ({len(others)} images are of two classes): "
            "mend the lists"
        )


def _refuse_both(ids: Sequence[str], train: np.ndarray, test: np.ndarray) -> None:
    both = np.intersect1d(train, test)
    if len(both):
        raise UserError(
            f"{ids[int(both[0])]}: is listed for training and for test ({len(both)} images are): "
            "mend the lists"
        )
