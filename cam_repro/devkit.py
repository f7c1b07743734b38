"""The text files of the ILSVRC development kit: submissions, blacklists, and ground truth as CSV.

A submission has one line an image, in file-name order, with up to five times
``label xmin ymin xmax ymax``. Line i of it belongs to row i of the ground truth.
"""

from __future__ import annotations

import csv
import gzip
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np

from cam_repro.errors import UserError
from cam_repro.files import write_text
from cam_repro.types import MAX_GUESSES, Guess

PAD = -1
"""Fills the places of guesses that were not made; never a label, never a coordinate."""


@dataclass
class GroundTruth:
    """What a submission is scored against.

    images: names. labels_N: int64 >= 0. gt_boxes_T4: int64, all true boxes one after another;
    those of image i are ``gt_boxes_T4[gt_offsets[i]:gt_offsets[i + 1]]``, possibly none.
    """

    images: list[str]
    labels_N: np.ndarray
    gt_boxes_T4: np.ndarray
    gt_offsets: np.ndarray


def write_submission(
    path: Path | str,
    guesses: Sequence[Sequence[Guess]],
    submission_labels: np.ndarray | None = None,
) -> None:
    """Write the guesses of every image, in the order given; an empty line where there is none.

    submission_labels: label to write for each class index (the ILSVRC ids); index + 1 where None.
    """

    def words(guess: Guess) -> str:
        index, box = guess
        label = index + 1 if submission_labels is None else submission_labels[index]
        return " ".join(str(int(value)) for value in (label, *box))

    write_text(path, "".join(" ".join(map(words, line)) + "\n" for line in guesses))


def read_submission(path: Path | str) -> tuple[np.ndarray, np.ndarray]:
    """Read a submission: labels (N, 5) and boxes (N, 5, 4), int64, ``PAD`` where there is no guess.

    Guesses after the fifth are left out, as the official program does; numbers may be written as
    floats if they are whole. A line that is none of this is a UserError with file and line.
    """
    path = Path(path)
    lines = _read_lines(path, "submission")
    table_NG5 = np.full((len(lines), MAX_GUESSES, 5), PAD, np.int64)
    for row, line in enumerate(lines):
        words = line.split()
        if len(words) % 5:
            raise UserError(
                f"{path}, line {row + 1}: {len(words)} numbers; "
                "each guess is five, label xmin ymin xmax ymax"
            )
        numbers = [_integer(word, path, row + 1) for word in words[: 5 * MAX_GUESSES]]
        table_NG5[row].flat[: len(numbers)] = numbers
    return table_NG5[:, :, 0], table_NG5[:, :, 1:]


def read_ground_truth(path: Path | str) -> GroundTruth:
    """Read a CSV (also .csv.gz) with the columns ``image,width,height,label,boxes``.

    boxes: ``x0 y0 x1 y1;x0 y0 x1 y1``, or empty. Width and height are not needed to score and may
    be left out. Raises UserError with file and line.
    """
    path = Path(path)
    images: list[str] = []
    labels: list[int] = []
    boxes: list[list[int]] = []
    counts: list[int] = []
    with _open(path, "ground truth") as file:
        reader = csv.DictReader(file)
        missing = {"image", "label", "boxes"} - set(reader.fieldnames or ())
        if missing:
            raise UserError(
                f"{path}: no column {', '.join(sorted(missing))}; "
                "the first line must be image,width,height,label,boxes"
            )
        for row in reader:
            number = reader.line_num
            label = _integer(row["label"] or "", path, number)
            if label < 0:
                raise UserError(f"{path}, line {number}: label {label}; a label is 0 or more")
            groups = [group.split() for group in (row["boxes"] or "").split(";") if group.strip()]
            if any(len(group) != 4 for group in groups):
                raise UserError(
                    f"{path}, line {number}: a box is four numbers x0 y0 x1 y1, boxes parted by ';'"
                )
            images.append(row["image"])
            labels.append(label)
            boxes += [[_integer(word, path, number) for word in group] for group in groups]
            counts.append(len(groups))
    return GroundTruth(
        images=images,
        labels_N=np.array(labels, np.int64),
        gt_boxes_T4=np.array(boxes, np.int64).reshape(-1, 4),
        gt_offsets=np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]),
    )


def read_blacklist(path: Path | str, n_images: int) -> np.ndarray:
    """Read 1-based image numbers, one a line, as a mask (n_images,), True where blacklisted."""
    path = Path(path)
    blacklisted_N = np.zeros(n_images, bool)
    for row, line in enumerate(_read_lines(path, "blacklist")):
        if not line.strip():
            continue
        number = _integer(line.strip(), path, row + 1)
        if not 1 <= number <= n_images:
            raise UserError(
                f"{path}, line {row + 1}: image {number}; the images are 1 to {n_images}"
            )
        blacklisted_N[number - 1] = True
    return blacklisted_N


def _open(path: Path, what: str) -> TextIO:
    if not path.is_file():
        raise UserError(f"no {what} file {path}")
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _read_lines(path: Path, what: str) -> list[str]:
    with _open(path, what) as file:
        try:
            return file.read().splitlines()
        except UnicodeDecodeError as error:
            raise UserError(f"{path} is not a text file: give the {what} as text") from error


def _integer(word: str, path: Path, line: int) -> int:
    try:
        number = float(word)
    except ValueError:
        number = math.nan
    # Float64 is exact here, and areas of such boxes still fit into 64 bits.
    if not number.is_integer() or abs(number) >= 2**31:
        raise UserError(f"{path}, line {line}: {word!r} is not a whole number below 2^31")
    return int(number)
