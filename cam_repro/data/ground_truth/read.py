"""True labels, sizes and boxes, from every form in which people have them. Needs no torch."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from cam_repro.classes import NO_IDS, ClassTable, ilsvrc_classes
from cam_repro.errors import UserError
from cam_repro.formats.boxes import Annotations, read_annotations
from cam_repro.formats.submissions import (
    KAGGLE_HEADER,
    numbers_by_line,
    read_csv_columns,
    read_header,
    whole_numbers,
)
from cam_repro.formats.wsol_metadata import is_metadata_folder, read_metadata
from cam_repro.types import NO_LABEL

log = logging.getLogger(__name__)

ILSVRC_PREFIX = "ILSVRC2012_"
"""How the names of ILSVRC's validation and test images begin."""

_RUN_FILES = ("manifest.json", "predictions.parquet")


@dataclass
class GroundTruth:
    """What guesses are scored against: N images with T true boxes in all.

    images: names, in the order in which the lines of a submission are matched.
    labels_N: int64, ``NO_LABEL`` where unknown. Class indices where ``classes`` is given, else
        whatever numbers the source has, to be compared as they are.
    gt_boxes_T4: int64, all true boxes one after another; those of image i are
        ``gt_boxes_T4[gt_offsets[i]:gt_offsets[i + 1]]``, possibly none. gt_offsets: int64 (N + 1,).
    sizes_N2: width and height of the images, int32, 0 where unknown; None where none is known.
    classes: what the labels stand for, where that is known.
    blacklisted_N: bool, images that the localization error leaves out; None where none is named.
    """

    images: list[str]
    labels_N: np.ndarray
    gt_boxes_T4: np.ndarray
    gt_offsets: np.ndarray
    sizes_N2: np.ndarray | None = None
    classes: ClassTable | None = None
    blacklisted_N: np.ndarray | None = None

    def __post_init__(self) -> None:
        assert len(self.labels_N) == len(self.images)
        assert len(self.gt_offsets) == len(self.images) + 1
        assert self.gt_offsets[-1] == len(self.gt_boxes_T4)

    def __len__(self) -> int:
        return len(self.images)


def read_ground_truth(source: Path | str, cache: Path | None = None) -> GroundTruth:
    """Read the ground truth of a set of images.

    source: one of
        a CSV (also .csv.gz) ``image,width,height,label,boxes``: labels compared as they are;
        the same with ``class_index`` for ``label``: indices of ILSVRC's 1,000 classes;
        Kaggle's ``ImageId,PredictionString``, or a folder of XML files (flat, or one sub-folder a
        class): WordNet ids, all of ILSVRC's 1,000;
        a metadata folder of Choe et al. (CVPR 2020): class indices, known to be ILSVRC's where
        all images bear its names;
        a run folder of ``cam-eval``, whose ground truth travels along: class indices.
    cache: folder in which the table of an XML folder is kept; None keeps none.

    Raises UserError, with file and line where there is one.
    """
    source = Path(source)
    folder = run_folder(source)
    if folder is not None:
        return _from_run(folder)
    if source.is_dir():
        if is_metadata_folder(source):
            return _from_metadata(source)
        annotations = read_annotations(source, cache)
        if not annotations.ids:
            raise UserError(
                f"{source}: holds neither XML files, nor image_ids.txt of a metadata folder, nor "
                "manifest.json of a run"
            )
        return _from_annotations(source, annotations)
    if set(KAGGLE_HEADER) <= set(read_header(source, "ground truth").split(",")):
        if source.suffix == ".gz":
            raise UserError(f"{source}: unpack it first (gunzip)")
        return _from_annotations(source, read_annotations(source))
    return _from_csv(source)


def run_folder(path: Path) -> Path | None:
    """The run folder that ``path`` is, or whose predictions.parquet it is; None for all others."""
    if path.name == "predictions.parquet":
        return path.parent
    return path if any((path / name).is_file() for name in _RUN_FILES) else None


def run_classes(manifest: dict[str, Any]) -> ClassTable | None:
    """The classes of a run by its manifest.

    ILSVRC's where there are 1,000 and the submissions carry ids of the development kit; else
    classes without WordNet ids, called ``class 0`` ..., whose labels are class index + 1. None for
    a manifest that does not count them.
    """
    n_classes = manifest["data"].get("n_classes")
    if not isinstance(n_classes, int):
        return None
    shipped = ilsvrc_classes()
    if n_classes == len(shipped) and manifest.get("submission_labels") == shipped.labels_are:
        return shipped
    names = tuple(f"class {index}" for index in range(n_classes))
    numbers = tuple(f"class{index:07d}" for index in range(n_classes))
    return ClassTable(numbers, names, None, NO_IDS)


def _from_run(folder: Path) -> GroundTruth:
    from cam_repro.runs.predictions import (
        read_predictions,  # pyarrow, which other sources do without
    )

    table = read_predictions(folder)
    return GroundTruth(
        images=table.ids,
        labels_N=table.labels_N.astype(np.int64),
        gt_boxes_T4=table.gt_boxes_T4.astype(np.int64),
        gt_offsets=table.gt_offsets,
        sizes_N2=np.stack([table.widths_N, table.heights_N], axis=1),
        classes=run_classes(table.manifest),
        blacklisted_N=table.blacklisted_N if table.blacklisted_N.any() else None,
    )


def _from_metadata(folder: Path) -> GroundTruth:
    metadata = read_metadata(folder)
    names = [image_id.rpartition("/")[2] for image_id in metadata.ids]
    is_ilsvrc = all(name.startswith(ILSVRC_PREFIX) for name in names)
    labels_N = np.asarray(metadata.labels_N, np.int64)
    if is_ilsvrc and labels_N.max(initial=0) >= len(ilsvrc_classes()):
        raise UserError(
            f"{folder}: has class {labels_N.max()} and images of ILSVRC, whose classes are 0 to 999"
        )
    return GroundTruth(
        images=list(metadata.ids),
        labels_N=labels_N,
        gt_boxes_T4=np.asarray(metadata.boxes_T4, np.int64),
        gt_offsets=metadata.offsets,
        sizes_N2=np.asarray(metadata.sizes_N2, np.int32),
        classes=ilsvrc_classes() if is_ilsvrc else None,
    )


def _from_annotations(source: Path, annotations: Annotations) -> GroundTruth:
    """Labels from the objects of each image, which must agree."""
    classes = ilsvrc_classes()
    wnids, inverse_T = np.unique(annotations.wnids_T, return_inverse=True)
    image_T = np.repeat(np.arange(len(annotations.ids)), np.diff(annotations.offsets))
    for number, wnid in enumerate(wnids.tolist()):
        if classes.get(wnid) is None:
            first = annotations.ids[image_T[np.flatnonzero(inverse_T == number)[0]]]
            raise UserError(
                f"{source}: class {wnid!r} of {first} is not one of ILSVRC's 1,000; for a data set "
                "with classes of its own give data=ilsvrc data.root=DIR instead of ground_truth"
            )
    labels_N = np.full(len(annotations.ids), NO_LABEL, np.int64)
    if len(wnids):
        labels_T = np.array([classes.index_of(wnid) for wnid in wnids.tolist()])[inverse_T]
        labels_N[image_T] = labels_T
        other_T = np.flatnonzero(labels_N[image_T] != labels_T)
        if len(other_T):
            first = annotations.ids[image_T[other_T[0]]]
            raise UserError(f"{source}: {first} has objects of several classes, not of one")
    known = bool((annotations.sizes_N2 > 0).any())
    return GroundTruth(
        images=annotations.ids,
        labels_N=labels_N,
        gt_boxes_T4=annotations.boxes_T4.astype(np.int64),
        gt_offsets=annotations.offsets,
        sizes_N2=annotations.sizes_N2 if known else None,
        classes=classes,
    )


def _from_csv(path: Path) -> GroundTruth:
    header = read_header(path, "ground truth").split(",")
    is_index = "class_index" in header and "label" not in header
    sizes = ["width", "height"] if {"width", "height"} <= set(header) else []
    columns = ["image", *sizes, "class_index" if is_index else "label", "boxes"]
    expected = (
        "image,width,height,label,boxes (or class_index for label) or ImageId,PredictionString"
    )
    cells, numbers = read_csv_columns(path, "ground truth", columns, expected)
    images, *size_texts, label_texts, box_texts = cells

    def line(row: int) -> str:
        return f"{path}, line {numbers[row]}"

    labels_N = whole_numbers(label_texts, line)
    limit = len(ilsvrc_classes()) if is_index else np.inf
    bad = np.flatnonzero((labels_N < 0) | (labels_N >= limit))
    if len(bad):
        asked = "a class index is 0 to 999" if is_index else "a label is 0 or more"
        raise UserError(f"{line(bad[0])}: label {labels_N[bad[0]]}; {asked}")
    boxes_T4, offsets = _parse_boxes(box_texts, line)
    sizes_N2 = None
    if sizes and any(any(texts) for texts in size_texts):
        sides = [whole_numbers([text or "0" for text in texts], line) for texts in size_texts]
        sizes_N2 = np.stack(sides, axis=1).astype(np.int32)
    return GroundTruth(
        images=images,
        labels_N=labels_N,
        gt_boxes_T4=boxes_T4,
        gt_offsets=offsets,
        sizes_N2=sizes_N2,
        classes=ilsvrc_classes() if is_index else None,
    )


def _parse_boxes(texts: Sequence[str], line: Any) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (T, 4) and offsets of ``x0 y0 x1 y1;x0 y0 x1 y1`` of each image."""
    regular = _regular_boxes(texts)
    if regular is not None:
        return regular
    boxes = [[box.split() for box in text.split(";") if box.strip()] for text in texts]
    for row, of_image in enumerate(boxes):
        if any(len(box) != 4 for box in of_image):
            raise UserError(f"{line(row)}: a box is four numbers x0 y0 x1 y1, boxes parted by ';'")
    offsets = np.concatenate([[0], np.cumsum([len(of_image) for of_image in boxes])])
    offsets = offsets.astype(np.int64)

    def place(word: int) -> str:
        return line(int(np.searchsorted(offsets, word // 4, side="right")) - 1)

    words = list(chain.from_iterable(chain.from_iterable(boxes)))
    return whole_numbers(words, place).reshape(-1, 4), offsets


def _regular_boxes(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray] | None:
    """``_parse_boxes`` of all texts at once; None where they are not regular, as in devkit.py."""
    found = numbers_by_line("\n".join([*texts, ""]).replace(";", "\n"))
    if found is None:
        return None
    numbers, counts_P = found  # of the parts between semicolons, which may be empty
    ends = np.cumsum([0, *(text.count(";") + 1 for text in texts)])
    if len(counts_P) != ends[-1] or not np.isin(counts_P, (0, 4)).all():
        return None
    boxes_before = np.concatenate([[0], np.cumsum(counts_P // 4)])
    return numbers.reshape(-1, 4), boxes_before[ends]
