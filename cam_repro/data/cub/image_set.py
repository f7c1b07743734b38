"""Make the image set of one split of CUB-200-2011.

Its text files have a line for each image, which begins with the image's number: ``images.txt`` its
file, ``image_class_labels.txt`` its class, ``train_test_split.txt`` whether it is a training image,
``bounding_boxes.txt`` its box ``x y width height``. Pixels count from 0: a bird that fills an image
of 500 x 375 has the box ``0.0 0.0 500.0 375.0``. Some boxes reach a pixel further, and are cut.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cam_repro.classes import ClassTable, classes_of
from cam_repro.data.image_set import ImageSet
from cam_repro.data.images import ImageFiles, read_sizes
from cam_repro.data.mask_files import ObjectMasks
from cam_repro.errors import UserError
from cam_repro.formats.names import image_id
from cam_repro.formats.text import lines_of_set, number
from cam_repro.truth import Names, RaggedBoxes

log = logging.getLogger(__name__)
# As information, not as warnings, because every process opens the set.

IMAGES = "images"
FILES, SPLIT = "images.txt", "train_test_split.txt"
LABELS, CLASSES, BOXES = "image_class_labels.txt", "classes.txt", "bounding_boxes.txt"

HALF = 127
"""Grey values of masks over it are the bird. They tell how many of those who drew it, of 255, drew
it here."""


@dataclass(frozen=True)
class _Table:
    """Hold a text file whose lines begin with a number of their own.

    words: of each line without that number, by the number as text. form: of a line, for messages.
    """

    path: Path
    form: str
    words: Mapping[str, list[str]]

    def bad(self, key: str) -> UserError:
        """Give the error for a line that is not of the form."""
        line = " ".join([key, *self.words[key]])
        return UserError(f"{self.path}: the line {line!r} is not of the form {self.form}")


def load_image_set(
    folder: Path, masks: Path | None, name: str, split: str, with_boxes: bool = True
) -> ImageSet:
    """Index the training images, or for all other splits the test images.

    folder: ``CUB_200_2011``. masks: the folder of the segmentations; None: there is none. name: of
    the data set, for output paths.
    Raises UserError where a file is missing, or contradicts itself or ``images.txt``.
    """
    files = _read(folder / FILES, "image file")
    is_training = _read(folder / SPLIT, "image is_training_image", files)
    labels = _read(folder / LABELS, "image class", files)
    of_class = _read(folder / CLASSES, "class name")
    _refuse_repeated(files)
    wanted = "1" if split == "train" else "0"
    keys = [key for key in files.words if _is_training(is_training, key) == wanted]
    if not keys:
        raise UserError(f"{folder / SPLIT}: has no image of split={split}")
    own_files = [files.words[key][0] for key in keys]
    classes = _classes(of_class)
    labels_N = np.array([_label(labels, key, of_class, classes) for key in keys], np.int32)
    boxes, sizes_N2 = RaggedBoxes.none(len(keys)), None
    if with_boxes:
        sizes_N2 = read_sizes(folder / IMAGES, own_files)
        boxes = _boxes(_read(folder / BOXES, "image x y width height", files), keys, sizes_N2)
    mask_files, masks_are = _masks(own_files, masks, labels_N)
    return ImageSet(
        name=name,
        split=split,
        folder=folder / IMAGES,
        classes=classes,
        ids=Names(image_id(file, nested=True) for file in own_files),
        labels_N=labels_N,
        boxes=boxes,
        sizes_N2=sizes_N2,
        masks=mask_files,
        store=ImageFiles(folder / IMAGES, Names(own_files)),
        described=f"{SPLIT}, labels from {LABELS}, boxes from {BOXES}, {masks_are}",
    )


def _read(path: Path, form: str, images: _Table | None = None) -> _Table:
    """Read a text file. form: names of the columns. images: what it must have a line for each of.

    Raises UserError where it is no such file, a line has more or fewer words or comes twice, an
    image has none or one is not among ``images``.
    """
    words: dict[str, list[str]] = {}
    for at, line in enumerate(lines_of_set(path), start=1):
        key, *rest = line.split() or [""]
        if not key:
            continue
        if len(rest) != len(form.split()) - 1:
            raise UserError(f"{path}, line {at}: {line!r} is not of the form {form}")
        if key in words:
            raise UserError(f"{path}, line {at}: {key} comes a second time; remove one")
        words[key] = rest
    if not words:
        raise UserError(f"{path}: is empty; restore it from the archive")
    if images is not None:
        _compare(path, words, images)
    return _Table(path, form, words)


def _compare(path: Path, words: Mapping[str, list[str]], images: _Table) -> None:
    """Raise UserError unless a file has lines of just the images of ``images.txt``."""
    missing = [key for key in images.words if key not in words]
    if missing:
        raise UserError(
            f"{path}: has no line of image {missing[0]} ({len(missing)} of {len(images.words)} "
            "have none); restore the file"
        )
    if len(words) > len(images.words):
        unknown = next(key for key in words if key not in images.words)
        raise UserError(f"{path}: has a line of image {unknown}, which {FILES} does not list")


def _refuse_repeated(files: _Table) -> None:
    first: dict[str, str] = {}
    for key, (file,) in files.words.items():
        if file in first:
            raise UserError(
                f"{files.path}: images {first[file]} and {key} are the same file {file}, which may "
                "so be in both splits; remove one"
            )
        first[file] = key


def _is_training(table: _Table, key: str) -> str:
    (word,) = table.words[key]
    if word not in ("0", "1"):
        raise table.bad(key)
    return word


def _classes(of_class: _Table) -> ClassTable:
    names = [name for (name,) in of_class.words.values()]
    if len(set(names)) < len(names):
        raise UserError(f"{of_class.path}: names a class twice; remove one")
    return classes_of(names, {name: name.partition(".")[2].replace("_", " ") for name in names})


def _label(labels: _Table, key: str, of_class: _Table, classes: ClassTable) -> int:
    (number_of_class,) = labels.words[key]
    if number_of_class not in of_class.words:
        raise UserError(
            f"{labels.path}: image {key} is of class {number_of_class}, which {CLASSES} does not "
            "list"
        )
    return classes.index_of(of_class.words[number_of_class][0])


def _boxes(table: _Table, keys: list[str], sizes_N2: np.ndarray) -> RaggedBoxes:
    """Give the box of each image; a fraction of a pixel is rounded to the nearest, halves up.

    sizes_N2: width and height of the images, 0 where unknown.
    """
    read_N4 = np.array([_numbers(table, key) for key in keys])
    corners_N4 = read_N4.copy()
    corners_N4[:, 2:] += read_N4[:, :2] - 1
    boxes_N4 = np.floor(corners_N4 + 0.5).astype(np.int64)
    if n_rounded := int((boxes_N4 != corners_N4).any(axis=1).sum()):
        log.info("%s: boxes of %d images have fractions of pixels: rounded", table.path, n_rounded)
    beyond_N2 = (boxes_N4[:, 2:] == sizes_N2) & (sizes_N2 > 0)
    boxes_N4[:, 2:] -= beyond_N2
    if n_cut := int(beyond_N2.any(axis=1).sum()):
        log.info("%s: boxes of %d images reach a pixel beyond them: cut", table.path, n_cut)
    return RaggedBoxes.from_counts(boxes_N4, np.ones(len(keys), np.int64))


def _numbers(table: _Table, key: str) -> list[float]:
    values = [value for word in table.words[key] if (value := number(word)) is not None]
    if len(values) < 4 or min(values[2:]) <= 0:
        raise table.bad(key)
    return values


def _masks(
    files: list[str], folder: Path | None, labels_N: np.ndarray
) -> tuple[ObjectMasks | None, str]:
    """Give the masks, None where there are none, and say in a few words how many there are."""
    if folder is None:
        return None, "no masks"
    names = [str(Path(file).with_suffix(".png")) for file in files]
    there = [name if (folder / name).is_file() else "" for name in names]
    n_there = sum(map(bool, there))
    if not n_there:
        return None, "no masks"
    are_all = "all" if n_there == len(there) else f"{n_there:,} of {len(there):,}"
    return ObjectMasks(folder, Names(there), labels_N, above=HALF), f"masks of {are_all} images"
