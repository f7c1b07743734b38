"""Report what is in a data set and what is wrong with it, for ``cam-data check``.

Each data set does its own checks (``DataSource.check``); all of them fill the same report.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from cam_repro.classes import ClassTable, ilsvrc_classes
from cam_repro.data.image_set import ILSVRC_IMAGES, SPLITS, ImageSet, sizes_differ
from cam_repro.data.images import ImageFiles, Size, UnreadableImage
from cam_repro.data.mask_files import mask_fault
from cam_repro.errors import UserError
from cam_repro.progress import Bar
from cam_repro.threads import thread_pool
from cam_repro.truth import RaggedBoxes

FAULTS = {
    "missing": "files listed but not there",
    "bad_names": "file names that are not UTF-8",
    "empty": "files of no bytes",
    "unreadable": "unreadable images",
    "changed": "files that are not as they were packed",
    "unreadable_annotations": "unreadable annotations",
    "repeated": "images of one name in several places",
    "without_label": "images without a class",
    "label_conflicts": "images whose sources disagree on the class",
    "other_objects": "images with boxes, but none of their class",
    "in_training": "images that are training images too",
    "boxes_outside": "images with a box that is empty or reaches beyond them",
    "bad_masks": "masks that are unreadable, of another size than their image or of no class",
}
NOTES = {
    "not_listed": "images that the list leaves out",
    "deeper": "images in deeper folders, left out",
    "other_files": "files that are no images by their names, left out",
    "empty_folders": "folders without images",
    "annotations_without_image": "annotations without an image",
    "rounded": "annotations with fractions of pixels, rounded",
    "other_size": "annotations with another size than their image's",
    "other_boxes": "images whose boxes in XML differ from those in the solution file",
    "without_checksums": "folders packed without checksums, whose bytes were not compared",
    "identical": "groups of images with equal bytes",
}

Found = dict[str, list[str]]

AT_ONCE = 4096
"""Images given to the threads at a time: a queue of a million would take gigabytes."""


@dataclass
class SplitReport:
    """Hold what was found in one split.

    complete: how many images the complete ILSVRC split has.
    images_by_class: number of images by WordNet id, for all classes of the data set; empty where
        no labels are known.
    labels, annotations: where labels and boxes come from, for messages.
    annotation_version: ``Annotations.version`` of all annotations, also those without an image.
    blacklisted: how many images the development kit's blacklist names; None without one.
    faults, notes: what was found, as lists by the keys of ``FAULTS`` and ``NOTES``. Faults stop a
        run or make its numbers wrong; notes do not.
    problem: why the split cannot be loaded at all.
    """

    split: str
    images: int = 0
    complete: int = 0
    images_by_class: dict[str, int] = field(default_factory=dict)
    labels: str | None = None
    boxes: int = 0
    images_without_boxes: int = 0
    annotations: str | None = None
    annotation_version: str | None = None
    blacklisted: int | None = None
    faults: Found = field(default_factory=dict)
    notes: Found = field(default_factory=dict)
    problem: str | None = None


@dataclass
class TreeReport:
    """Hold what was found in a data set, and which commands can run on it.

    layout, root: what messages call the data set, and its folder.
    classes: the classes, in words. is_ilsvrc: whether they are ILSVRC's 1,000. is_part_of_ilsvrc:
        whether they are some of these, not all.
    labels: what submissions hold as labels, in words.
    problem: why the data set's own list of classes cannot be used. advice: which setting the user
        may have meant.
    can_train, can_eval: None where cam-train or cam-eval can run on it, else why not.
    tables: what is missing to fill each table of the paper; empty lists where nothing is.
    """

    layout: str
    root: str
    n_classes: int
    classes: str
    is_ilsvrc: bool
    is_part_of_ilsvrc: bool
    labels: str
    splits: dict[str, SplitReport]
    problem: str | None = None
    advice: str | None = None
    can_train: str | None = None
    can_eval: str | None = None
    tables: dict[str, list[str]] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Give the report as dicts and lists that JSON can hold."""
        return asdict(self)


NO_IMAGES = "cam-data needs a data set with images: data=demo or data=ilsvrc data.root=DIR"


def check_image_sets(
    layout: str, root: str, open_split: Callable[[str], ImageSet], decode: bool, index: str
) -> TreeReport:
    """Check a data set by opening every split and reading its images.

    layout, root: what messages call the data set, and its folder. open_split: opens a split, or
    raises UserError. decode: read every pixel of every image; if false, only the images' sizes.
    index: where labels and boxes come from, for messages.
    Raises UserError for a data set without images.
    """
    splits, classes = {}, None
    train = None
    for split in SPLITS:
        report = SplitReport(split=split, complete=ILSVRC_IMAGES[split])
        try:
            images = open_split(split)
        except UserError as error:
            report.problem = str(error)
        else:
            if not images.has_images:
                raise UserError(NO_IMAGES)
            classes = classes or images.classes
            _look_at(images, report, decode, index)
            if split == "train":
                train = images
            elif train is not None and (both := in_training(train, images)):
                report.faults["in_training"] = list(map(str, both))
        splits[split] = report
    return tree_report(layout, root, classes, splits)


def in_training(train: ImageSet, other: ImageSet) -> list[Path]:
    """List the files of another split that are training images too.

    Links of folders are followed. Copies are not found.
    """
    one, two = train.store, other.store
    if not (isinstance(one, ImageFiles) and isinstance(two, ImageFiles)):
        return []
    first, second = one.folder.resolve(), two.folder.resolve()
    if not (first.is_relative_to(second) or second.is_relative_to(first)):
        return []  # as in ILSVRC, of a million files
    training = {first / file for file in one.files}
    return [two.folder / file for file in two.files if second / file in training]


def tree_report(
    layout: str, root: str, classes: ClassTable | None, splits: dict[str, SplitReport]
) -> TreeReport:
    """Make the report of a data set from the reports of its splits.

    classes: the classes of the data set; None where no split could be opened.
    """
    wnids = () if classes is None else classes.wnids
    is_ilsvrc = wnids == ilsvrc_classes().wnids
    report = TreeReport(
        layout=layout,
        root=root,
        n_classes=len(wnids),
        classes="ILSVRC's 1,000 classes" if is_ilsvrc else f"{len(wnids):,} classes",
        is_ilsvrc=is_ilsvrc,
        is_part_of_ilsvrc=bool(wnids) and set(wnids) < set(ilsvrc_classes().wnids),
        labels="unknown" if classes is None else classes.labels_are,
        splits=splits,
    )
    conclude(report)
    return report


def _look_at(images: ImageSet, report: SplitReport, decode: bool, index: str) -> None:
    report.images = len(images)
    if images.has_labels:
        counts = np.bincount(images.labels_N, minlength=len(images.classes))
        report.labels = index
        report.images_by_class = dict(zip(images.classes.wnids, counts.tolist(), strict=True))
    report.annotations = index if images.has_boxes else None
    report.boxes = len(images.boxes.values_T4)
    report.images_without_boxes = int((images.boxes.counts_N == 0).sum())
    if images.blacklisted_N is not None:
        report.blacklisted = images.n_blacklisted
    sizes_N2, unreadable = _read_all(images, decode)
    outside = boxes_outside(images.ids, images.boxes, sizes_N2)
    faults = {"unreadable": unreadable, "boxes_outside": outside}
    report.faults = {kind: found for kind, found in faults.items() if found}
    if decode:
        look_at_masks(images, report)
    if images.sizes_N2 is not None:
        other = other_sizes(images.ids, images.sizes_N2, sizes_N2)
        report.notes = {"other_size": other} if other else {}


def _read_all(images: ImageSet, decode: bool) -> tuple[np.ndarray, list[str]]:
    """Read every image; give sizes, int32 (N, 2), 0 where unreadable, and the errors' messages."""

    def look(index: int) -> Size | str:
        try:
            return images.read(index)[1] if decode else images.size(index)
        except UnreadableImage as error:
            return str(error)

    bar = reading_bar(images.split, len(images))
    sizes_N2, messages = np.zeros((len(images), 2), np.int32), []
    with bar, thread_pool() as pool:
        for start in range(0, len(images), AT_ONCE):
            rows = range(start, min(start + AT_ONCE, len(images)))
            for row, size in zip(rows, pool.map(look, rows), strict=True):
                bar.update()
                if isinstance(size, str):
                    messages.append(size)
                else:
                    sizes_N2[row] = size
    return sizes_N2, messages


def look_at_masks(images: ImageSet, report: SplitReport) -> None:
    """Enter in the report the masks that cannot be read, or in which ``mask_fault`` finds one."""
    masks = images.masks
    if masks is None:
        return

    def fault(index: int) -> str | None:
        try:
            mask_HW = masks.of(index)
            return None if mask_HW is None else mask_fault(images, index, mask_HW)
        except UserError as error:
            return str(error)

    bar = reading_bar(f"{images.split} masks", len(images))
    found = []
    with bar, thread_pool() as pool:
        for each in pool.map(fault, range(len(images))):
            bar.update()
            found += [] if each is None else [each]
    if found:
        report.faults["bad_masks"] = found


def boxes_outside(names: Sequence[str], boxes: RaggedBoxes, sizes_N2: np.ndarray) -> list[str]:
    """Name the images that have boxes that cannot be (``RaggedBoxes.impossible``), and these boxes.

    names: of the images. sizes_N2: width and height, 0 where unknown.
    """
    outside = boxes.keep(boxes.impossible(sizes_N2))
    return [
        f"{names[row]} ({_by(sizes_N2[row])}): {outside.of(row).tolist()}"
        for row in np.flatnonzero(outside.counts_N).tolist()
    ]


def other_sizes(names: Sequence[str], stated_N2: np.ndarray, found_N2: np.ndarray) -> list[str]:
    """Name the images that have another size than is stated, with both sizes."""
    return [
        f"{names[row]} is {_by(found_N2[row])}, not {_by(stated_N2[row])}"
        for row in np.flatnonzero(sizes_differ(stated_N2, found_N2)).tolist()
    ]


def _by(size_2: Iterable[int]) -> str:
    return "x".join(map(str, size_2))


def conclude(report: TreeReport) -> None:
    """Enter in the report which commands can run, and what each table of the paper lacks."""
    train, val, test = (report.splits[split] for split in SPLITS)

    def why_not(split: SplitReport, ignored: tuple[str, ...] = ()) -> str | None:
        if report.problem or split.problem:
            return report.problem or split.problem
        kinds = [FAULTS[kind] for kind in split.faults if kind not in ignored]
        return f"{split.split} has {', '.join(kinds)}" if kinds else None

    # Training reads no boxes, so faults in them do not stop it. Where labels come from boxes, such
    # faults also leave images without a class, and that stops it.
    about_boxes = ("boxes_outside", "other_objects", "unreadable_annotations", "bad_masks")
    report.can_eval = why_not(val)
    report.can_train = why_not(train, about_boxes) or why_not(val, about_boxes)
    no_val = [val.problem] if val.problem else []
    if not no_val and report.is_ilsvrc and val.images != val.complete:
        no_val = [f"{val.complete - val.images:,} of {val.complete:,} validation images"]
    no_boxes = []
    if val.images_without_boxes:
        some = "" if val.images_without_boxes == val.images else f"{val.images_without_boxes:,} of "
        no_boxes = [f"boxes of {some}the validation images"]
    no_test = ["the test images (the validation images stand in)"] if not test.images else []
    report.tables = {
        "Table 1": no_val,
        "Table 2": [*no_val, *no_boxes],
        "Table 3": [*no_val, *no_boxes, *no_test],
    }


def reading_bar(split: str, total: int) -> Bar:
    """Make the progress bar for reading a split."""
    return Bar(total, f"reading {split}", leave=False)


def some_of(found: Iterable[str], shown: int = 3) -> str:
    """Name the first few, and say how many more there are."""
    items = list(found)
    more = f" and {len(items) - shown:,} more" if len(items) > shown else ""
    return "; ".join(items[:shown]) + more
