"""Make the image set of one split of a tree of ILSVRC (CLS-LOC).

``layouts.py`` finds the parts of a tree, ``formats/boxes.py`` reads boxes, ``labels.py`` finds
classes and labels; this module puts them together. The same images in another layout, with boxes
from another kind of file, give the same ``ImageSet``: same ids in the same order, same labels, same
boxes, same fingerprint.
"""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import numpy as np

from cam_repro.classes import ClassTable, ilsvrc_classes
from cam_repro.data.ilsvrc.labels import (
    blacklisted,
    boxes_of_class,
    find_classes,
    known_as,
    label_sources,
)
from cam_repro.data.ilsvrc.layouts import Layout, Places, find_layout, has_class_folders
from cam_repro.data.image_set import ILSVRC_IMAGES, SPLITS, ImageSet
from cam_repro.data.images import ImageFiles
from cam_repro.errors import UserError, one_of
from cam_repro.formats.boxes import Annotations, read_annotations
from cam_repro.formats.names import image_id, is_image, names_repeat
from cam_repro.truth import Names, RaggedBoxes
from cam_repro.types import NO_LABEL


def load_image_set(
    root: Path | str,
    split: str,
    *,
    with_boxes: bool = True,
    places: Places | None = None,
    classes: str | None = None,
    cache: Path | None = None,
) -> ImageSet:
    """Index one split of the tree at ``root``.

    The image set is named ``ilsvrc`` if it is a complete split of ILSVRC, else by the folder, so
    that results of the two never share a table.

    with_boxes: read the true boxes too, which training does not need.
    places: parts of the tree that are not where they are looked for.
    classes: ``ilsvrc`` for its 1,000 classes, or a file like LOC_synset_mapping.txt; None: as
        ``find_classes`` finds them in the tree.
    cache: folder in which the table of the annotations is kept; None keeps none.

    Raises UserError where something is missing or contradicts itself.
    """
    one_of("split", split, SPLITS)
    root = Path(root).expanduser()
    layout = find_layout(root, places)
    files, ids = _index_files(layout, split)
    annotations = _annotations_of(layout, split, files, with_boxes, cache)
    table = find_classes(layout, classes, annotations if split == "val" else None, cache)
    labels_N, labels_from = np.full(len(files), NO_LABEL, np.int32), None
    if split != "test":
        known = known_as(layout, classes, table)
        labels_N, labels_from = _labels_of(layout, split, files, table, known, annotations)
    boxes = RaggedBoxes.none(len(files))
    if annotations is not None:
        boxes = boxes_of_class(annotations, labels_N, table)
    boxes_from = layout.boxes[split] if len(boxes.values_T4) else None
    is_ilsvrc = table.wnids == ilsvrc_classes().wnids and len(files) == ILSVRC_IMAGES[split]
    return ImageSet(
        name="ilsvrc" if is_ilsvrc else root.resolve().name,
        split=split,
        folder=layout.images[split],
        classes=table,
        store=ImageFiles(layout.images[split], _names(layout, split, files)),
        ids=_names(layout, split, ids),
        labels_N=labels_N,
        boxes=boxes,
        sizes_N2=None if annotations is None else annotations.sizes_N2,
        is_ilsvrc=is_ilsvrc,
        described=layout.describe(labels_from, boxes_from, with_boxes),
        blacklisted_N=blacklisted(layout, files) if split == "val" else None,
    )


def _index_files(layout: Layout, split: str) -> tuple[list[str], list[str]]:
    """List a split's files and image ids, sorted by id; UserError where two files share an id."""
    files = list_files(layout, split)
    nested = names_repeat(files)
    files.sort(key=lambda file: image_id(file, nested))
    ids = [image_id(file, nested) for file in files]
    for (file, own_id), (other, other_id) in pairwise(zip(files, ids, strict=True)):
        if own_id == other_id:
            raise UserError(
                f"{layout.images[split] / file}: is {own_id}, and so is {other}; take one away"
            )
    return files, ids


def _annotations_of(
    layout: Layout, split: str, files: list[str], with_boxes: bool, cache: Path | None
) -> Annotations | None:
    """Read the annotations of these files if boxes are wanted or labels come only from them."""
    source = layout.boxes.get(split)
    has_labels = split != "val" or has_class_folders(layout.images["val"])
    has_labels = has_labels or bool(layout.val_labels and layout.meta)
    if source is None or (has_labels and not with_boxes):
        return None
    every = read_annotations(source, cache)
    return every.select(every.ids_for(files))


def _labels_of(
    layout: Layout,
    split: str,
    files: list[str],
    classes: ClassTable,
    known: str,
    annotations: Annotations | None,
) -> tuple[np.ndarray, str]:
    """Find the label of every file, and say where labels come from; UserError where one has none.

    known: what messages call the classes (``known_as``).
    """
    sources = label_sources(layout, split, files, classes, annotations)
    if not sources:
        raise UserError(
            f"split={split}: no labels: neither class folders in {layout.images[split]}, nor "
            "ILSVRC2012_validation_ground_truth.txt, nor boxes in XML files or a solution "
            "file; name them with data.devkit= or data.boxes="
        )
    source = sources[0]
    unknown = np.flatnonzero(source.labels_N == NO_LABEL)
    if len(unknown):
        row = int(unknown[0])
        own_id = image_id(files[row], names_repeat(files))
        raise UserError(
            f"{source.path}: does not tell the class of {own_id}: "
            f"{source.why_silent(files[row], row, known, annotations)} ({len(unknown):,} such "
            "images); mend it, take the images away, or name other classes with data.classes="
        )
    return source.labels_N, source.name(layout)


def _names(layout: Layout, split: str, texts: list[str]) -> Names:
    try:
        return Names(texts)
    except UnicodeEncodeError as error:
        raise UserError(f"{layout.images[split]}: rename {error.object!a}, not UTF-8") from None


def list_files(layout: Layout, split: str) -> list[str]:
    """List a split's images, as paths below its folder: those in the tree's list, or all files."""
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
    """List the images in a folder and its sub-folders, as paths below the folder."""
    with os.scandir(folder) as entries:
        names = [(entry.name, entry.is_dir()) for entry in entries]
    files = [name for name, is_folder in names if not is_folder and is_image(name)]
    for name, is_folder in names:
        if is_folder and not name.startswith("."):
            with os.scandir(folder / name) as inner:
                files += [f"{name}/{file.name}" for file in inner if is_image(file.name)]
    return files
