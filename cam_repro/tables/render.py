"""Filled tables as CSV (everything) and Markdown (narrow enough for a terminal of 100 columns)."""

from __future__ import annotations

import csv
import io
import textwrap
from pathlib import Path

from cam_repro.files import write_text
from cam_repro.tables.build import Line, Table

WIDTH = 100

_SHORT = {"top1": "top-1", "top5": "top-5"}


def write_tables(tables: list[Table], folder: Path | str) -> None:
    """Write ``table1.csv`` .. ``table3.csv`` and ``tables.md``, each whole or not at all."""
    folder = Path(folder)
    for table in tables:
        write_text(folder / f"{table.paper.stem}.csv", csv_text(table))
    write_text(folder / "tables.md", markdown(tables))


def csv_text(table: Table) -> str:
    """The table as CSV, percent with two decimals.

    First the paper's own columns with our numbers, then per number the paper's, the difference
    (ours - paper, only where both are of ILSVRC) and the 95 % interval, then n and where from.
    """
    columns = [_SHORT[column] for column in table.paper.columns]
    with_split = len(table.paper.splits) > 1
    paper = "paper" if table.is_ilsvrc else f"paper (ILSVRC {table.paper.paper_split})"
    header = [
        *table.paper.header,
        *(f"{paper} {column}" for column in columns),
        *(f"difference {column}" for column in columns),
        *(f"{column} 95% {end}" for column in columns for end in ("low", "high")),
        *("n", "data", "view"),
        *(["split"] if with_split else []),
        "run",
        *(["note"] if with_split else []),
    ]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    for line in table.lines:
        row, run, empty = line.row, line.run, [""] * len(columns)
        intervals = [end for number in line.numbers for end in (number.low, number.high)]
        writer.writerow(
            [
                row.name,
                *([row.supervision] if row.supervision else []),
                *([f"{number.error:.2f}" for number in line.numbers] or empty),
                *(f"{value:.2f}" for value in row.paper),
                *(_differences(table, line) or empty),
                *([f"{end:.2f}" for end in intervals] or 2 * empty),
                *([line.n, table.data, table.view] if run else ["", "", ""]),
                *([run.split if run else ""] if with_split else []),
                run.name if run else "",
                *([row.note] if with_split else []),
            ]
        )
    return text.getvalue()


def markdown(tables: list[Table]) -> str:
    """The tables as Markdown with captions, lines of at most 100 characters."""
    return "\n".join(_markdown(table) for table in tables)


def _markdown(table: Table) -> str:
    names = [_SHORT[column] for column in table.paper.columns]
    paper = "paper" if table.is_ilsvrc else "paper: ILSVRC"
    with_split = len(table.paper.splits) > 1
    head = list(table.paper.header[: -len(names)])
    for name in names:
        head += [name, "95 %", paper, *(["diff"] if table.is_ilsvrc else [])]
    if with_split:
        head.append("split")
    body = []
    for line in table.lines:
        cells = [line.row.name, *([line.row.supervision] if line.row.supervision else [])]
        differences = _differences(table, line)
        for i, value in enumerate(line.row.paper):
            if line.numbers:
                number = line.numbers[i]
                cells += [
                    f"{number.error:.2f}"[:5],
                    f"{_short(number.low)}-{_short(number.high)}",
                ]
            else:
                cells += ["", ""]
            cells.append(f"{value:.2f}")
            if table.is_ilsvrc:
                cells.append(differences[i] if differences else "")
        if with_split:
            cells.append(line.run.split if line.run else "")
        body.append(cells)
    caption = "\n".join(textwrap.wrap(_caption(table), WIDTH, break_on_hyphens=False))
    return f"{caption}\n\n{_grid(head, body, left=len(table.paper.header) - len(names))}\n"


def _caption(table: Table) -> str:
    counts = sorted({line.n for line in table.lines if line.run})
    if not counts:
        n = "no run yet"
    elif len(counts) == 1:
        n = f"n = {counts[0]}"
    else:
        n = f"n = {counts[0]} to {counts[-1]} (each row's is in the CSV)"
    splits = sorted({line.run.split for line in table.lines if line.run})
    splits = splits or [table.paper.splits[-1]]
    ours = f"data set {table.data}, split {' and '.join(splits)}, view {table.view}, {n}"
    paper = f"ILSVRC {table.paper.paper_split}"
    if table.is_ilsvrc and splits == [table.paper.paper_split]:
        source = f"Paper: {paper}; diff = ours - paper."
    elif table.is_ilsvrc:
        source = f"Paper: {paper}, whose labels are not public; diff = ours - paper all the same."
    else:
        source = f"The paper's numbers are of another data set, {paper}: not comparable with ours."
    parts = [f"**{table.paper.title} (%)**: {ours}; 95 % bootstrap interval over images."]
    return " ".join([*parts, source, table.paper.caption]).strip()


def _differences(table: Table, line: Line) -> list[str]:
    """Ours - paper, both as printed; empty where there is nothing, or nothing to compare."""
    if not table.is_ilsvrc:
        return []
    return [
        f"{round(number.error, 2) - value:+.2f}"
        for number, value in zip(line.numbers, line.row.paper, strict=bool(line.numbers))
    ]


def _short(percent: float) -> str:
    return f"{percent:.1f}".replace("100.0", "100")


def _grid(head: list[str], body: list[list[str]], left: int) -> str:
    """A Markdown table with aligned columns, the first ``left`` of them to the left."""
    widths = [max(len(row[i]) for row in [head, *body]) for i in range(len(head))]

    def line(cells: list[str]) -> str:
        padded = [
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * width if i < left else "-" * (width - 1) + ":" for i, width in enumerate(widths)]
    return "\n".join([line(head), line(rule), *map(line, body)])
