"""ILSVRC (CLS-LOC) on disk: which images there are, their classes and their boxes.

``layouts.py`` finds the parts of a tree, ``formats/boxes.py`` reads boxes, ``classes.py`` owns the
numbering of the classes; here they become the images of one split. The same images in another
layout, with boxes from another kind of file, are the same ``ImageSet``: same ids in the same
order, same labels, same boxes, same fingerprint.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from cam_repro.classes import (
    ClassTable,
    classes_of,
    ilsvrc_classes,
    read_meta,
    read_synset_mapping,
)
from cam_repro.data.ilsvrc.layouts import (
    Layout,
    Places,
    class_folders,
    find_layout,
    has_class_folders,
)
from cam_repro.data.image_set import ILSVRC_IMAGES, SPLITS, ImageSet
from cam_repro.data.images import ImageFiles
from cam_repro.errors import UserError
from cam_repro.formats.boxes import Annotations, read_annotations
from cam_repro.formats.devkit import read_blacklist, read_val_labels
from cam_repro.formats.names import image_id, is_image, names_repeat
from cam_repro.truth import Names, RaggedBoxes
from cam_repro.types import NO_LABEL

_NUMBER = re.compile(r"_(\d{8})$")
"""The number of a validation image: its line in the development kit's list of labels."""


def load_image_set(
    root: Path | str,
    split: str,
    *,
    name: str | None = None,
    with_boxes: bool = True,
    places: Places | None = None,
    classes: str | None = None,
    cache: Path | None = None,
) -> ImageSet:
    """Index one split of the tree at ``root``.

    name: the data set's name; by default ``ilsvrc`` for a complete split of the real set and the
        folder's own name for any other, so that their results never share a table.
    with_boxes: read the true boxes too. Training does without.
    places: parts of the tree that are not where they are looked for.
    classes: ``ilsvrc`` for its 1,000 classes, or a file like LOC_synset_mapping.txt; None finds
        them out.
    cache: folder for the table of the annotations.

    Raises UserError where something is missing or contradicts itself.
    """
    if split not in SPLITS:
        raise UserError(f"split={split}: choose one of {', '.join(SPLITS)}")
    root = Path(root).expanduser()
    layout = find_layout(root, places)
    files = list_files(layout, split)
    nested = names_repeat(files)
    files.sort(key=lambda file: image_id(file, nested))
    ids = [image_id(file, nested) for file in files]
    for (file, own_id), (other, other_id) in pairwise(zip(files, ids, strict=True)):
        if own_id == other_id:
            raise UserError(
                f"{layout.images[split] / file}: is {own_id}, and so is {other}; take one away"
            )

    boxes = layout.boxes.get(split)
    has_labels = split != "val" or has_class_folders(layout.images["val"])
    has_labels = has_labels or bool(layout.val_labels and layout.meta)
    annotations = None
    if boxes is not None and (with_boxes or not has_labels):
        every = read_annotations(boxes, cache)
        annotations = every.select(every.ids_for(files))
    table = find_classes(layout, classes, annotations if split == "val" else None, cache)
    labels_N, labels_from = np.full(len(files), NO_LABEL, np.int32), None
    if split != "test":
        sources = label_sources(layout, split, files, table, annotations)
        if not sources:
            raise UserError(
                f"split={split}: no labels: neither class folders in {layout.images[split]}, nor "
                "ILSVRC2012_validation_ground_truth.txt, nor boxes in XML files or a solution "
                "file; name them with data.devkit= or data.boxes="
            )
        source = sources[0]
        labels_N, labels_from = source.labels_N, source.name(layout)
        unknown = np.flatnonzero(labels_N == NO_LABEL)
        if len(unknown):
            row = int(unknown[0])
            known = known_as(layout, classes, table)
            raise UserError(
                f"{source.path}: does not tell the class of {ids[row]}: "
                f"{source.why_silent(files[row], row, known, annotations)} ({len(unknown):,} such "
                "images); mend it, take the images away, or name other classes with data.classes="
            )
    true_boxes = RaggedBoxes.none(len(files))
    if annotations is not None:
        true_boxes = _boxes_of_class(annotations, labels_N, table)
    try:
        file_names, names = Names(files), Names(ids)
    except UnicodeEncodeError as error:
        raise UserError(f"{layout.images[split]}: rename {error.object!a}, not UTF-8") from None

    is_ilsvrc = table.wnids == ilsvrc_classes().wnids and len(files) == ILSVRC_IMAGES[split]
    return ImageSet(
        name=name or ("ilsvrc" if is_ilsvrc else root.resolve().name),
        split=split,
        folder=layout.images[split],
        classes=table,
        store=ImageFiles(layout.images[split], file_names),
        ids=names,
        labels_N=labels_N,
        boxes=true_boxes,
        sizes_N2=None if annotations is None else annotations.sizes_N2,
        is_ilsvrc=is_ilsvrc,
        described=layout.describe(
            labels_from, boxes if len(true_boxes.values_T4) else None, with_boxes
        ),
        blacklisted_N=blacklisted(layout, files) if split == "val" else None,
    )


def list_files(layout: Layout, split: str) -> list[str]:
    """Paths of a split's images below its folder: by the tree's list, or all that lie there."""
    folder = layout.images.get(split)
    if folder is None:
        raise UserError(
            f"{layout.root}: missing images; split={split} needs a folder {split} with them, "
            f"named by data.{split}= where it lies elsewhere"
        )
    list_file = layout.lists.get(split)
    if list_file and (split == "train" or not has_class_folders(folder)):
        try:
            lines = list_file.read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError:
            raise UserError(f"{list_file}: not UTF-8 text; restore the file") from None
        files = list(dict.fromkeys(f"{line.split()[0]}.JPEG" for line in lines if line.strip()))
    else:
        files = files_in(folder)
    if not files:
        packed = (folder / f"{split}-000000.tar").is_file()
        hint = ", but shards, which data=packed reads" if packed else ""
        raise UserError(f"{folder}: holds no images for split={split}{hint}")
    return files


def files_in(folder: Path) -> list[str]:
    """Paths below ``folder`` of the images in it and in its sub-folders."""
    with os.scandir(folder) as entries:
        names = [(entry.name, entry.is_dir()) for entry in entries]
    files = [name for name, is_folder in names if not is_folder and is_image(name)]
    for name, is_folder in names:
        if is_folder and not name.startswith("."):
            with os.scandir(folder / name) as inner:
                files += [f"{name}/{file.name}" for file in inner if is_image(file.name)]
    return files


def find_classes(
    layout: Layout,
    wanted: str | None,
    annotations: Annotations | None = None,
    cache: Path | None = None,
) -> ClassTable:
    """The data set's classes.

    By the tree's own list; else its training class folders. In a tree without training images:
    the classes of the development kit, or ILSVRC's 1,000, where those of the validation images
    (by class folder, or by annotations) are among them; else these alone.

    wanted: ``data.classes``. annotations: of the validation images, where they have been read.
    """
    if wanted == "ilsvrc":
        return ilsvrc_classes()
    meta = read_meta(layout.meta) if layout.meta else None
    mapping = Path(wanted).expanduser() if wanted else layout.synset_mapping
    if mapping is not None:
        table = read_synset_mapping(mapping)
        if meta is None:
            return table
        return classes_of(table.wnids, dict(zip(table.wnids, table.names, strict=True)), meta)
    train, val = layout.images.get("train"), layout.images.get("val")
    if train is not None and has_class_folders(train):
        wnids = class_folders(train)
        return classes_of(wnids, meta=meta if meta and _are_among(wnids, meta) else None)
    if val is not None and has_class_folders(val):
        wnids = class_folders(val)
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
    """One of the places that tell the labels of images.

    kind: ``folders`` (one a class), ``kit`` (the development kit's list) or ``boxes``.
    labels_N: class indices, int32, ``NO_LABEL`` where it is silent or names another class.
    """

    kind: str
    path: Path
    labels_N: np.ndarray

    def name(self, layout: Layout) -> str:
        """What it is called in messages."""
        return "class folders" if self.kind == "folders" else layout.short(self.path)

    def why_silent(self, file: str, row: int, known: str, annotations: Annotations | None) -> str:
        """Why it has no label for an image, in a few words.

        row: of the image ``file`` in ``annotations``. known: the classes, by ``known_as``.
        """
        if self.kind == "folders":
            wnid = file.rpartition("/")[0]
            return f"class folder {wnid} is not in {known}" if wnid else "it is in no class folder"
        if self.kind == "kit":
            return f"its id is that of none of {known}"
        assert annotations is not None
        own = annotations.wnids_T[annotations.boxes.places_of(np.array([row]))]
        wnids = sorted(set(own.tolist()))
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
    """The places that tell the labels of these images, the most trusted first.

    Class folders; the development kit's list of the validation labels; the annotations, where
    those of an image agree. annotations: of these files, in their order.
    Raises UserError for a list of labels that is not one, or not that of these images.
    """
    sources = []
    folder = layout.images[split]
    if split == "train" or has_class_folders(folder):
        names = [file.rpartition("/")[0] for file in files]
        index_of = {name: _index(name, classes) for name in set(names)}
        labels_N = np.array([index_of[name] for name in names], np.int32)
        sources.append(LabelSource("folders", folder, labels_N))
    if split == "val" and layout.val_labels and classes.devkit_ids_C is not None:
        kit_N = _labels_of_kit(layout.val_labels, files, classes)
        if kit_N is not None:
            sources.append(LabelSource("kit", layout.val_labels, kit_N))
    if annotations is not None:
        labels_N = _labels_of_boxes(annotations, classes)
        sources.append(LabelSource("boxes", layout.boxes[split], labels_N))
    return sources


def known_as(layout: Layout, wanted: str | None, classes: ClassTable) -> str:
    """What ``find_classes`` found, for messages."""
    place = wanted if wanted and wanted != "ilsvrc" else layout.synset_mapping
    if wanted == "ilsvrc" or (place is None and classes.wnids == ilsvrc_classes().wnids):
        return "ILSVRC's 1,000 classes"
    return f"the {len(classes):,} classes of {place or 'the data set'}"


def _index(wnid: str, classes: ClassTable) -> int:
    index = classes.get(wnid)
    return NO_LABEL if index is None else index


def _labels_of_kit(path: Path, files: list[str], classes: ClassTable) -> np.ndarray | None:
    """Class indices of validation images by the kit's list; None where it cannot be theirs.

    An image's line is the number in its name; where a name has none, and there are as many lines
    as images, lines and images are in the same order.
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
    """The numbers in the names of ILSVRC's validation images; None where a name has none."""
    matches = [_NUMBER.search(image_id(file, False)) for file in files]
    numbers = [int(match[1]) for match in matches if match]
    return np.array(numbers, np.int64) if len(numbers) == len(files) else None


def blacklisted(layout: Layout, files: list[str]) -> np.ndarray | None:
    """Which validation images the tree's blacklist names, bool (N,); None without one.

    Raises UserError where images have no number in their name, by which a blacklist goes.
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
    """Class index of the objects of each image, ``NO_LABEL`` where there are none or several."""
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


def _boxes_of_class(
    annotations: Annotations, labels_N: np.ndarray, classes: ClassTable
) -> RaggedBoxes:
    """Take the boxes of the objects of each image's own class: those that a guess can hit.

    All objects of an image without a label.
    """
    wnids, inverse_T = np.unique(annotations.wnids_T, return_inverse=True)
    indices = np.array([_index(wnid, classes) for wnid in wnids.tolist()], np.int32)
    label_T = labels_N[annotations.boxes.image_of_box()]
    return annotations.boxes.keep((indices[inverse_T] == label_T) | (label_T == NO_LABEL))
