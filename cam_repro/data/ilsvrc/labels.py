"""Find the classes of a tree of ILSVRC and the labels of its images."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cam_repro.classes import (
    ClassTable,
    are_indices,
    classes_of,
    ilsvrc_classes,
    read_meta,
    read_synset_mapping,
    reading_of_numbers,
)
from cam_repro.data.ilsvrc.layouts import Layout
from cam_repro.data.image_set import ILSVRC_IMAGES
from cam_repro.errors import UserError
from cam_repro.files import at_home
from cam_repro.formats.boxes import Annotations, read_annotations
from cam_repro.formats.devkit import read_blacklist, read_val_labels
from cam_repro.formats.names import image_id
from cam_repro.truth import RaggedBoxes
from cam_repro.types import NO_LABEL

_NUMBER = re.compile(r"_(\d{8})$")
"""The number of a validation image: its line in the development kit's list of labels."""


def find_classes(
    layout: Layout,
    wanted: str | None,
    annotations: Annotations | None = None,
    cache: Path | None = None,
) -> ClassTable:
    """Find the data set's classes.

    They come from the first of these that the tree has: its own list; class folders of training
    images; class folders of validation images; the development kit's meta file; annotations of the
    validation images.

    Validation images may show only a part of the classes. So if all classes found by their folders
    or annotations are among the development kit's, or else among ILSVRC's 1,000, the data set has
    all of the kit's or ILSVRC's classes. It has ILSVRC's too if the folders are their indices
    (``are_indices``).

    wanted: the setting ``data.classes``: ``ilsvrc``, or a file in place of the tree's list.
    annotations: of the validation images, if they have been read. cache: as of
    ``read_annotations``.
    """
    if wanted == "ilsvrc":
        return ilsvrc_classes()
    meta = read_meta(layout.meta) if layout.meta else None
    mapping = at_home(wanted) if wanted else layout.synset_mapping
    if mapping is not None:
        table = read_synset_mapping(mapping)
        if meta is None:
            return table
        return classes_of(table.wnids, dict(zip(table.wnids, table.names, strict=True)), meta)
    if wnids := layout.class_folders("train"):
        return classes_of(wnids, meta=meta if meta and _are_among(wnids, meta) else None)
    if wnids := layout.class_folders("val"):
        if are_indices(wnids):
            return ilsvrc_classes()
    elif meta is not None:
        return meta
    else:
        if annotations is None and "val" in layout.boxes:
            annotations = read_annotations(layout.boxes["val"], cache)
        wnids = [] if annotations is None else sorted(set(annotations.wnids_T.tolist()))
    for whole in (meta, ilsvrc_classes()):
        if whole is not None and _are_among(wnids, whole):
            return whole
    return classes_of(wnids)


def _are_among(wnids: list[str], classes: ClassTable) -> bool:
    return all(classes.get(wnid) is not None for wnid in wnids)


@dataclass(frozen=True)
class LabelSource:
    """Hold the labels of a split's images from one source.

    kind: ``folders`` (one a class), ``kit`` (the development kit's list) or ``boxes``.
    path: the folder or file. labels_N: class indices, int32; ``NO_LABEL`` where the source gives
    none, or a class that is not the data set's. numbers: how folders that are numbers were read.
    """

    kind: str
    path: Path
    labels_N: np.ndarray
    numbers: str = ""

    def name(self, layout: Layout) -> str:
        """Name the source for messages."""
        return f"class folders{self.numbers}" if self.kind == "folders" else layout.short(self.path)

    def why_silent(self, file: str, row: int, known: str, annotations: Annotations | None) -> str:
        """Say in a few words why the source has no label for an image.

        file: of the image. row: its row in ``annotations``. known: what messages call the classes
        (``known_as``).
        """
        if self.kind == "folders":
            wnid = file.rpartition("/")[0]
            return f"class folder {wnid} is not in {known}" if wnid else "it is in no class folder"
        if self.kind == "kit":
            return f"its id is that of none of {known}"
        assert annotations is not None
        wnids = wnids_of(annotations, row)
        if len(wnids) == 1:
            return f"class {wnids[0]} is not in {known}"
        return f"it has objects of {', '.join(wnids)}" if wnids else "it has no object there"


def label_sources(
    layout: Layout,
    split: str,
    files: list[str],
    classes: ClassTable,
    annotations: Annotations | None,
) -> list[LabelSource]:
    """Read the labels of these images from every source that has them, the most trusted first.

    The sources are class folders, the development kit's list of validation labels, and the
    annotations, where all objects of an image have one class.

    annotations: of these files, in their order. Raises UserError where the kit's list cannot be
    read or has no line for one of the images.
    """
    sources = []
    folder = layout.images[split]
    if split == "train" or layout.class_folders(split):
        names = [file.rpartition("/")[0] for file in files]
        index_of = {name: _index(name, classes) for name in set(names)}
        labels_N = np.array([index_of[name] for name in names], np.int32)
        known = {name: index for name, index in index_of.items() if index != NO_LABEL}
        sources.append(LabelSource("folders", folder, labels_N, reading_of_numbers(known)))
    if split == "val" and layout.val_labels and classes.devkit_ids_C is not None:
        kit_N = _labels_of_kit(layout.val_labels, files, classes)
        if kit_N is not None:
            sources.append(LabelSource("kit", layout.val_labels, kit_N))
    if annotations is not None:
        labels_N = _labels_of_boxes(annotations, classes)
        sources.append(LabelSource("boxes", layout.boxes[split], labels_N))
    return sources


def known_as(layout: Layout, wanted: str | None, classes: ClassTable) -> str:
    """Say for messages what classes ``find_classes`` found."""
    place = wanted if wanted and wanted != "ilsvrc" else layout.synset_mapping
    if wanted == "ilsvrc" or (place is None and classes.wnids == ilsvrc_classes().wnids):
        return "ILSVRC's 1,000 classes"
    return f"the {len(classes):,} classes of {place or 'the data set'}"


def _index(name: str, classes: ClassTable) -> int:
    index = classes.find(name)
    return NO_LABEL if index is None else index


def _labels_of_kit(path: Path, files: list[str], classes: ClassTable) -> np.ndarray | None:
    """Give the class indices of validation images by the kit's list; None if it is of other images.

    The number in an image's name is that of its line. If a name has no number, line i is of image
    i, provided that there are as many lines as images.
    """
    ids = read_val_labels(path)
    numbers_N = _numbers(files)
    if numbers_N is not None:
        lines = numbers_N - 1
    elif len(ids) == len(files):
        lines = np.arange(len(files))
    else:
        return None
    outside = np.flatnonzero((lines < 0) | (lines >= len(ids)))
    if len(outside):
        raise UserError(
            f"{path}: has {len(ids):,} lines, none for {files[int(outside[0])]}; "
            "give the complete file of the development kit"
        )
    return classes.indices_of_labels(ids[lines])


def _numbers(files: list[str]) -> np.ndarray | None:
    """Give the numbers in the names of validation images, int64; None where a name has none."""
    matches = [_NUMBER.search(image_id(file, False)) for file in files]
    numbers = [int(match[1]) for match in matches if match]
    return np.array(numbers, np.int64) if len(numbers) == len(files) else None


def blacklisted(layout: Layout, files: list[str]) -> np.ndarray | None:
    """Tell which validation images the tree's blacklist names, bool (N,); None without a blacklist.

    Raises UserError where a name has no number of ILSVRC, because the blacklist lists numbers.
    """
    if layout.blacklist is None:
        return None
    numbers_N = _numbers(files)
    n_images = ILSVRC_IMAGES["val"]
    if numbers_N is None or not ((numbers_N >= 1) & (numbers_N <= n_images)).all():
        raise UserError(
            f"{layout.blacklist}: is of images called ILSVRC2012_val_00000001 to "
            f"{n_images:08d}, not of those in {layout.images['val']}: add data.blacklist=none"
        )
    return read_blacklist(layout.blacklist, n_images)[numbers_N - 1]


def _labels_of_boxes(annotations: Annotations, classes: ClassTable) -> np.ndarray:
    """Give the class of each image's objects, int32 (N,).

    ``NO_LABEL`` where an image has no objects, or objects of several classes, or of a class that is
    not the data set's.
    """
    labels_N = np.full(len(annotations.boxes), NO_LABEL, np.int32)
    image_T = annotations.boxes.image_of_box()
    wnids, inverse_T = np.unique(annotations.wnids_T, return_inverse=True)
    number_N = np.full(len(labels_N), -1)
    number_N[image_T] = inverse_T
    one_class_N = number_N >= 0
    one_class_N[image_T[number_N[image_T] != inverse_T]] = False
    indices = np.array([_index(wnid, classes) for wnid in wnids.tolist()], np.int32)
    labels_N[one_class_N] = indices[number_N[one_class_N]]
    return labels_N


def has_others_alone(
    annotations: Annotations, labels_N: np.ndarray, own: RaggedBoxes
) -> np.ndarray:
    """Tell which images have a label and objects, but none of their class, bool (N,).

    own: the boxes of the objects of each image's class (``boxes_of_class``).
    """
    return (annotations.boxes.counts_N > 0) & (own.counts_N == 0) & (labels_N != NO_LABEL)


def wnids_of(annotations: Annotations, row: int) -> list[str]:
    """List the classes of the objects of an image, sorted."""
    return sorted(set(annotations.wnids_T[annotations.boxes.places_of(np.array([row]))].tolist()))


def conflicts(sources: list[LabelSource]) -> Iterator[tuple[LabelSource, np.ndarray]]:
    """Yield each source but the first, and the rows where it gives another class than the first."""
    first, *others = sources
    for other in others:
        known_N = (other.labels_N != NO_LABEL) & (first.labels_N != NO_LABEL)
        yield other, np.flatnonzero(known_N & (other.labels_N != first.labels_N))


def boxes_of_class(
    annotations: Annotations, labels_N: np.ndarray, classes: ClassTable
) -> RaggedBoxes:
    """Take the boxes of the objects of each image's class, which are those that guesses can hit.

    Of an image without a label, take the boxes of all objects.
    """
    wnids, inverse_T = np.unique(annotations.wnids_T, return_inverse=True)
    indices = np.array([_index(wnid, classes) for wnid in wnids.tolist()], np.int32)
    label_T = labels_N[annotations.boxes.image_of_box()]
    return annotations.boxes.keep((indices[inverse_T] == label_T) | (label_T == NO_LABEL))
