"""Check a tree of ILSVRC: what is in it, and what is wrong with it.

The checks do not stop at the first fault: what cannot be read is named in the report and left out,
and the rest is checked.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import filterfalse, pairwise
from pathlib import Path

import numpy as np

from cam_repro.classes import ClassTable
from cam_repro.data.check import (
    AT_ONCE,
    FAULTS,
    NOTES,
    Found,
    SplitReport,
    TreeReport,
    boxes_outside,
    conclude,
    look_at_masks,
    other_sizes,
    reading_bar,
    tree_report,
)
from cam_repro.data.ilsvrc.image_set import list_files, repeated_images, sorted_by_id
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
from cam_repro.data.ilsvrc.layouts import Layout
from cam_repro.data.ilsvrc.listing import Listing, list_folder
from cam_repro.data.image_set import ILSVRC_IMAGES, SPLITS, ImageSet
from cam_repro.data.images import UnreadableImage, read_image
from cam_repro.errors import UserError
from cam_repro.files import refuse_special
from cam_repro.formats.boxes import Annotations, read_annotations
from cam_repro.threads import thread_pool
from cam_repro.types import NO_LABEL


def check_tree(
    layout: Layout,
    classes: str | None = None,
    decode: bool = True,
    cache: Path | None = None,
    open_split: Callable[[str], ImageSet] | None = None,
) -> TreeReport:
    """Check all splits of a tree.

    classes: the setting ``data.classes``. decode: read every pixel of every image, and compare the
    files' bytes; if false, boxes are compared with the image sizes that the annotations state.
    cache: as of ``read_annotations``. open_split: opens a split whose masks are to be read too.
    """
    annotations: dict[str, Annotations] = {}
    broken: Found = defaultdict(list)
    for split, source in layout.boxes.items():
        annotations[split] = read_annotations(source, cache, broken[split])
    problem = None
    try:
        table = find_classes(layout, classes, annotations.get("val"))
    except UserError as error:
        problem, classes = str(error), None
        layout = replace(layout, synset_mapping=None, meta=None)
        table = find_classes(layout, None, annotations.get("val"))
    known = known_as(layout, classes, table)
    splits = {
        split: _SplitCheck(layout, split, table, known, annotations.get(split), broken[split]).run(
            decode
        )
        for split in SPLITS
    }
    train = layout.images.get("train")
    for split in ("val", "test"):
        folder = layout.images.get(split)
        if train is not None and folder is not None and folder.resolve() == train.resolve():
            splits[split].faults["in_training"] = [f"all of {folder}, the folder of train"]
    if decode and open_split is not None:
        for split in layout.images:
            look_at_masks(open_split(split), splits[split])
    report = tree_report(layout.kind, str(layout.root), table, splits)
    report.classes, report.problem = known, problem
    if report.is_part_of_ilsvrc:
        report.advice = (
            "all of them are ILSVRC's; if this is an incomplete ILSVRC, data.classes=ilsvrc takes "
            "its 1,000"
        )
    conclude(report)
    return report


@dataclass
class _SplitCheck:
    """Check one split of a tree, and fill its report.

    known: what messages call the classes (``known_as``). annotations: all that were read for the
    split; None where it has none. broken: messages about annotations that could not be read.
    files: images both listed and on disk. found: what was found, by the keys of ``FAULTS`` and
    ``NOTES``.
    """

    layout: Layout
    split: str
    classes: ClassTable
    known: str
    annotations: Annotations | None
    broken: list[str]
    files: list[str] = field(default_factory=list)
    found: Found = field(default_factory=lambda: defaultdict(list))
    report: SplitReport = field(init=False)

    def run(self, decode: bool) -> SplitReport:
        """Check files, labels and boxes. decode: read every pixel of every image."""
        layout, split = self.layout, self.split
        report = self.report = SplitReport(split=split, complete=ILSVRC_IMAGES[split])
        found = self.found
        if split not in layout.images:
            report.problem = f"no folder of {split} images (data.{split}=DIR names one)"
            return report
        try:
            listing = list_files(layout, split)
        except UserError as error:
            report.problem = str(error)
            return report
        folder = layout.images[split]
        files, _, nested = sorted_by_id(_compare_with_disk(folder, listing, found))
        self.files = files
        found["repeated"] = repeated_images(files, nested)
        report.images = report.images_without_boxes = len(files)

        boxes = None
        if self.annotations is not None and not self._is_of_another_split(self.annotations):
            found["unreadable_annotations"] = self.broken
            boxes = self._match_boxes(self.annotations)
        if split != "test":
            try:
                self._check_labels(boxes)
                blacklisted_N = blacklisted(layout, files) if split == "val" else None
                if blacklisted_N is not None:
                    report.blacklisted = int(blacklisted_N.sum())
            except UserError as error:
                report.problem = str(error)
        sizes_N2 = np.zeros((len(files), 2), np.int32)
        if decode:
            sizes_N2 = _read_files(folder, files, split, found)
        if boxes is not None:
            _check_boxes(files, boxes, sizes_N2, found)
        report.faults = {kind: found[kind] for kind in FAULTS if found[kind]}
        report.notes = {kind: found[kind] for kind in NOTES if found[kind]}
        return report

    def _is_of_another_split(self, annotations: Annotations) -> bool:
        """Tell whether splits share these annotations, and none of them is of this split's images.

        ``data.boxes=`` may name one folder or file, which is then taken for train and for val.
        """
        boxes = self.layout.boxes
        shared = list(boxes.values()).count(boxes[self.split]) > 1
        return shared and bool(annotations.ids) and not any(annotations.ids_for(self.files))

    def _match_boxes(self, annotations: Annotations) -> Annotations:
        """Find the annotations of the split's files, count them, and give them."""
        layout, report, found = self.layout, self.report, self.found
        ids = annotations.ids_for(self.files)
        boxes = annotations.select(ids)
        report.annotations = layout.short(layout.boxes[self.split])
        report.annotation_version = annotations.version
        report.boxes = len(boxes.boxes.values_T4)
        report.images_without_boxes = int((boxes.boxes.counts_N == 0).sum())
        found["annotations_without_image"] = sorted(set(annotations.ids) - set(ids))
        solution = layout.solutions.get(self.split)
        if solution is not None and layout.boxes[self.split].is_dir():
            other = read_annotations(solution, broken=found["other_boxes"])
            other = other.select(other.ids_for(self.files))
            pairs = zip(self.files, _objects(boxes), _objects(other), strict=True)
            found["other_boxes"] += [
                f"{file}: XML {_words(mine) or 'none'}, {solution.name} {_words(theirs) or 'none'}"
                for file, mine, theirs in pairs
                if mine != theirs
            ]
        return boxes

    def _check_labels(self, boxes: Annotations | None) -> None:
        """Count the images of each class, and compare the sources of labels with each other."""
        layout, files, classes, found = self.layout, self.files, self.classes, self.found
        sources = label_sources(layout, self.split, files, classes, boxes)
        if not sources:
            self.report.problem = (
                f"{layout.images[self.split]}: no labels: neither class folders, nor the "
                "development kit's list, nor boxes"
            )
            return
        first = sources[0]
        labels_N = first.labels_N
        self.report.labels = first.name(layout)
        found["without_label"] = [
            f"{files[row]} ({first.why_silent(files[row], row, self.known, boxes)})"
            for row in np.flatnonzero(labels_N == NO_LABEL).tolist()
        ]
        conflicting: set[int] = set()
        for other, rows in conflicts(sources):
            conflicting.update(rows.tolist())
            found["label_conflicts"] += [
                f"{files[row]} is {classes.wnids[labels_N[row]]} by {first.name(layout)}, "
                f"{classes.wnids[other.labels_N[row]]} by {other.name(layout)}"
                for row in rows
            ]
        if boxes is not None:
            own = boxes_of_class(boxes, labels_N, classes)
            found["other_objects"] = [
                f"{files[row]} is {classes.wnids[labels_N[row]]}, its boxes are of "
                + ", ".join(wnids_of(boxes, row))
                for row in np.flatnonzero(has_others_alone(boxes, labels_N, own)).tolist()
                if row not in conflicting
            ]
        counts = np.bincount(labels_N[labels_N != NO_LABEL], minlength=len(classes))
        self.report.images_by_class = dict(zip(classes.wnids, counts.tolist(), strict=True))


def _compare_with_disk(folder: Path, listing: Listing, found: Found) -> list[str]:
    """Give the files both listed and on disk; enter in ``found`` the other files of either kind."""
    on_disk = list_folder(folder) if listing.by_list else listing
    found["deeper"] = on_disk.deeper
    found["other_files"] = on_disk.others
    found["empty_folders"] = on_disk.empty
    files = listing.files
    if listing.by_list:
        there, names = set(on_disk.files), set(files)
        found["missing"] = sorted(names - there)
        found["not_listed"] = sorted(there - names)
        files = [file for file in files if file in there]
    found["bad_names"] = [ascii(file) for file in sorted(filterfalse(_is_utf8, files))]
    return files


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _objects(boxes: Annotations) -> Iterator[list[tuple[str, list[int]]]]:
    """Give the objects of each image, sorted, so that their order in a file does not matter."""
    objects = list(zip(boxes.wnids_T.tolist(), boxes.boxes.values_T4.tolist(), strict=True))
    for start, end in pairwise(boxes.boxes.offsets.tolist()):
        yield sorted(objects[start:end])


def _words(objects: list[tuple[str, list[int]]]) -> str:
    return ", ".join(" ".join([wnid, *map(str, box)]) for wnid, box in objects)


def _read_files(folder: Path, files: list[str], split: str, found: Found) -> np.ndarray:
    """Decode every image and compare the files' bytes; give sizes, int32 (N, 2).

    The size is 0 where an image is unreadable. Enters empty, unreadable and identical files in
    ``found``.
    """

    def look(file: str) -> tuple[tuple[int, int] | str, bytes]:
        path = folder / file
        try:
            refuse_special(path)
            content = path.read_bytes()
            if not content:
                return "", b""
            return read_image(path).size, hashlib.blake2b(content, digest_size=16).digest()
        except UnreadableImage as error:
            return str(error).removeprefix(f"{folder}/"), b""
        except OSError as error:
            return f"{file}: {error.strerror}", b""
        except ValueError as error:
            return f"{file}: {error}", b""

    sizes_N2 = np.zeros((len(files), 2), np.int32)
    by_bytes: dict[bytes, str] = {}
    same: dict[bytes, list[str]] = {}
    bar = reading_bar(split, len(files))
    with bar, thread_pool() as pool:
        for start in range(0, len(files), AT_ONCE):
            looks = pool.map(look, files[start : start + AT_ONCE])
            for row, (size, digest) in enumerate(looks, start):
                bar.update()
                file = files[row]
                if size == "":
                    found["empty"].append(file)
                elif isinstance(size, str):
                    found["unreadable"].append(size)
                else:
                    sizes_N2[row] = size
                    first = by_bytes.setdefault(digest, file)
                    if first is not file:
                        same.setdefault(digest, [first]).append(file)
    found["identical"] = sorted(", ".join(sorted(group)) for group in same.values())
    return sizes_N2


def _check_boxes(files: list[str], boxes: Annotations, sizes_N2: np.ndarray, found: Found) -> None:
    """Compare annotations with the sizes of their images, and enter in ``found`` what differs.

    sizes_N2: true sizes, 0 where unknown; boxes are then compared with the size that the
    annotation states.
    """
    size_N2 = np.where(sizes_N2 > 0, sizes_N2, boxes.sizes_N2)
    found["other_size"] = other_sizes(files, boxes.sizes_N2, sizes_N2)
    found["boxes_outside"] = boxes_outside(files, boxes.boxes, size_N2)
    found["rounded"] = [files[row] for row in np.flatnonzero(boxes.rounded_N)]
