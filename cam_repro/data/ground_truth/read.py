"""Read a truth (labels, sizes and boxes) from a file or folder in any known format."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from cam_repro.classes import ilsvrc_classes, unnamed_classes
from cam_repro.errors import UserError
from cam_repro.formats.boxes import Annotations, read_annotations
from cam_repro.formats.submissions import KAGGLE_HEADER
from cam_repro.formats.text import (
    CsvTable,
    Place,
    Words,
    has_columns,
    one_line_each,
    read_header,
    whole_numbers,
)
from cam_repro.formats.wsol_metadata import are_of_ilsvrc, is_metadata_folder, read_metadata
from cam_repro.runs.folders import run_folder
from cam_repro.truth import RaggedBoxes, Truth
from cam_repro.types import NO_LABEL

log = logging.getLogger(__name__)


def read_truth(
    source: Path | str, cache: Path | None = None, masks: Path | str | None = None
) -> Truth:
    """Read what is known of a set of images.

    source: one of
        a CSV (also .csv.gz) ``image,width,height,label,boxes``: labels without named classes,
        compared with a submission's as they are;
        the same with ``class_index`` in place of ``label``: indices of ILSVRC's 1,000 classes;
        Kaggle's ``ImageId,PredictionString``, or a folder of XML files (flat, or one sub-folder a
        class): WordNet ids, which must be among ILSVRC's 1,000;
        a metadata folder of Choe et al. (CVPR 2020): class indices, of ILSVRC's classes where
        the names of the images say so (``are_of_ilsvrc``);
        a run folder of ``cam-eval``, which holds the truth too: class indices.
    cache: folder in which the table of an XML folder is kept; None keeps none.
    masks: the folder of the masks that a metadata folder names in place of boxes, as that of
        OpenImages30k does; None where it has boxes.

    Raises UserError, with file and line where there is one.
    """
    source = Path(source)
    if masks is not None and not is_metadata_folder(source):
        raise UserError(
            f"masks={masks}: {source} is no metadata folder that names masks: leave it out"
        )
    folder = run_folder(source)
    if folder is not None:
        return _from_run(folder)
    if source.is_dir():
        if is_metadata_folder(source):
            return _from_metadata(source, masks)
        annotations = read_annotations(source, cache)
        if not annotations.ids:
            raise UserError(
                f"{source}: holds neither XML files, nor image_ids.txt of a metadata folder, nor "
                "manifest.json of a run"
            )
        return _from_annotations(source, annotations)
    if has_columns(read_header(source, "ground truth"), KAGGLE_HEADER):
        return _from_annotations(source, read_annotations(source))
    return _from_csv(source)


def _from_run(folder: Path) -> Truth:
    from cam_repro.runs.predictions import read_predictions  # pyarrow: only runs need it

    return read_predictions(folder)


def _from_metadata(folder: Path, masks: Path | str | None) -> Truth:
    truth = read_metadata(folder, masks)
    highest = int(truth.labels_N.max(initial=NO_LABEL))
    if highest == NO_LABEL:
        return truth
    if are_of_ilsvrc(truth.ids, truth.labels_N):
        if highest >= len(ilsvrc_classes()):
            raise UserError(
                f"{folder}: has class {highest} and images of ILSVRC, whose classes are 0 to 999"
            )
        return replace(truth, classes=ilsvrc_classes())
    return replace(truth, classes=unnamed_classes(highest + 1))


def _from_annotations(source: Path, annotations: Annotations) -> Truth:
    """Make a truth from annotations; the label of an image is the class of its objects.

    Raises UserError where objects of an image differ in class, or a class is not ILSVRC's.
    """
    classes = ilsvrc_classes()
    wnids, inverse_T = np.unique(annotations.wnids_T, return_inverse=True)
    image_T = annotations.boxes.image_of_box()
    for number, wnid in enumerate(wnids.tolist()):
        if classes.get(wnid) is None:
            first = annotations.ids[image_T[np.flatnonzero(inverse_T == number)[0]]]
            raise UserError(
                f"{source}: class {wnid!r} of {first} is not one of ILSVRC's 1,000; for a data set "
                "with classes of its own give data=ilsvrc data.root=DIR instead of ground_truth"
            )
    labels_N = np.full(len(annotations.ids), NO_LABEL, np.int32)
    if len(wnids):
        labels_T = np.array([classes.index_of(wnid) for wnid in wnids.tolist()])[inverse_T]
        labels_N[image_T] = labels_T
        other_T = np.flatnonzero(labels_N[image_T] != labels_T)
        if len(other_T):
            first = annotations.ids[image_T[other_T[0]]]
            raise UserError(f"{source}: {first} has objects of several classes, not of one")
    return Truth(
        ids=annotations.ids,
        labels_N=labels_N,
        boxes=annotations.boxes,
        sizes_N2=annotations.sizes_N2 if (annotations.sizes_N2 > 0).any() else None,
        classes=classes,
    )


def _from_csv(path: Path) -> Truth:
    header = read_header(path, "ground truth")
    is_index = "class_index" in header and "label" not in header
    sizes = ["width", "height"] if {"width", "height"} <= set(header) else []
    columns = ["image", *sizes, "class_index" if is_index else "label", "boxes"]
    expected = (
        "image,width,height,label,boxes (or class_index for label) or ImageId,PredictionString"
    )
    table = CsvTable(path, "ground truth", columns, expected)
    images, *size_texts, label_texts, box_texts = table.cells
    table.check_names(images)
    labels_N = whole_numbers(label_texts, table.place)
    limit = len(ilsvrc_classes()) if is_index else np.inf
    bad = np.flatnonzero((labels_N < 0) | (labels_N >= limit))
    if len(bad):
        asked = "a class index is 0 to 999" if is_index else "a label is 0 or more"
        raise UserError(f"{table.place(bad[0])}: label {labels_N[bad[0]]}; {asked}")
    boxes = _parse_boxes(box_texts, table.place)
    return Truth(
        ids=images,
        labels_N=labels_N,
        boxes=boxes,
        sizes_N2=_parse_sizes(size_texts, table.place) if sizes else None,
        classes=ilsvrc_classes() if is_index else None,
    )


def _parse_sizes(texts: list[list[str]], place: Place) -> np.ndarray | None:
    """Read width and height of each image, int32 (N, 2), 0 where both are empty; None if all are.

    texts: of the column of widths and of that of heights. place: gives the place of an image, by
    its index. Raises UserError for a size below 1.
    """
    if not any(map(any, texts)):
        return None
    stated_N2 = np.array(texts).T != ""
    sides = [whole_numbers([text or "0" for text in column], place) for column in texts]
    sizes_N2 = np.stack(sides, axis=1).astype(np.int32)
    bad = np.flatnonzero(stated_N2.any(axis=1) & (sizes_N2 < 1).any(axis=1))
    if len(bad):
        width, height = (column[bad[0]] or "empty" for column in texts)
        raise UserError(
            f"{place(int(bad[0]))}: width {width}, height {height}; both are 1 or more, or both "
            "empty where the size is not known"
        )
    return sizes_N2


def _parse_boxes(texts: Sequence[str], place: Place) -> RaggedBoxes:
    """Read the boxes of each image, ``x0 y0 x1 y1;x0 y0 x1 y1``; text between ``;`` may be empty.

    place: gives the place of a text, by its index.
    """
    text = one_line_each(texts)
    bytes_X = np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8)
    ends_T = bytes_X[(bytes_X == ord(";")) | (bytes_X == ord("\n"))]  # of all parts
    ends_N = np.flatnonzero(ends_T == ord("\n")) + 1

    def image_of(part: int) -> int:
        return int(np.searchsorted(ends_N, part, side="right"))

    parts = Words(text.replace(";", "\n"))
    bad = np.flatnonzero(~np.isin(parts.counts_N, (0, 4)))
    if len(bad):
        raise UserError(
            f"{place(image_of(bad[0]))}: a box is four numbers x0 y0 x1 y1, boxes parted by ';'"
        )
    numbers_T4 = parts.numbers(lambda part: place(image_of(part))).reshape(-1, 4)
    boxes_before = np.concatenate([[0], np.cumsum(parts.counts_N // 4)])
    return RaggedBoxes.from_counts(numbers_T4, np.diff(boxes_before[ends_N], prepend=0))
