"""Make the image set of one split of a tree of ILSVRC (CLS-LOC).

``layouts.py`` finds the parts of a tree, ``formats/boxes.py`` reads boxes, ``labels.py`` finds
classes and labels; this module puts them together. The same images in another layout, with boxes
from another kind of file, give the same ``ImageSet``: same ids in the same order, same labels, same
boxes, same fingerprint.
"""

from __future__ import annotations

import logging
import re
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np

from cam_repro.classes import ClassTable, ilsvrc_classes
from cam_repro.data.ilsvrc.labels import (
    blacklisted,
    boxes_of_class,
    conflicts,
    find_classes,
    has_others_alone,
    known_as,
    label_sources,
    wnids_of,
)
from cam_repro.data.ilsvrc.layouts import Layout, Places, find_layout
from cam_repro.data.ilsvrc.listing import Listing, list_folder
from cam_repro.data.image_set import ILSVRC_IMAGES, SPLITS, ImageSet
from cam_repro.data.images import ImageFiles
from cam_repro.data.likely import likely
from cam_repro.errors import UserError, one_of
from cam_repro.files import at_home
from cam_repro.formats.boxes import Annotations, read_annotations
from cam_repro.formats.names import image_id, image_ids
from cam_repro.formats.text import lines_of_set
from cam_repro.truth import Names, RaggedBoxes
from cam_repro.types import NO_LABEL

log = logging.getLogger(__name__)
# What is left out is logged as information, not as a warning, because every process opens the set
# and would warn.

_OFFICIAL_NAME = re.compile(r"ILSVRC20\d\d_(val|test)_\d{8}|n\d{8}_\d+", re.ASCII)


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
    root = at_home(root)
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
        _say_of_annotations(layout.boxes[split], files, annotations, labels_N, boxes)
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
    listing = list_files(layout, split)
    if listing.left_out:
        log.info("%s: %s", layout.images[split], listing.left_out)
    files, ids, nested = sorted_by_id(listing.files)
    if not nested:
        return files, ids
    if repeated := repeated_images(files, nested):
        log.info(
            "%d images of one name in several places count as images of their own (the first: %s)",
            len(repeated),
            repeated[0],
        )
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
    has_labels = split != "val" or bool(layout.class_folders("val"))
    has_labels = has_labels or bool(layout.val_labels and layout.meta)
    if source is None or (has_labels and not with_boxes):
        return None
    every = read_annotations(source, cache)
    ids = every.ids_for(files)
    if every.ids and not any(ids):
        log.info(
            "%s: none of its %d annotations is of these images: their names are others (the first: "
            "%s)",
            source,
            len(every.ids),
            every.ids[0],
        )
    return every.select(ids)


def _say_of_annotations(
    source: Path, files: list[str], annotations: Annotations, labels_N: np.ndarray, own: RaggedBoxes
) -> None:
    """Log what annotations say that is not used as it stands.

    own: the boxes of the objects of each image's class.
    """
    others = np.flatnonzero(has_others_alone(annotations, labels_N, own))
    if len(others):
        log.info(
            "%s: %d images have boxes, but none of their class; these are not used (the first: %s "
            "has boxes of %s)",
            source,
            len(others),
            files[others[0]],
            ", ".join(wnids_of(annotations, int(others[0]))),
        )
    rounded = np.flatnonzero(annotations.rounded_N)
    if len(rounded):
        log.info(
            "%s: the boxes of %d images have fractions of pixels, and are rounded (the first: %s)",
            source,
            len(rounded),
            files[rounded[0]],
        )


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
    for other, rows in conflicts(sources):
        if len(rows):
            log.info(
                "%d images are of another class by %s than by %s, which counts (the first: %s)",
                len(rows),
                other.name(layout),
                source.name(layout),
                files[rows[0]],
            )
    unknown = np.flatnonzero(source.labels_N == NO_LABEL)
    if len(unknown):
        row = int(unknown[0])
        raise UserError(
            f"{source.path}: does not tell the class of {files[row]}: "
            f"{source.why_silent(files[row], row, known, annotations)} ({len(unknown):,} such "
            "images); mend it, take the images away, or name other classes with data.classes="
        )
    return source.labels_N, source.name(layout)


def _names(layout: Layout, split: str, texts: list[str]) -> Names:
    try:
        return Names(texts)
    except UnicodeEncodeError as error:
        raise UserError(f"{layout.images[split]}: rename {error.object!a}, not UTF-8") from None


def list_files(layout: Layout, split: str) -> Listing:
    """List a split's images: those in the tree's list, or all in its folder."""
    folder = layout.images.get(split)
    if folder is None:
        raise UserError(
            f"{layout.root}: missing images; split={split} needs a folder {split} with them, "
            f"named by data.{split}= where it lies elsewhere"
        )
    list_file = layout.lists.get(split)
    if list_file and (split == "train" or not layout.class_folders(split)):
        lines = filter(str.strip, lines_of_set(list_file))
        names = dict.fromkeys(f"{line.split()[0]}.JPEG" for line in lines)
        listing = Listing(list(names), by_list=True)
    else:
        listing = list_folder(folder)
    if not listing.files:
        hint = ""
        if (folder / f"{split}-000000.tar").is_file():
            hint = ", but shards, which data=packed reads"
        elif listing.deeper:
            hint = (
                f" in it or its sub-folders; deeper are {len(listing.deeper):,} "
                f"({listing.deeper[0]}): move them up{likely(layout.root, 'ilsvrc')}"
            )
        raise UserError(f"{folder}: holds no images for split={split}{hint}")
    return listing


def sorted_by_id(files: list[str]) -> tuple[list[str], list[str], bool]:
    """Give files and their ids, sorted by id, and whether ids keep the folder (``image_ids``)."""
    ids, nested = image_ids(files)
    order = sorted(range(len(ids)), key=ids.__getitem__)
    return [files[row] for row in order], [ids[row] for row in order], nested


def repeated_images(files: list[str], nested: bool) -> list[str]:
    """List groups of files that seem to be the same image, each group in one text.

    These are files with an official ILSVRC name in two folders, and files of one folder that differ
    in suffix only. Any other name may come in several folders: cat/001 and dog/001 are two images.

    nested: whether any name comes twice.
    """
    if not nested:
        return []
    by_name = defaultdict(list)
    for file in files:
        by_name[image_id(file, False)].append(file)
    return [
        ", ".join(sorted(same))
        for name, same in sorted(by_name.items())
        if len(same) > 1
        and (
            _OFFICIAL_NAME.fullmatch(name)
            or max(Counter(image_id(file, True) for file in same).values()) > 1
        )
    ]
