"""Read the metadata folder of Choe et al. ("Evaluating Weakly Supervised Object Localization
Methods Right", CVPR 2020): images, with their classes, sizes and boxes, as text files.

``image_ids.txt``: one id a line (``val/ILSVRC2012_val_00000001.JPEG``), in the images' order;
``class_labels.txt``: ``id,label``; ``image_sizes.txt``: ``id,width,height``;
``localization.txt``: ``id,x0,y0,x1,y1``, one line a box, any number of lines for an image.

Of OpenImages30k, ``localization.txt`` has ``id,mask,ignore``: paths of masks, one line an object.
The mask of what does not count is in one line of an image alone. There is no ``image_sizes.txt``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cam_repro.classes import are_indices, ilsvrc_classes
from cam_repro.errors import UserError
from cam_repro.formats.text import lines_of_set
from cam_repro.truth import IGNORED, RaggedBoxes, Truth
from cam_repro.types import NO_LABEL

if TYPE_CHECKING:  # it imports cv2, which boxes do without
    from cam_repro.formats.wsol_masks import MetadataMasks

IMAGE_IDS = "image_ids.txt"
CLASS_LABELS = "class_labels.txt"
IMAGE_SIZES = "image_sizes.txt"
LOCALIZATION = "localization.txt"

ILSVRC_PREFIX = "ILSVRC2012_"
"""How the names of ILSVRC's validation and test images begin."""

_LARGEST = np.iinfo(np.int32).max


def is_metadata_folder(path: Path | str) -> bool:
    """Tell whether a folder is one: it holds ``image_ids.txt``, and sizes or true places."""
    names = (IMAGE_SIZES, LOCALIZATION)
    folder = Path(path)
    return (folder / IMAGE_IDS).is_file() and any((folder / name).is_file() for name in names)


def names_masks(folder: Path) -> bool:
    """Tell whether ``localization.txt`` names masks, by its first line; if not, it has boxes."""
    lines = _lines(folder / LOCALIZATION)
    return bool(lines) and lines[0][1].count(",") == 2


def are_of_ilsvrc(ids: Sequence[str], labels_N: np.ndarray) -> bool:
    """Tell by the names of images whether their labels are indices of ILSVRC's classes.

    They are if all names begin with ``ILSVRC_PREFIX``; if the folder of each image is its label, as
    in ImageNetV2; or if it is the WordNet id of its label, as of ILSVRC's training images.
    """
    if all(image_id.rpartition("/")[2].startswith(ILSVRC_PREFIX) for image_id in ids):
        return True
    folders, labels = class_folders(ids), labels_N.tolist()
    if are_indices(set(folders)):
        return list(map(int, folders)) == labels
    classes = ilsvrc_classes()
    return all(classes.get(name) == label for name, label in zip(folders, labels, strict=True))


def class_folders(ids: Sequence[str]) -> list[str]:
    """Give the innermost folder of each image, by its id."""
    return [image_id.rpartition("/")[0].rpartition("/")[2] for image_id in ids]


def read_labels(folder: Path, ids_file: str = IMAGE_IDS) -> tuple[list[str], np.ndarray]:
    """Read the ids of images, in order, and their labels, int32 (N,); errors as ``read_metadata``.

    ids_file: the file with the ids.
    """
    ids, index = _read_ids(folder / ids_file)
    return ids, _read_labels(folder, index)


def read_metadata(folder: Path | str, masks: Path | str | None = None) -> Truth:
    """Read a metadata folder.

    masks: the folder in which the paths of masks begin that ``localization.txt`` names; None: it
    has boxes. With masks there are no boxes, and ``image_sizes.txt`` may be missing.

    The images are those of ``image_ids.txt``, in its order; lines of other files about other
    images are skipped, and so are empty lines. An image without a line in ``localization.txt`` has
    no box. An image without a line in ``class_labels.txt`` has the label ``NO_LABEL``; the file
    itself may be missing. If an image has two labels or sizes, the later one counts, as in Choe et
    al.'s program. The boxes of an image keep the order of the file.

    Raises UserError, with file and line, where another file is missing, a line has not the form
    above, an id comes twice in ``image_ids.txt``, an image has no size, a label is negative, a
    size is not positive, a box has negative or swapped corners, or, with masks, an image has none.
    """
    folder = Path(folder)
    ids, index = _read_ids(folder / IMAGE_IDS)
    labels_N = _read_labels(folder, index)
    if masks is None:
        boxes = _read_boxes(folder / LOCALIZATION, index)  # first: it says if these are masks
        sizes_N2 = _read_sizes(folder, ids, index)
        return Truth(ids=ids, labels_N=labels_N, boxes=boxes, sizes_N2=sizes_N2)
    has_sizes = (folder / IMAGE_SIZES).exists()
    return Truth(
        ids=ids,
        labels_N=labels_N,
        boxes=RaggedBoxes.none(len(ids)),
        sizes_N2=_read_sizes(folder, ids, index) if has_sizes else None,
        masks=_read_masks(folder / LOCALIZATION, index, Path(masks), labels_N),
    )


def _read_labels(folder: Path, index: dict[str, int]) -> np.ndarray:
    """Read the label of each image, int32 (N,); ``NO_LABEL`` where there is none."""
    labels_N = np.full(len(index), NO_LABEL, np.int32)
    if (folder / CLASS_LABELS).exists():
        image_X, label_X1 = _read_table(
            folder / CLASS_LABELS,
            index,
            "id,label with label 0 or more",
            lambda label_X1: label_X1[:, 0] >= 0,
        )
        labels_N[image_X] = label_X1[:, 0]
    return labels_N


def _read_sizes(folder: Path, ids: list[str], index: dict[str, int]) -> np.ndarray:
    """Read width and height of each image, int32 (N, 2)."""
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
    return sizes_N2


def _read_boxes(path: Path, index: dict[str, int]) -> RaggedBoxes:
    """Read the boxes of all images."""
    image_T, boxes_T4 = _read_table(
        path,
        index,
        "id,x0,y0,x1,y1 with 0 <= x0 <= x1 and 0 <= y0 <= y1",
        lambda box_X4: np.diff(box_X4.reshape(-1, 2, 2), axis=1, prepend=0).min(axis=(1, 2)) >= 0,
    )
    order_T = np.argsort(image_T, kind="stable")
    counts_N = np.bincount(image_T, minlength=len(index))
    return RaggedBoxes.from_counts(boxes_T4[order_T], counts_N)


def _read_masks(
    path: Path, index: dict[str, int], folder: Path, labels_N: np.ndarray
) -> MetadataMasks:
    """Read which files are the masks of each image."""
    from cam_repro.formats.wsol_masks import MetadataMasks

    highest = int(labels_N.max(initial=NO_LABEL))
    if highest + 1 >= IGNORED:
        raise UserError(f"{path}: has class {highest}; with masks a class is 0 to {IGNORED - 2}")
    objects: list[list[str]] = [[] for _ in index]
    ignored = [""] * len(index)
    for number, line in _lines(path):
        image_id, *files = line.split(",")
        if len(files) != 2 or not files[0]:
            raise UserError(
                f"{path}, line {number}: {line!r} is not of the form id,mask,ignore (which masks= "
                "reads; for boxes leave it out)"
            )
        place = index.get(image_id)
        if place is None:
            continue
        objects[place].append(files[0])
        if files[1] and ignored[place]:
            raise UserError(f"{path}, line {number}: a second mask to ignore of {image_id}")
        ignored[place] = files[1] or ignored[place]
    missing = [image_id for image_id, place in index.items() if not objects[place]]
    if missing:
        raise UserError(
            f"{path}: no mask of {missing[0]} ({len(missing)} of {len(index)} images have none); "
            f"add {missing[0]},MASK,IGNORE"
        )
    return MetadataMasks(folder, objects, ignored, labels_N)


def _read_ids(path: Path) -> tuple[list[str], dict[str, int]]:
    """Read the ids in order, and the position of each id."""
    ids: list[str] = []
    index: dict[str, int] = {}
    for number, image_id in _lines(path):
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
    """Read lines of an id and n whole numbers: positions of the images (X,), int64 (X, n).

    form: the form of a line, for messages; its text before the first space lists the columns.
    is_good: gives a mask of the rows of numbers that are allowed. Raises UserError at the first
    bad line.
    """
    lines = _lines(path)
    rows = [line.split(",") for _, line in lines]
    n_words = len(form.split()[0].split(","))

    def numbers_of(rows: list[list[str]]) -> np.ndarray:
        if any(len(row) != n_words for row in rows):
            raise ValueError("more or fewer words")
        written = "".join(word for row in rows for word in row[1:])
        if "_" in written or not written.isascii():  # which int() takes, and other readers do not
            raise ValueError("no plain numbers")
        numbers_Xn = np.array([list(map(int, row[1:])) for row in rows], np.int64)
        numbers_Xn = numbers_Xn.reshape(len(rows), n_words - 1)
        fits = (numbers_Xn >= -_LARGEST) & (numbers_Xn <= _LARGEST)
        if not fits.all() or (rows and not is_good(numbers_Xn).all()):
            raise ValueError("numbers that are not allowed")
        return numbers_Xn

    try:
        numbers_Xn = numbers_of(rows)
    except (ValueError, OverflowError):
        for number, line in lines:
            try:
                numbers_of([line.split(",")])
            except (ValueError, OverflowError):
                is_mask = path.name == LOCALIZATION and re.search(r"\.(png|jpg)\b", line)
                remedy = "; these are masks: add masks=DIR protocol=pxap" if is_mask else ""
                raise UserError(
                    f"{path}, line {number}: {line!r} is not of the form {form}{remedy}"
                ) from None
        raise
    places_X = np.array([index.get(row[0], -1) for row in rows], np.int64)
    known_X = places_X >= 0
    if rows and not known_X.any():
        raise UserError(f"{path}: not one of its images is in {IMAGE_IDS}; the ids must be equal")
    return places_X[known_X], numbers_Xn[known_X]


def _lines(path: Path) -> list[tuple[int, str]]:
    """Read the lines that are not empty, stripped, with their numbers from 1."""
    lines = enumerate(lines_of_set(path, "the folder of metadata needs it"), start=1)
    return [(number, line.strip()) for number, line in lines if line.strip()]
