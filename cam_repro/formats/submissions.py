"""Read, write and check submissions in the ILSVRC development kit's form and in Kaggle's.

A submission of the development kit has one line for each image, in file-name order, with up to
five times ``label xmin ymin xmax ymax``. Kaggle's is a CSV ``ImageId,PredictionString`` with
WordNet ids for labels. Readers of both leave out guesses after the fifth of an image, as the
official program does.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cam_repro.errors import UserError
from cam_repro.files import write_text
from cam_repro.formats.text import CsvTable, Place, Words, one_line_each, read_text
from cam_repro.types import MAX_GUESSES, PAD, Guess

KAGGLE_HEADER = ("ImageId", "PredictionString")


# --- writing -------------------------------------------------------------------------------------


def write_submission(
    path: Path | str,
    guesses: Sequence[Sequence[Guess]],
    submission_labels: np.ndarray | None = None,
) -> None:
    """Write the guesses of every image, in the order given; an empty line where there is none.

    submission_labels: label to write for each class index (``ClassTable.submission_labels_C``);
        None: class index + 1.
    """

    def words(guess: Guess) -> str:
        index, box = guess
        label = index + 1 if submission_labels is None else submission_labels[index]
        return " ".join(str(int(value)) for value in (label, *box))

    write_text(path, "".join(" ".join(map(words, line)) + "\n" for line in guesses))


def write_kaggle_submission(
    path: Path | str,
    ids: Sequence[str],
    guesses: Sequence[Sequence[Guess]],
    wnids: Sequence[str],
) -> None:
    """Write Kaggle's CSV: a row for each image, with an empty string where it has no guesses.

    wnids: WordNet id of each class index.
    """

    def words(guess: Guess) -> str:
        index, box = guess
        return " ".join([wnids[index], *(str(int(value)) for value in box)])

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(KAGGLE_HEADER)
    writer.writerows(
        (image_id, " ".join(map(words, line))) for image_id, line in zip(ids, guesses, strict=True)
    )
    write_text(path, text.getvalue())


def check_submission(
    path: Path | str,
    guesses: Sequence[Sequence[Guess]],
    submission_labels: np.ndarray | None = None,
) -> None:
    """Read a file back and check that it is what ``write_submission`` writes for these arguments.

    Raises UserError that names the first line that differs.
    """
    if submission_labels is None:
        labels = [index + 1 for line in guesses for index, _ in line]
    else:
        labels = [int(submission_labels[index]) for line in guesses for index, _ in line]
    _check_read_back(Path(path), 1, guesses, labels, *read_submission(path)[:2])


def check_kaggle_submission(
    path: Path | str,
    ids: Sequence[str],
    guesses: Sequence[Sequence[Guess]],
    wnids: Sequence[str],
) -> None:
    """Read back and check what ``write_kaggle_submission`` wrote with these arguments.

    Raises UserError that names the first line that differs.
    """
    found_ids, labels_N5, boxes_N54, _ = read_kaggle_submission(path)
    for row, (found, wanted) in enumerate(zip(found_ids, ids, strict=False)):
        if found != wanted:
            raise UserError(f"{path}, line {row + 2}: image {found}, should be {wanted}; {_AGAIN}")
    labels = [wnids[index] for line in guesses for index, _ in line]
    _check_read_back(Path(path), 2, guesses, labels, labels_N5, boxes_N54)


_AGAIN = "the file was changed or the disk is faulty: write it again"


def _check_read_back(
    path: Path,
    first_line: int,
    guesses: Sequence[Sequence[Guess]],
    labels: Sequence[int | str],
    labels_N5: np.ndarray,
    boxes_N54: np.ndarray,
) -> None:
    """Raise UserError unless the arrays that were read hold these guesses.

    first_line: number of the line of the first image. labels: of all guesses, one after another.
    """
    if len(labels_N5) != len(guesses):
        raise UserError(f"{path}: holds {len(labels_N5)} images, not {len(guesses)}; {_AGAIN}")
    made_N5 = np.arange(MAX_GUESSES) < np.array([len(line) for line in guesses], int)[:, None]
    wanted_labels_N5 = np.full_like(labels_N5, "" if labels_N5.dtype == object else PAD)
    wanted_labels_N5[made_N5] = labels
    wanted_boxes_N54 = np.full_like(boxes_N54, PAD)
    boxes = [box for line in guesses for _, box in line]
    wanted_boxes_N54[made_N5] = np.array(boxes, np.int64).reshape(-1, 4)
    same_N = (labels_N5 == wanted_labels_N5).all(1) & (boxes_N54 == wanted_boxes_N54).all((1, 2))
    if not same_N.all():
        line = int(np.flatnonzero(~same_N)[0]) + first_line
        raise UserError(f"{path}, line {line}: does not hold the guesses written; {_AGAIN}")


# --- reading -------------------------------------------------------------------------------------


def read_submission(path: Path | str) -> tuple[np.ndarray, np.ndarray, int]:
    """Read a submission: labels (N, 5) and boxes (N, 5, 4), int64, ``PAD`` where there is no guess.

    Also counts the guesses after the fifth of an image, which are left out.

    Numbers may be written as floats if they are whole. Raises UserError with file and line.
    """
    path = Path(path)

    def place(line: int) -> str:
        return f"{path}, line {line + 1}"

    words = Words(read_text(path, "submission"))
    _check_fives(words, place)
    numbers_X5 = words.numbers(place).reshape(-1, 5)
    kept_X, place_X2 = _first_five(words.counts_N // 5)
    table_N55 = np.full((len(words.counts_N), MAX_GUESSES, 5), PAD, np.int64)
    table_N55[place_X2[:, 0], place_X2[:, 1]] = numbers_X5[kept_X]
    return table_N55[:, :, 0], table_N55[:, :, 1:], int(np.count_nonzero(~kept_X))


def read_kaggle_submission(path: Path | str) -> tuple[list[str], np.ndarray, np.ndarray, int]:
    """Read Kaggle's CSV: image ids, labels (N, 5), boxes (N, 5, 4) int64 with ``PAD``.

    Also counts the guesses after the fifth of an image, which are left out.

    Labels are text as the file has it, usually WordNet ids, and "" where there is no guess. Raises
    UserError with file and line, also for an image that comes twice or has no name.
    """
    table = CsvTable(Path(path), "submission", KAGGLE_HEADER)
    ids, cells = table.cells
    table.check_names(ids)
    words = Words(one_line_each(cells))
    _check_fives(words, table.place)
    is_label_W = np.arange(len(words)) % 5 == 0
    labels = np.array(words.take(is_label_W), object)
    boxes_X4 = words.numbers(table.place, ~is_label_W).reshape(-1, 4)
    kept_X, place_X2 = _first_five(words.counts_N // 5)
    labels_N5 = np.full((len(ids), MAX_GUESSES), "", object)
    labels_N5[place_X2[:, 0], place_X2[:, 1]] = labels[kept_X]
    boxes_N54 = np.full((len(ids), MAX_GUESSES, 4), PAD, np.int64)
    boxes_N54[place_X2[:, 0], place_X2[:, 1]] = boxes_X4[kept_X]
    return ids, labels_N5, boxes_N54, int(np.count_nonzero(~kept_X))


def _check_fives(words: Words, place: Place) -> None:
    """Raise UserError for the first line whose number of words is not a multiple of five."""
    ragged = np.flatnonzero(words.counts_N % 5)
    if len(ragged):
        line = int(ragged[0])
        raise UserError(
            f"{place(line)}: {words.counts_N[line]} numbers; "
            "each guess is five, label xmin ymin xmax ymax, parted by blanks"
        )


def _first_five(counts_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tell which guesses are among the first five of their image, and where they belong.

    counts_N: number of guesses of each image. Returns a mask over all guesses, bool (X,), and
    image index and rank of each guess that it keeps, (Y, 2).
    """
    image_X = np.repeat(np.arange(len(counts_N)), counts_N)
    rank_X = np.arange(len(image_X)) - np.repeat(np.cumsum(counts_N) - counts_N, counts_N)
    kept_X = rank_X < MAX_GUESSES
    return kept_X, np.stack([image_X[kept_X], rank_X[kept_X]], axis=1)
