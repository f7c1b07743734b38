"""Read text files of numbers, and CSV files, for the readers of submissions, boxes and truths.

For speed, NumPy or the csv module reads a text as a whole. The line at fault is looked for only
after that has failed.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import re
import warnings
import zlib
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np

from cam_repro.errors import UserError

Read = TypeVar("Read")

Place = Callable[[int], str]
"""Gives the place of item number i, from 0, for a message: ``F.txt, line 3``."""

MOST_UNPACKED = 100
"""How many times its size a .gz file may unpack to; tables unpack to about 5 times."""

# --- files ---------------------------------------------------------------------------------------


def read_text(path: Path, what: str) -> str:
    """Read a text file, also ``.gz``, UTF-8 with or without a byte order mark.

    what: what messages call the file. Raises UserError where it is missing, damaged or not text.
    """
    return _read(path, what, lambda file: file.read().decode("utf-8-sig"))


def lines_of_set(path: Path, remedy: str = "restore it from the set's archive") -> list[str]:
    """Read the lines of a text file that a data set is distributed with; the last may be empty.

    Line breaks alone part them; ``str.splitlines`` would part the name of an image at others too.
    remedy: what the message advises where the file is missing. Raises UserError for that, and where
    it cannot be read as text.
    """
    try:
        return path.read_text(encoding="utf-8-sig").split("\n")
    except FileNotFoundError:
        raise UserError(f"{path}: missing; {remedy}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as text ({error})") from None


def read_header(path: Path, what: str) -> list[str]:
    """Read the names of a CSV file's columns, in small letters; errors as of ``read_text``."""

    def first_line(file: BinaryIO) -> str:
        lines = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
        return _first_line(lines)

    return _header(_read(path, what, first_line))[0]


def has_columns(header: Sequence[str], columns: Sequence[str]) -> bool:
    """Tell whether a header that ``read_header`` read has these columns, in capitals or not."""
    return {name.lower() for name in columns} <= set(header)


def _first_line(lines: Iterable[str]) -> str:
    return next((line for line in lines if line.strip("\r\n")), "")


def _header(line: str) -> tuple[list[str], str]:
    """Give the names in the first line of a CSV file, in small letters, and what parts them.

    That is the comma, semicolon, tab or bar by which the line has the most parts.
    """
    best: tuple[list[str], str] = [], ","
    for mark in ",;\t|":
        with contextlib.suppress(csv.Error):  # CsvTable says what is wrong
            names = next(csv.reader([line], delimiter=mark), [])
            if len(names) > len(best[0]):
                best = [name.strip().lower() for name in names], mark
    return best


def _read(path: Path, what: str, read: Callable[[BinaryIO], Read]) -> Read:
    if not path.is_file():
        raise UserError(f"no {what} file {path}")
    with path.open("rb") as file:
        try:
            return read(_unpacked(file, path) if path.suffix == ".gz" else file)
        except UnicodeDecodeError as error:
            raise UserError(f"{path} is not a text file: give the {what} as text") from error
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise UserError(f"{path} cannot be unpacked ({error}): give it whole") from error


def _unpacked(file: BinaryIO, path: Path) -> BinaryIO:
    """Unpack a .gz file into memory; raises UserError where it is made to fill the memory."""
    at_most = max(MOST_UNPACKED * path.stat().st_size, 2**24)
    with gzip.open(file) as packed:
        data = packed.read(at_most + 1)
    if len(data) > at_most:
        raise UserError(
            f"{path}: unpacks to more than {MOST_UNPACKED} times its size, as no table does"
        )
    return io.BytesIO(data)


# --- CSV -----------------------------------------------------------------------------------------


class CsvTable:
    """Hold the cells of a CSV file, also ``.csv.gz``; empty lines are skipped.

    Cells are parted by commas, semicolons, tabs or bars, as the first line is; they may be quoted.

    cells: a list for each column asked for, in the order in which they were asked for.
    """

    def __init__(self, path: Path, what: str, columns: Sequence[str], expected: str = "") -> None:
        """Read the file.

        what: what messages call the file. columns: names that the first line must have, in
        capitals or not.
        expected: the first line that the message suggests where a column is missing; by default
        ``columns``. Raises UserError with file and line.
        """
        self.path = path
        self._text = read_text(path, what)
        first = _first_line(io.StringIO(self._text, newline=""))
        header, self._mark = _header(first)
        missing = [name for name in columns if name.lower() not in header]
        if missing:
            if first.lower().startswith("sep="):
                raise UserError(
                    f"{path}: its first line {first.strip()!r} is for Excel alone: delete it"
                )
            raise UserError(
                f"{path}: no column {', '.join(missing)}; the first line must be "
                f"{expected or ','.join(columns)}"
            )
        reader = self._rows()
        cells: list[str] = []  # row after row: a list of 50,000 lists would take twice the time
        try:
            next(filter(None, reader), None)
            for row in reader:
                if row and len(row) != len(header):
                    raise UserError(
                        f"{path}, line {reader.line_num}: {len(row)} columns, the first line has "
                        f"{len(header)}"
                    )
                cells += row
        except csv.Error as error:
            raise UserError(f"{path}, line {reader.line_num}: not CSV ({error})") from None
        self.cells = [cells[header.index(name.lower()) :: len(header)] for name in columns]

    def _rows(self) -> Any:
        """Start to read the rows with csv.reader, which knows the number of its line."""
        text = io.StringIO(self._text, newline="")
        return csv.reader(text, delimiter=self._mark)

    def place(self, row: int) -> str:
        """Name the file and the line in which a row ends; rows count from 0."""
        return f"{self.path}, line {self.lines[row]}"

    def check_names(self, names: Sequence[str]) -> None:
        """Raise UserError for the first row of which the name is empty, or came before.

        names: of the images, a column of ``cells``.
        """
        distinct = set(names)
        if len(distinct) == len(names) and "" not in distinct:
            return
        seen: set[str] = set()
        for row, name in enumerate(names):
            if not name:
                raise UserError(f"{self.place(row)}: the image has no name; give it one")
            if name in seen:
                raise UserError(f"{self.place(row)}: image {name} comes a second time; remove one")
            seen.add(name)

    @cached_property
    def lines(self) -> list[int]:
        """Find the number of the line, from 1, in which each row ends."""
        reader = self._rows()
        return [reader.line_num for cells in reader if cells][1:]


def one_line_each(cells: Sequence[str]) -> str:
    """Join cells to a text in which each is one line: blanks stand for the line ends in them."""
    text = "\n".join([*cells, ""])
    if "\r" in text or text.count("\n") > len(cells):
        text = "".join(re.sub("[\r\n]", " ", cell) + "\n" for cell in cells)
    return text


# --- numbers -------------------------------------------------------------------------------------

_WORD, _BLANK, _END = 1, 2, 3
_KINDS = bytes(
    {9: _BLANK, 11: _BLANK, 12: _BLANK, 32: _BLANK, 10: _END}.get(b, 1) for b in range(256)
)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)


class Words:
    """Hold the words of a text and how many each line has, without a Python object for each word.

    Blanks and tabs separate words; LF, CR or CR LF ends a line. Only ASCII blanks count.

    counts_N: number of words in each line, int64 (N,).
    """

    def __init__(self, text: str) -> None:
        if text and not text.endswith("\n"):
            text += "\n"
        data = text.encode("utf-8", "surrogatepass")
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        kinds_X = np.frombuffer(data.translate(_KINDS), np.uint8)
        is_word_X = kinds_X == _WORD
        ends_N = np.flatnonzero(kinds_X == _END)
        self._data = data
        self._starts_W = np.flatnonzero(is_word_X & np.diff(is_word_X, prepend=False))
        self.counts_N = np.diff(np.searchsorted(self._starts_W, ends_N), prepend=0)

    @classmethod
    def one_a_line(cls, words: Sequence[str], place: Place) -> Words:
        """Take a list of words; raise UserError for an item that is empty or several words."""
        found = cls(one_line_each(words))
        bad_N = np.flatnonzero(found.counts_N != 1)
        if len(bad_N):
            raise _not_whole(words[bad_N[0]], place(int(bad_N[0])))
        return found

    def __len__(self) -> int:
        """Count the words of all lines."""
        return len(self._starts_W)

    def take(self, wanted_W: np.ndarray) -> list[str]:
        """Give the words where ``wanted_W``, bool (W,), is true."""
        return [word.decode("utf-8", "replace") for word in self._only(wanted_W).split()]

    def _only(self, wanted_W: np.ndarray) -> bytes:
        """Give the text with blanks in place of all words but those wanted."""
        # The length of a word is counted up to the start of the next word, blanks included.
        lengths = np.diff(self._starts_W, prepend=0, append=len(self._data))
        wanted_X = np.repeat(np.concatenate([[False], wanted_W]), lengths)
        bytes_X = np.frombuffer(self._data, np.uint8)
        return np.where(wanted_X, bytes_X, np.uint8(ord(" "))).tobytes()

    def numbers(self, place: Place, wanted_W: np.ndarray | None = None) -> np.ndarray:
        """Read the words as int64; they may be written as floats if they are whole.

        place: gives the place of a line, by its number from 0. wanted_W: true for the words to
        read, bool (W,); None: all. Raises UserError for the first of them that is not a whole
        number below 2^31.
        """
        data = self._data if wanted_W is None else self._only(wanted_W)
        n_words = len(self) if wanted_W is None else int(wanted_W.sum())
        if not n_words:  # NumPy would make a number of blanks alone
            return np.zeros(0, np.int64)
        is_safe = data.rstrip()[-1:] not in (b"+", b"-")  # of such a last word NumPy makes 0
        for kind in (np.int64, np.float64) if is_safe else ():  # integers are many times faster
            try:
                with warnings.catch_warnings():
                    # For a bad text NumPy 1 gives this warning, not an error.
                    warnings.simplefilter("error", DeprecationWarning)
                    numbers = np.fromstring(data, kind, sep=" ")
            except (ValueError, DeprecationWarning):
                continue
            if len(numbers) == n_words and _are_whole(numbers):
                return numbers.astype(np.int64)
        words = [word.decode("utf-8", "replace") for word in data.split()]
        read = [whole_number(word) for word in words]
        if None not in read:
            return np.array(read, np.int64)
        bad = read.index(None)
        wanted = np.arange(len(self)) if wanted_W is None else np.flatnonzero(wanted_W)
        raise _not_whole(words[bad], place(self._line_of(int(wanted[bad]))))

    def _line_of(self, word: int) -> int:
        return int(np.searchsorted(np.cumsum(self.counts_N), word, side="right"))


def whole_numbers(words: Sequence[str], place: Place) -> np.ndarray:
    """Read words as int64; they may be written as floats if they are whole.

    place: gives the place of a word, by its index. Raises UserError for the first word that is not
    a whole number below 2^31.
    """
    return Words.one_a_line(words, place).numbers(place)


def number(word: str) -> float | None:
    """Read a number below 2^31, such as 12, 45.7 or 1e3; None for any other word."""
    if not _NUMBER.fullmatch(word):
        return None
    read = float(word)
    return read if abs(read) < 2**31 else None


def whole_number(word: str) -> int | None:
    """Read a whole number below 2^31, also written as a float; None for any other word."""
    read = number(word)
    return int(read) if read is not None and read.is_integer() else None


def _are_whole(numbers: np.ndarray) -> bool:
    """Tell whether all are whole numbers below 2^31; NaN is not."""
    # Below 2^31 float64 is exact, and the areas of boxes fit into 64 bits.
    good = (numbers > -(2**31)) & (numbers < 2**31) & (numbers == np.floor(numbers))
    return bool(good.all())


def _not_whole(word: str, place: str) -> UserError:
    return UserError(f"{place}: {word!r} is not a whole number below 2^31")
