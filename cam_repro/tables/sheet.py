"""Write tables as text: CSV with everything, Markdown for a terminal of 100 columns."""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from cam_repro.files import write_text
from cam_repro.metrics.intervals import Number

WIDTH = 100


@dataclass(frozen=True)
class Sheet:
    """Hold a table as it is written.

    stem: name of its CSV file. header, rows: the CSV. text: the main columns, as Markdown.
    is_empty: whether no run fills any of its rows.
    """

    stem: str
    header: list[str]
    rows: list[list[str]]
    text: str
    is_empty: bool = False

    @property
    def csv_text(self) -> str:
        """The CSV file's contents."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([self.header, *self.rows])
        return text.getvalue()


def markdown(sheets: list[Sheet]) -> str:
    """Write the sheets that some run fills as Markdown, in lines of at most 100 characters."""
    return "\n".join(sheet.text for sheet in sheets if not sheet.is_empty)


def write_sheets(sheets: list[Sheet], folder: Path | str, together: str = "tables") -> list[str]:
    """Write a CSV of each sheet, and ``<together>.md`` of all; returns the names of the files."""
    files = {f"{sheet.stem}.csv": sheet.csv_text for sheet in sheets}
    files[f"{together}.md"] = markdown(sheets)
    for name, text in files.items():
        write_text(Path(folder) / name, text)
    return list(files)


@dataclass
class Footnotes:
    """Number the notes under a table; equal notes share a number."""

    notes: list[str] = field(default_factory=list)

    def mark(self, parts: Iterable[str]) -> str:
        """Note the parts; give the mark to put behind a cell: `` [1]``, or nothing for no parts."""
        note = ", ".join(parts)
        if not note:
            return ""
        if note not in self.notes:
            self.notes.append(note)
        return f" [{self.notes.index(note) + 1}]"

    def text(self) -> str:
        """Write the notes as a paragraph after an empty line; nothing where there are none."""
        if not self.notes:
            return ""
        notes = "; ".join(f"[{number}] {note}" for number, note in enumerate(self.notes, start=1))
        return f"\n{paragraph(notes)}\n"


def paragraph(text: str) -> str:
    """Wrap a text to the width of a terminal."""
    return "\n".join(textwrap.wrap(text, WIDTH, break_on_hyphens=False))


def grid(head: list[str], body: list[list[str]], left: int) -> str:
    """Draw a Markdown table with aligned columns: the first ``left`` flush left, others right."""
    widths = [max(len(row[i]) for row in [head, *body]) for i in range(len(head))]

    def line(cells: list[str]) -> str:
        padded = [
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * width if i < left else "-" * (width - 1) + ":" for i, width in enumerate(widths)]
    return "\n".join([line(head), line(rule), *map(line, body)])


def short(percent: float) -> str:
    """Write a percentage with one decimal, and 100 with none."""
    return f"{percent:.1f}".replace("100.0", "100")


def reach(number: Number) -> str:
    """Say how far the farther end of a number's interval is from it, in points."""
    return short(max(number.error - number.low, number.high - number.error))


def counted(counts: Iterable[int]) -> str:
    """Say how many images the lines of a table cover: ``n = 500``."""
    distinct = sorted(set(counts))
    if not distinct:
        return "no run yet"
    if len(distinct) == 1:
        return f"n = {distinct[0]}"
    return f"n = {distinct[0]} to {distinct[-1]} (each row's is in the CSV)"
