"""Make the image set of one split of Tiny ImageNet.

A training image lies in ``train/<wnid>/images``, its box in a line ``file x0 y0 x1 y1`` of
``train/<wnid>/<wnid>_boxes.txt``. Validation images lie in ``val/images``, their classes and boxes
in lines ``file wnid x0 y0 x1 y1`` of ``val/val_annotations.txt``. Pixels count from 0, and boxes
include both ends: 63 is the last. Test images have no labels.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cam_repro.classes import ClassTable, classes_of, ilsvrc_classes
from cam_repro.data.image_set import ImageSet
from cam_repro.data.images import ImageFiles
from cam_repro.data.likely import likely
from cam_repro.errors import UserError
from cam_repro.formats.names import image_id, is_image
from cam_repro.formats.text import lines_of_set, whole_number
from cam_repro.truth import Names, RaggedBoxes
from cam_repro.types import NO_LABEL, Box

WNIDS, WORDS = "wnids.txt", "words.txt"
VAL_LABELS = "val_annotations.txt"

SIDE = 64
"""Width and height of all images."""


class _Row(NamedTuple):
    """Hold what is known of an image. file: below the split's folder. wnid: "" if not known."""

    file: str
    wnid: str = ""
    box: Box | None = None


def load_image_set(root: Path, name: str, split: str, of_ilsvrc: bool = False) -> ImageSet:
    """Index one split. name: of the data set, for output paths.

    of_ilsvrc: number the classes as ILSVRC's 1,000; if not, the data set has its own, 0 to 199.
    Raises UserError where a file is missing, or contradicts itself or the images on disk.
    """
    classes = _classes(root)
    _refuse_other_form(root, split, classes)
    read = {"train": _train, "val": _val, "test": _test}[split]
    rows = sorted(read(root / split, classes), key=lambda row: image_id(row.file, nested=False))
    if not rows:
        raise UserError(f"{root / split}: holds no images")
    _refuse_repeated(root / split, rows)
    if of_ilsvrc:
        classes = _as_ilsvrc(root / WNIDS, classes)
    labels = [classes.index_of(row.wnid) if row.wnid else NO_LABEL for row in rows]
    boxes = RaggedBoxes.from_lists([] if row.box is None else [row.box] for row in rows)
    labels_from = {"train": "<wnid>_boxes.txt", "val": VAL_LABELS}.get(split)
    return ImageSet(
        name=name,
        split=split,
        folder=root / split,
        classes=classes,
        ids=Names(image_id(row.file, nested=False) for row in rows),
        labels_N=np.array(labels, np.int32),
        boxes=boxes,
        sizes_N2=np.full((len(rows), 2), SIDE, np.int32),
        store=ImageFiles(root / split, Names(row.file for row in rows)),
        described=f"labels and boxes from {labels_from}" if labels_from else "labels unknown",
    )


def _classes(root: Path) -> ClassTable:
    """Read the classes, with their names where ``words.txt`` is there."""
    wnids = [line.strip() for _, line in _lines(root / WNIDS)]
    if len(set(wnids)) < len(wnids):
        raise UserError(f"{root / WNIDS}: names a class twice; remove one")
    names = {}
    if (root / WORDS).is_file():
        pairs = (line.partition("\t") for _, line in _lines(root / WORDS))
        wanted = set(wnids)
        names = {w: text.partition(",")[0].strip() for w, _, text in pairs if w in wanted}
    return classes_of(wnids, names)


def _refuse_other_form(root: Path, split: str, classes: ClassTable) -> None:
    """Raise UserError where the lists are gone and the images were moved, as is often done."""
    first = classes.wnids[0] if classes.wnids else ""
    lists = {"train": f"train/{first}/{first}_boxes.txt", "val": f"val/{VAL_LABELS}"}
    if split in lists and not (root / lists[split]).is_file():
        other = likely(root, "tiny_imagenet")
        if other:
            raise UserError(f"{root / lists[split]}: missing; restore it{other}")


def _as_ilsvrc(path: Path, own: ClassTable) -> ClassTable:
    """Give ILSVRC's classes; raises UserError where one of the data set's is not among them."""
    for wnid in own.wnids:
        if ilsvrc_classes().get(wnid) is None:
            raise UserError(f"{path}: {wnid} is none of ILSVRC's classes: leave data.classes out")
    return ilsvrc_classes()


def _train(folder: Path, classes: ClassTable) -> Iterator[_Row]:
    for wnid in classes.wnids:
        file = folder / wnid / f"{wnid}_boxes.txt"
        rows = [_Row(f"{wnid}/images/{name}", wnid, box) for name, _, box in _table(file, False)]
        yield from rows
        _compare(file, folder / wnid / "images", {row.file.rpartition("/")[2] for row in rows})


def _val(folder: Path, classes: ClassTable) -> Iterator[_Row]:
    file, listed = folder / VAL_LABELS, set()
    for name, wnid, box in _table(file, True):
        if classes.get(wnid) is None:
            raise UserError(f"{file}: {name} is of class {wnid}, which {WNIDS} does not list")
        listed.add(name)
        yield _Row(f"images/{name}", wnid, box)
    _compare(file, folder / "images", listed)


def _test(folder: Path, classes: ClassTable) -> Iterator[_Row]:
    for name in _images(folder / "images"):
        yield _Row(f"images/{name}")


def _table(path: Path, has_wnid: bool) -> Iterator[tuple[str, str, Box]]:
    """Yield the image, class and box of each line. has_wnid: whether lines tell the class."""
    form = "file wnid x0 y0 x1 y1" if has_wnid else "file x0 y0 x1 y1"
    for at, line in _lines(path):
        words = line.split()
        corners = [value for word in words[-4:] if (value := whole_number(word)) is not None]
        if len(words) != len(form.split()) or len(corners) != 4:
            raise UserError(f"{path}, line {at}: {line!r} is not of the form {form}")
        x0, y0, x1, y1 = corners
        yield words[0], words[1] if has_wnid else "", (x0, y0, x1, y1)


def _compare(path: Path, folder: Path, listed: set[str]) -> None:
    """Raise UserError where an image on disk has no line."""
    missing = [name for name in _images(folder) if name not in listed]
    if missing:
        raise UserError(
            f"{path}: has no line of {missing[0]} ({len(missing)} images in {folder} have none); "
            "restore the file, or take the images away"
        )


def _refuse_repeated(folder: Path, rows: list[_Row]) -> None:
    """Raise UserError where an image is listed twice; the rows are sorted by their ids."""
    ids = [image_id(row.file, nested=False) for row in rows]
    at = next((i for i in range(1, len(ids)) if ids[i] == ids[i - 1]), None)
    if at is not None:
        raise UserError(f"{folder}: {rows[at].file} is listed a second time; remove one line")


def _images(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; it should hold images")
    return sorted(filter(is_image, (path.name for path in folder.iterdir())))


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines that are not empty, with their numbers; UserError for no text file."""
    for at, line in enumerate(lines_of_set(path), start=1):
        if line.strip():
            yield at, line
