"""Submissions as text: the ILSVRC development kit's form and Kaggle's, and blacklists.

A submission of the development kit has one line an image, in file-name order, with up to five
times ``label xmin ymin xmax ymax``. Kaggle's is a CSV ``ImageId,PredictionString`` with WordNet
ids for labels. Guesses after the fifth are left out in both, as the official program does.
"""

from __future__ import annotations

import csv
import gzip
import io
import math
import warnings
import zlib
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from cam_repro.errors import UserError
from cam_repro.files import write_text
from cam_repro.types import MAX_GUESSES, Guess

PAD = -1
"""Fills the places of guesses that were not made; never a label, never a coordinate."""

KAGGLE_HEADER = ("ImageId", "PredictionString")


# --- writing -------------------------------------------------------------------------------------


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


def write_kaggle_submission(
    path: Path | str,
    ids: Sequence[str],
    guesses: Sequence[Sequence[Guess]],
    wnids: Sequence[str],
) -> None:
    """Write Kaggle's CSV: the guesses of every image named, an empty string where there is none.

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
    """Read back what ``write_submission`` wrote with these arguments.

    Raises UserError naming the first line that is not what was to be written.
    """
    if submission_labels is None:
        labels = [index + 1 for line in guesses for index, _ in line]
    else:
        labels = [int(submission_labels[index]) for line in guesses for index, _ in line]
    _check_read_back(Path(path), 1, guesses, labels, *read_submission(path))


def check_kaggle_submission(
    path: Path | str,
    ids: Sequence[str],
    guesses: Sequence[Sequence[Guess]],
    wnids: Sequence[str],
) -> None:
    """Read back what ``write_kaggle_submission`` wrote with these arguments.

    Raises UserError naming the first line that is not what was to be written.
    """
    found_ids, labels_N5, boxes_N54 = read_kaggle_submission(path)
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
    """UserError unless the arrays hold these guesses. labels: of all guesses, one after another."""
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


def read_submission(path: Path | str) -> tuple[np.ndarray, np.ndarray]:
    """Read a submission: labels (N, 5) and boxes (N, 5, 4), int64, ``PAD`` where there is no guess.

    Numbers may be written as floats if they are whole. A line that is none of this is a UserError
    with file and line.
    """
    path = Path(path)
    text = _read_text(path, "submission")
    regular = numbers_by_line(text)
    if regular is not None and _are_guesses(regular[1]):
        numbers, counts_N = regular
        kept_NG = _places(counts_N)
    else:
        lines = [line.split() for line in text.splitlines()]
        words, kept_NG, place = _words_of_guesses(lines, path, range(1, len(lines) + 1))
        numbers = whole_numbers(words, place)
    table_NG5 = np.full((*kept_NG.shape, 5), PAD, np.int64)
    table_NG5[kept_NG] = numbers.reshape(-1, 5)
    return table_NG5[:, :, 0], table_NG5[:, :, 1:]


def read_kaggle_submission(path: Path | str) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Read Kaggle's CSV: image ids, labels (N, 5), boxes (N, 5, 4) int64 with ``PAD``.

    Labels are text as it stands there, usually WordNet ids, "" where there is no guess. Raises
    UserError with file and line; an image that comes twice is one of the errors.
    """
    path = Path(path)
    (ids, cells), numbers = read_csv_columns(path, "submission", KAGGLE_HEADER)
    if len(set(ids)) < len(ids):
        seen: set[str] = set()
        for image_id, number in zip(ids, numbers, strict=True):
            if image_id in seen:
                raise UserError(f"{path}, line {number}: image {image_id} comes a second time")
            seen.add(image_id)
    regular = _regular_kaggle_guesses(cells)
    if regular is not None:
        labels, boxes_X4, kept_NG = regular
    else:
        lines = [cell.split() for cell in cells]
        words, kept_NG, place = _words_of_guesses(lines, path, numbers)
        labels = words[::5]
        words[::5] = ["0"] * len(labels)
        boxes_X4 = whole_numbers(words, place).reshape(-1, 5)[:, 1:]
    labels_N5 = np.full(kept_NG.shape, "", object)
    labels_N5[kept_NG] = labels
    boxes_N54 = np.full((*kept_NG.shape, 4), PAD, np.int64)
    boxes_N54[kept_NG] = boxes_X4
    return ids, labels_N5, boxes_N54


def read_blacklist(path: Path | str, n_images: int) -> np.ndarray:
    """Read 1-based image numbers, one a line, as a mask (n_images,), True where blacklisted."""
    path = Path(path)
    blacklisted_N = np.zeros(n_images, bool)
    for row, line in enumerate(_read_text(path, "blacklist").splitlines()):
        if not line.strip():
            continue
        number = _integer(line)
        if number is None:
            raise _not_whole(line.strip(), f"{path}, line {row + 1}")
        if not 1 <= number <= n_images:
            raise UserError(
                f"{path}, line {row + 1}: image {number}; the images are 1 to {n_images}"
            )
        blacklisted_N[number - 1] = True
    return blacklisted_N


def read_csv_columns(
    path: Path, what: str, columns: Sequence[str], expected: str = ""
) -> tuple[list[list[str]], Sequence[int]]:
    """Cells of these columns of a CSV (also .csv.gz), and the line where each row ends.

    Empty lines are passed over. columns: names that the header must have, two or more; what comes
    back is these alone, in this order. expected: what to advise where one is missing.
    """
    text = _read_text(path, what)
    reader = csv.reader(io.StringIO(text, newline=""))
    header = next(reader, [])
    missing = [name for name in columns if name not in header]
    if missing:
        raise UserError(
            f"{path}: no column {', '.join(missing)}; the first line must be "
            f"{expected or ','.join(columns)}"
        )
    places = [header.index(name) for name in columns]
    regular = regular_columns(text, len(header))
    if regular is not None:
        return [regular[place][1:] for place in places], range(2, len(regular[0]) + 1)
    rows, numbers = [], []
    try:
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                raise UserError(
                    f"{path}, line {reader.line_num}: {len(row)} columns, the first line has "
                    f"{len(header)}"
                )
            rows.append(row)
            numbers.append(reader.line_num)
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: not CSV ({error})") from None
    return [[row[place] for row in rows] for place in places], numbers


def read_csv_rows(
    path: Path, what: str, columns: Sequence[str], expected: str = ""
) -> tuple[list[list[str]], Sequence[int]]:
    """``read_csv_columns`` row by row."""
    cells, numbers = read_csv_columns(path, what, columns, expected)
    return [list(row) for row in zip(*cells, strict=True)], numbers


def read_header(path: Path, what: str) -> str:
    """The first line of a text file (also .gz); UserError where it is missing or not text."""
    return _read_text(path, what, first_line=True).strip()


def whole_numbers(words: Sequence[str], place: Callable[[int], str]) -> np.ndarray:
    """Words as int64; they may be written as floats if they are whole.

    place: says where the word of an index stands (``F, line 3``), for the UserError that names
    the first word which is no whole number below 2^31.
    """
    regular = numbers_by_line("\n".join([*words, ""]))
    if regular is not None and len(regular[1]) == len(words) and (regular[1] == 1).all():
        return regular[0]
    try:
        numbers = np.array(list(map(float, words)), np.float64)
    except ValueError:
        numbers = np.array([math.nan])
    if not _are_whole(numbers):
        for index, word in enumerate(words):
            if _integer(word) is None:
                raise _not_whole(word, place(index))
    return numbers.astype(np.int64)


def _are_whole(numbers: np.ndarray) -> bool:
    """Whether all are whole numbers below 2^31. NaN is none."""
    # Float64 is exact here, and areas of such boxes still fit into 64 bits.
    good = (numbers > -(2**31)) & (numbers < 2**31) & (numbers == np.floor(numbers))
    return bool(good.all())


def _integer(word: str) -> int | None:
    """A whole number below 2^31, also written as a float; None for any other word."""
    try:
        number = float(word)
    except ValueError:
        return None
    return int(number) if number.is_integer() and abs(number) < 2**31 else None


def _not_whole(word: str, place: str) -> UserError:
    return UserError(f"{place}: {word!r} is not a whole number below 2^31")


def _words_of_guesses(
    lines: list[list[str]], path: Path, numbers: Sequence[int]
) -> tuple[list[str], np.ndarray, Callable[[int], str]]:
    """The words of the first five guesses of all lines, five each, one after another.

    numbers: the line of the file that each of ``lines`` stands in.
    Returns them, which places of (N, 5) they fill, and ``place`` for ``whole_numbers``.
    """
    counts_N = np.array([len(line) for line in lines], np.int64)
    ragged = np.flatnonzero(counts_N % 5)
    if len(ragged):
        row = int(ragged[0])
        raise UserError(
            f"{path}, line {numbers[row]}: {counts_N[row]} numbers; "
            "each guess is five, label xmin ymin xmax ymax"
        )
    kept_NG = _places(counts_N)
    ends_N = np.cumsum(5 * kept_NG.sum(axis=1))

    def place(word: int) -> str:
        return f"{path}, line {numbers[int(np.searchsorted(ends_N, word, side='right'))]}"

    words = list(chain.from_iterable(line[: 5 * MAX_GUESSES] for line in lines))
    return words, kept_NG, place


def _places(counts_N: np.ndarray) -> np.ndarray:
    """Which places of (N, 5) the guesses of each line fill. counts_N: words of each line."""
    return np.arange(MAX_GUESSES) < counts_N[:, None] // 5


# --- reading all lines at once -------------------------------------------------------------------
#
# What is valid is said above, word by word: float() reads it, and it is whole and below 2^31. What
# follows reads regular text, which is nearly all that there is, without an object for each word.
# It returns None for anything that it might read otherwise, and then the word-by-word way decides.

_WORD, _BLANK, _END = 1, 2, 3
_KINDS = bytes(
    _WORD if 32 < byte < 127 else {9: _BLANK, 10: _END, 32: _BLANK}.get(byte, 0)
    for byte in range(256)
)
"""What each byte is. 0: what str.split() or str.splitlines() may see as a blank or a line end."""


def numbers_by_line(text: str) -> tuple[np.ndarray, np.ndarray] | None:
    """All numbers of a text, int64, and how many each line has.

    None where a word is no whole number as ``whole_numbers`` has it, and for irregular text.
    """
    found = _find_words(text)
    if found is None:
        return None
    data, starts_W, counts_N = found
    numbers = _parse(data, len(starts_W))
    return None if numbers is None else (numbers, counts_N)


def _are_guesses(counts_N: np.ndarray) -> bool:
    """Whether each line has the words of up to five guesses."""
    return bool(((counts_N % 5 == 0) & (counts_N <= 5 * MAX_GUESSES)).all())


def _regular_kaggle_guesses(
    cells: Sequence[str],
) -> tuple[list[str], np.ndarray, np.ndarray] | None:
    """Labels and boxes (X, 4) of all guesses, and the places of (N, 5) that they fill."""
    found = _find_words("\n".join([*cells, ""]))
    if found is None:
        return None
    data, starts_W, counts_N = found
    if len(counts_N) != len(cells) or not _are_guesses(counts_N):
        return None
    # Of every five words the first is the label. A word's bytes end where the next word starts.
    is_label_W = np.arange(len(starts_W)) % 5 == 0
    bytes_X = np.frombuffer(data, np.uint8)
    lengths = np.diff(starts_W, prepend=0, append=len(data))
    is_label_X = np.repeat(np.concatenate([[False], is_label_W]), lengths)
    blank = np.uint8(ord(" "))
    labels = np.where(is_label_X, bytes_X, blank).tobytes().decode().split()
    numbers = _parse(np.where(is_label_X, blank, bytes_X).tobytes(), int((~is_label_W).sum()))
    return None if numbers is None else (labels, numbers.reshape(-1, 4), _places(counts_N))


def _find_words(text: str) -> tuple[bytes, np.ndarray, np.ndarray] | None:
    """The text as bytes, where in it each word starts (W,), and how many words each line has."""
    if text and not text.endswith("\n"):
        text += "\n"
    data = text.encode().replace(b"\r\n", b"\n")
    kinds_X = np.frombuffer(data.translate(_KINDS), np.uint8)
    if not kinds_X.all():
        return None
    is_word_X = kinds_X == _WORD
    starts_W = np.flatnonzero(is_word_X & np.diff(is_word_X, prepend=False))
    ends_N = np.flatnonzero(kinds_X == _END)
    return data, starts_W, np.diff(np.searchsorted(starts_W, ends_N), prepend=0)


def _parse(data: bytes, n_words: int) -> np.ndarray | None:
    """All words of a text as int64; None where one of them is no whole number below 2^31."""
    for kind in (np.int64, np.float64):  # integers are parsed many times faster
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", DeprecationWarning)  # what NumPy 1 does, not raise
                numbers = np.fromstring(data, kind, sep=" ")
        except (ValueError, DeprecationWarning):
            continue
        # Of blanks alone NumPy makes a number, hence the count.
        if len(numbers) == n_words and _are_whole(numbers):
            return numbers.astype(np.int64)
    return None


def regular_columns(text: str, n_columns: int) -> list[list[str]] | None:
    """Cells of each column of a CSV; None where it has quotes, or lines of other lengths."""
    assert n_columns > 1, "an empty line would be a cell"
    if text and not text.endswith("\n"):
        text += "\n"
    text = text.replace("\r\n", "\n")
    bytes_X = np.frombuffer(text.encode(), np.uint8)
    ends = np.flatnonzero((bytes_X == ord(",")) | (bytes_X == ord("\n")))
    is_line_end = bytes_X[ends] == ord("\n")
    wanted_n = np.arange(n_columns) == n_columns - 1
    if len(ends) % n_columns or (is_line_end.reshape(-1, n_columns) != wanted_n).any():
        return None
    longest = np.diff(ends, prepend=-1).max(initial=0)
    if '"' in text or "\r" in text or longest > csv.field_size_limit():
        return None
    cells = text.replace("\n", ",").split(",")
    return [cells[place:-1:n_columns] for place in range(n_columns)]


# --- files ---------------------------------------------------------------------------------------


def _open(path: Path, what: str) -> BinaryIO:
    if not path.is_file():
        raise UserError(f"no {what} file {path}")
    if path.suffix == ".gz":
        return cast(BinaryIO, gzip.open(path, "rb"))
    return path.open("rb")


def _read_text(path: Path, what: str, first_line: bool = False) -> str:
    with _open(path, what) as file:
        try:
            return (file.readline() if first_line else file.read()).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise UserError(f"{path} is not a text file: give the {what} as text") from error
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise UserError(f"{path} cannot be unpacked ({error}): give it whole") from error
