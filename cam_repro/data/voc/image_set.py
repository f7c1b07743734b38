"""Make the image set of one list of PASCAL VOC.

An image of VOC may show objects of several classes. Most of this package knows one class an image,
so there are two ways to see VOC. Either each image is an entry: its label is the class of its
largest object that is not difficult, its boxes are those of that class, and ``label_sets`` names
all its classes. Or each pair of an image and a class is an entry (``data.pairs``), as in the
pointing game of Zhang et al.

Objects that VOC marks as difficult make no class of an image, as in VOC's own lists of classes,
unless an image has no others. Their boxes count among those of their class.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cam_repro.classes import ClassTable, classes_of
from cam_repro.data.image_set import ImageSet
from cam_repro.data.images import ImageFiles
from cam_repro.data.mask_files import MaskFiles
from cam_repro.errors import UserError
from cam_repro.formats.boxes import Annotations, read_annotations
from cam_repro.formats.text import lines_of_set
from cam_repro.truth import LabelSets, Names, RaggedBoxes
from cam_repro.types import NO_LABEL

log = logging.getLogger(__name__)
# As information, not as warnings, because every process opens the set.

IMAGES, ANNOTATIONS = "JPEGImages", "Annotations"

CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa"),
    *("train", "tvmonitor"),
)
"""VOC's classes in the order of their numbers in masks, which is that of the alphabet."""


@dataclass(frozen=True)
class VocList:
    """Say which images of VOC are read.

    folder: of the year. file: the list of the images' names. masks: the folder of masks. pairs: an
    entry for each class of an image. cache: as of ``read_annotations``.
    """

    folder: Path
    file: Path
    masks: Path
    pairs: bool = False
    cache: Path | None = None


class _Entry(NamedTuple):
    """Hold an entry of the image set: the row of its image, its label, all classes of the image."""

    row: int
    label: int
    classes: list[int]


def load_image_set(wanted: VocList, name: str, split: str, with_boxes: bool = True) -> ImageSet:
    """Index the images of a list. name: of the data set, for output paths.

    Raises UserError where the list or an annotation is missing or cannot be read. If none, or not
    all, of the images of split=test have one, as in VOC 2012, the labels of all are unknown.
    """
    names = sorted(_read_list(wanted.file))
    annotations = read_annotations(wanted.folder / ANNOTATIONS, wanted.cache)
    missing = [each for each in names if each not in annotations.row_of]
    if missing and split != "test":
        raise UserError(
            f"{wanted.folder / ANNOTATIONS}: has no {missing[0]}.xml ({len(missing)} of the "
            f"{len(names)} images of {wanted.file} have none); restore it, or take the images out"
        )
    if missing:
        return _unlabelled(wanted, name, split, names)
    objects = annotations.select(names)
    class_T = _class_indices(objects, wanted)
    entries = list(_entries(objects, class_T, wanted))
    images = [names[entry.row] for entry in entries]
    ids = images
    if wanted.pairs:
        ids = [f"{names[entry.row]}-{CLASSES[entry.label]}" for entry in entries]
    rows_N = np.array([entry.row for entry in entries], np.int64)
    labels_N = np.array([entry.label for entry in entries], np.int32)
    boxes = RaggedBoxes.none(len(entries))
    if with_boxes:
        boxes = _boxes(objects, class_T, rows_N, labels_N)
    masks, masks_are = _masks(images, wanted)
    labels_are = "an entry for each class of an image" if wanted.pairs else "labels: largest object"
    return replace(
        _unlabelled(wanted, name, split, images),
        ids=Names(ids),
        labels_N=labels_N,
        boxes=boxes,
        sizes_N2=objects.sizes_N2[rows_N],
        label_sets=LabelSets.from_lists(entry.classes for entry in entries),
        masks=masks,
        described=f"{_short(wanted.file)}; {labels_are}; boxes: all of that class; {masks_are}",
    )


def _unlabelled(wanted: VocList, name: str, split: str, images: list[str]) -> ImageSet:
    """Make an image set of which no label is known. images: their names."""
    files = Names(f"{image}.jpg" for image in images)
    return ImageSet(
        name=name,
        split=split,
        folder=wanted.folder,
        classes=_classes(),
        ids=Names(images),
        store=ImageFiles(wanted.folder / IMAGES, files),
        labels_N=np.full(len(images), NO_LABEL, np.int32),
        boxes=RaggedBoxes.none(len(images)),
        described=f"{_short(wanted.file)}; labels unknown, as not all have annotations",
    )


def _short(file: Path) -> str:
    return "/".join(file.parts[-3:])


def _classes() -> ClassTable:
    return classes_of(CLASSES)


def _read_list(file: Path) -> list[str]:
    """Read the names of a list, one a line; UserError for any other file."""
    lines = lines_of_set(file, "name another list by data.{train,val,test}=")
    rows = [line.split() for line in lines if line.strip()]
    if not rows:
        raise UserError(f"{file}: names no image")
    if any(len(row) > 1 for row in rows):
        raise UserError(
            f"{file}: has a second column, so it is the list of one class: name a list of all "
            "images, as train, val, trainval"
        )
    names = [row[0] for row in rows]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f"{file}: names {twice} twice; remove one")
    return names


def _class_indices(objects: Annotations, wanted: VocList) -> np.ndarray:
    """Give the class index of every object, int32 (T,); UserError for one that VOC has not."""
    classes = _classes()
    found = [classes.get(wnid) for wnid in objects.wnids_T.tolist()]
    if None in found:
        at = found.index(None)
        name = objects.ids[int(objects.boxes.image_of_box()[at])]
        raise UserError(
            f"{wanted.folder / ANNOTATIONS / name}.xml: has a {objects.wnids_T[at]}, which is none "
            "of VOC's 20 classes"
        )
    return np.array(found, np.int32)


def _entries(objects: Annotations, class_T: np.ndarray, wanted: VocList) -> Iterator[_Entry]:
    """Yield the entries, by image and class; log what is left out, and how labels are made."""
    size_T2 = objects.boxes.values_T4[:, 2:] - objects.boxes.values_T4[:, :2] + 1
    area_T = size_T2.astype(np.int64).prod(axis=1)
    empty, all_difficult, n_several = [], [], 0
    for row, name in enumerate(objects.paths):
        places = slice(objects.boxes.offsets[row], objects.boxes.offsets[row + 1])
        class_M, area_M = class_T[places], area_T[places]
        counts_M = ~objects.difficult_T[places]
        if not len(class_M):
            empty.append(name)
            continue
        if not counts_M.any():
            all_difficult.append(name)
            if wanted.pairs:
                continue
            counts_M[:] = True
        classes = np.unique(class_M[counts_M]).tolist()
        n_several += len(classes) > 1
        if wanted.pairs:
            yield from (_Entry(row, label, classes) for label in classes)
        else:
            yield _Entry(row, int(class_M[counts_M][area_M[counts_M].argmax()]), classes)
    _say(wanted, len(objects.paths), empty, all_difficult, n_several)


def _say(
    wanted: VocList, n_images: int, empty: list[str], all_difficult: list[str], n_several: int
) -> None:
    """Log what was left out of a list, and how images of several classes count."""
    if empty:
        log.info(
            "%s: %d images without an object are left out (the first: %s)",
            _short(wanted.file),
            len(empty),
            empty[0],
        )
    if all_difficult:
        log.info(
            "%s: %d images have difficult objects alone, and %s (the first: %s)",
            _short(wanted.file),
            len(all_difficult),
            "are left out" if wanted.pairs else "count by these",
            all_difficult[0],
        )
    if n_several and not wanted.pairs:
        log.info(
            "%s: %d of %d images show several classes; the label is that of the largest object "
            "that is not difficult (data.pairs=true makes an entry for each class)",
            _short(wanted.file),
            n_several,
            n_images,
        )


def _boxes(
    objects: Annotations, class_T: np.ndarray, rows_N: np.ndarray, labels_N: np.ndarray
) -> RaggedBoxes:
    """Give the boxes of each entry's class. VOC counts pixels from 1, this package from 0."""
    of_images = objects.boxes.select(rows_N)
    class_X = class_T[objects.boxes.places_of(rows_N)]
    own = of_images.keep(class_X == labels_N[of_images.image_of_box()])
    return RaggedBoxes(own.values_T4 - 1, own.offsets)


def _masks(names: list[str], wanted: VocList) -> tuple[MaskFiles | None, str]:
    """Give the masks, None where there are none, and say in a few words how many there are."""
    if wanted.pairs:
        return None, "no masks, as these are of images"
    there = {path.name for path in wanted.masks.glob("*.png")}
    files = [f"{name}.png" if f"{name}.png" in there else "" for name in names]
    if not any(files):
        return None, "no masks"
    n_there = sum(map(bool, files))
    are_all = "all" if n_there == len(files) else f"{n_there:,} of {len(files):,}"
    return MaskFiles(wanted.masks, Names(files)), f"masks of {are_all} images"
