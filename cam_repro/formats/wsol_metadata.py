"""The metadata folder of Choe et al. ("Evaluating Weakly Supervised Object Localization Methods
Right", CVPR 2020): which images there are, their classes, sizes and boxes, as text.

``image_ids.txt``: one id a line (``val/ILSVRC2012_val_00000001.JPEG``), in the order that counts;
``class_labels.txt``: ``id,label``; ``image_sizes.txt``: ``id,width,height``;
``localization.txt``: ``id,x0,y0,x1,y1``, one line a box, an image may have several.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from cam_repro.errors import UserError
from cam_repro.formats.submissions import regular_columns
from cam_repro.types import NO_LABEL

IMAGE_IDS = "image_ids.txt"
CLASS_LABELS = "class_labels.txt"
IMAGE_SIZES = "image_sizes.txt"
LOCALIZATION = "localization.txt"

_LARGEST = np.iinfo(np.int32).max


@dataclass(frozen=True)
class Metadata:
    """N images in the order of ``image_ids.txt``.

    labels_N: int32, ``NO_LABEL`` where none is given. sizes_N2: int32, width and height in pixels.
    boxes_T4: all boxes one after another, int32, in pixels of the original image; those of image i
    are ``boxes_T4[offsets[i]:offsets[i + 1]]``, in the order of the file.
    """

    ids: list[str]
    labels_N: np.ndarray
    sizes_N2: np.ndarray
    boxes_T4: np.ndarray
    offsets: np.ndarray


def is_metadata_folder(path: Path | str) -> bool:
    """Whether the folder holds such metadata: it has ``image_ids.txt`` and ``image_sizes.txt``."""
    return all((Path(path) / name).is_file() for name in (IMAGE_IDS, IMAGE_SIZES))


def read_metadata(folder: Path | str) -> Metadata:
    """Read a metadata folder.

    Only images of ``image_ids.txt`` count; what the other files say of others is passed over. An
    image without a line in ``localization.txt`` has no box; without one in ``class_labels.txt``
    (or without that file) no label. Of two labels or sizes the later counts, as in the authors'
    program. Empty lines are passed over.

    Raises UserError, with file and line, where a file is missing, a line has not the form above,
    an id comes twice in ``image_ids.txt``, an image has no size, a label is negative, a size is
    not positive, or a box has negative or swapped corners.
    """
    folder = Path(folder)
    ids, index = _read_ids(folder / IMAGE_IDS)
    labels_N = np.full(len(ids), NO_LABEL, np.int32)
    if (folder / CLASS_LABELS).exists():
        image_X, label_X1 = _read_table(
            folder / CLASS_LABELS,
            index,
            "id,label with label 0 or more",
            lambda label_X1: label_X1[:, 0] >= 0,
        )
        labels_N[image_X] = label_X1[:, 0]

    image_X, size_X2 = _read_table(
        folder / IMAGE_SIZES,
        index,
        "id,width,height with width and height 1 or more",
        lambda size_X2: size_X2.min(axis=1) >= 1,
    )
    sizes_N2 = np.zeros((len(ids), 2), np.int32)
    sizes_N2[image_X] = size_X2
    if (sizes_N2 == 0).any():
        missing = ids[int((sizes_N2[:, 0] == 0).argmax())]
        raise UserError(f"{folder / IMAGE_SIZES}: no size of {missing}; add {missing},width,height")

    image_T, boxes_T4 = _read_table(
        folder / LOCALIZATION,
        index,
        "id,x0,y0,x1,y1 with 0 <= x0 <= x1 and 0 <= y0 <= y1",
        lambda box_X4: np.diff(box_X4.reshape(-1, 2, 2), axis=1, prepend=0).min(axis=(1, 2)) >= 0,
    )
    order_T = np.argsort(image_T, kind="stable")
    offsets = np.zeros(len(ids) + 1, np.int64)
    np.cumsum(np.bincount(image_T, minlength=len(ids)), out=offsets[1:])
    return Metadata(ids, labels_N, sizes_N2, boxes_T4[order_T].astype(np.int32), offsets)


def _read_ids(path: Path) -> tuple[list[str], dict[str, int]]:
    """The ids in order, and the place of each."""
    ids: list[str] = []
    index: dict[str, int] = {}
    for number, image_id in _lines(_read_text(path)):
        if image_id in index:
            raise UserError(f"{path}, line {number}: {image_id} comes a second time; remove one")
        index[image_id] = len(ids)
        ids.append(image_id)
    if not ids:
        raise UserError(f"{path}: names no image; it needs one id a line")
    return ids, index


def _read_table(
    path: Path, index: dict[str, int], form: str, is_good: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Lines of an id and whole numbers: places of the images (X,), and numbers, int64 (X, n).

    form: what a line is to look like, the part before the first space counted for its words.
    is_good: mask of the rows of numbers that are allowed. Raises UserError at the first bad line.
    """
    text = _read_text(path)
    n_words = len(form.split()[0].split(","))
    regular = _regular_table(text, n_words)
    if regular is not None and is_good(regular[1]).all():
        ids, numbers_Xn = regular
    else:
        ids, numbers_Xn = _checked_table(path, text, n_words, form, is_good)
    places_X = np.array([index.get(image_id, -1) for image_id in ids], np.int64)
    known_X = places_X >= 0
    if ids and not known_X.any():
        raise UserError(f"{path}: not one of its images is in {IMAGE_IDS}; the ids must be equal")
    return places_X[known_X], numbers_Xn[known_X]


def _regular_table(text: str, n_words: int) -> tuple[list[str], np.ndarray] | None:
    """What ``_checked_table`` finds, read at once; None where that has to look at each line."""
    columns = regular_columns(text, n_words)
    has_blanks = text.split() != text.removesuffix("\n").split("\n")
    if columns is None or has_blanks:
        return None
    ids, *words = columns
    try:
        numbers_Xn = np.array([list(map(int, column)) for column in words], np.int64).T
    except (ValueError, OverflowError):
        return None
    fits = numbers_Xn.min() >= -_LARGEST and numbers_Xn.max() <= _LARGEST
    return (ids, numbers_Xn) if fits else None


def _checked_table(
    path: Path,
    text: str,
    n_words: int,
    form: str,
    is_good: Callable[[np.ndarray], np.ndarray],
) -> tuple[list[str], np.ndarray]:
    """Ids (X,) and numbers, int64 (X, n), line by line; UserError at the first bad line."""
    lines = _lines(text)
    rows = [line.split(",") for _, line in lines]
    good = [len(row) == n_words for row in rows]
    numbers_Xn = np.zeros((len(rows), n_words - 1), np.int64)
    if all(good):
        good = [all(map(_is_int32, row[1:])) for row in rows]
        if all(good):
            flat = list(map(int, chain.from_iterable(row[1:] for row in rows)))
            numbers_Xn = np.array(flat, np.int64).reshape(numbers_Xn.shape)
            good = is_good(numbers_Xn).tolist()
    if not all(good):
        number, line = lines[good.index(False)]
        raise UserError(f"{path}, line {number}: {line!r} is not of the form {form}")
    return [row[0] for row in rows], numbers_Xn


def _is_int32(word: str) -> bool:
    try:
        return abs(int(word)) <= _LARGEST
    except ValueError:
        return False


def _lines(text: str) -> list[tuple[int, str]]:
    """The lines that are not empty, stripped, with their numbers from 1."""
    lines = ((number, line.strip()) for number, line in enumerate(text.split("\n"), 1))
    return [(number, line) for number, line in lines if line]


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path}: missing; the folder of metadata needs it") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as text ({error})") from None
