"""Make the image set of one split of a metadata folder of Choe et al. and its images.

``formats/wsol_metadata.py`` reads the files. The folder has one of its own for each split:
``train`` (called train-weaksup in their paper), ``val`` (train-fullsup) and ``test``. ``train``
need not say where objects are.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cam_repro.classes import (
    ClassTable,
    classes_of,
    ilsvrc_classes,
    in_class_order,
    unnamed_classes,
)
from cam_repro.data.image_set import ImageSet
from cam_repro.data.images import ImageFiles
from cam_repro.errors import UserError
from cam_repro.formats.names import image_id
from cam_repro.formats.wsol_metadata import (
    CLASS_LABELS,
    IMAGE_IDS,
    LOCALIZATION,
    are_of_ilsvrc,
    class_folders,
    names_masks,
    read_labels,
    read_metadata,
)
from cam_repro.truth import Names, RaggedBoxes, Truth
from cam_repro.types import NO_LABEL

PROXY_IDS = "image_ids_proxy.txt"


@dataclass(frozen=True)
class WsolFolders:
    """Say where a data set lies.

    metadata: the folder with one for each split. images: where the ids of images begin. masks:
    where the paths of masks begin, if ``localization.txt`` names such. proxy: take the training
    images of ``PROXY_IDS``, a part of all.
    """

    metadata: Path
    images: Path
    masks: Path
    proxy: bool = False


def load_image_set(wanted: WsolFolders, name: str, split: str, with_boxes: bool = True) -> ImageSet:
    """Index one split. name: of the data set, for output paths.

    An image's id is that of the metadata without its suffix, with folders, and so is its order.
    Raises UserError as ``read_metadata`` does, and where an image has no label, or the first one is
    not below the folder of images.
    """
    folder = wanted.metadata / split
    truth, described = _read_truth(wanted, split, with_boxes)
    classes = find_classes(wanted.metadata)
    _check_labels(folder / CLASS_LABELS, truth, classes)
    first = truth.ids[0]
    if not (wanted.images / first).is_file():
        raise UserError(
            f"data.root={wanted.images}: has no {first}, the first image of {folder}: give the "
            "folder in which the names of images begin"
        )
    return ImageSet(
        name=name,
        split=split,
        folder=wanted.images,
        classes=classes,
        ids=Names(image_id(each, nested=True) for each in truth.ids),
        labels_N=truth.labels_N,
        boxes=truth.boxes,
        sizes_N2=truth.sizes_N2,
        masks=truth.masks,
        store=ImageFiles(wanted.images, Names(truth.ids)),
        described=f"metadata {folder}, {described}",
    )


def _read_truth(wanted: WsolFolders, split: str, with_boxes: bool) -> tuple[Truth, str]:
    """Read the truth of a split, and say in a few words what it has."""
    folder = wanted.metadata / split
    ids_file = PROXY_IDS if wanted.proxy and split == "train" else IMAGE_IDS
    is_weak = split == "train" and (wanted.proxy or not (folder / LOCALIZATION).is_file())
    if is_weak or not with_boxes:
        ids, labels_N = read_labels(folder, ids_file)
        truth = Truth(ids=ids, labels_N=labels_N, boxes=RaggedBoxes.none(len(ids)))
        return truth, "no boxes" if is_weak else ids_file
    if names_masks(folder):
        return read_metadata(folder, wanted.masks), f"masks from {LOCALIZATION}"
    return read_metadata(folder), f"boxes from {LOCALIZATION}"


def _check_labels(path: Path, truth: Truth, classes: ClassTable) -> None:
    """Raise UserError where an image has no label, or one that is no class."""
    unknown = np.flatnonzero(truth.labels_N == NO_LABEL)
    if len(unknown):
        first = truth.ids[int(unknown[0])]
        raise UserError(
            f"{path}: no label of {first} ({len(unknown)} of {len(truth)} images have none); add "
            f"{first},LABEL"
        )
    if int(truth.labels_N.max()) >= len(classes):
        row = int(truth.labels_N.argmax())
        raise UserError(
            f"{path}: {truth.ids[row]} is of class {truth.labels_N[row]}, and the classes are 0 to "
            f"{len(classes) - 1}"
        )


def find_classes(metadata: Path) -> ClassTable:
    """Find the classes, the same for all splits.

    They are ILSVRC's where the names of a split's images say so. Else they are called as the
    folders of their images, if each has one folder and these are in the order of the labels; else
    class 0, class 1 and so on.
    """
    pairs: set[tuple[int, str]] = set()
    for split in ("val", "test", "train"):  # the short ones first
        if not (metadata / split / IMAGE_IDS).is_file():
            continue
        ids, labels_N = read_labels(metadata / split)
        if are_of_ilsvrc(ids, labels_N):
            return ilsvrc_classes()
        pairs |= set(zip(labels_N.tolist(), class_folders(ids), strict=True))
    labels, folders = zip(*sorted(pairs), strict=True)
    if labels == tuple(range(len(labels))) and list(folders) == in_class_order(set(folders)):
        return classes_of(folders)
    return unnamed_classes(max(labels) + 1)
