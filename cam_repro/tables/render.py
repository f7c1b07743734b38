"""Lay out the paper's tables as sheets: by one source alone, or by both side by side."""

from __future__ import annotations

import logging

from cam_repro.errors import UserError
from cam_repro.metrics.comparison import Paired, compare, pair_images
from cam_repro.tables.build import Line, Table
from cam_repro.tables.sheet import Footnotes, Sheet, counted, grid, paragraph, reach, short
from cam_repro.tables.sources import PAPER

log = logging.getLogger(__name__)

_SHORT = {
    "top1": "top-1",
    "top5": "top-5",
    **{f"{kind}_top{k}": f"{kind} top-{k}" for kind in ("loc", "cls") for k in (1, 5)},
}
"""What columns with numbers are called, by their names in paper.py."""


# --- one source ----------------------------------------------------------------------------------


def paper_sheet(table: Table) -> Sheet:
    """Write a table by one source: ``table1.csv``, or ``table1_authors.csv`` by the authors' code.

    The CSV has first the paper's own columns with our numbers. Then come, for each number, the
    paper's, the difference (ours - paper, only where both are of ILSVRC) and the 95 % interval;
    then n and the run. All errors are in percent with two decimals.
    """
    paper = table.paper
    columns = [_SHORT[column] for column in paper.columns]
    with_split = len(paper.splits) > 1
    header = [
        *paper.header,
        *(f"{_csv_head(table, 'paper')} {column}" for column in columns),
        *(f"difference {column}" for column in columns),
        *(f"{column} 95% {end}" for column in columns for end in ("low", "high")),
        *("n", "data", "view"),
        *(["split"] if with_split else []),
        *("settings", "run"),
        *(["note"] if _has_notes(table) else []),
    ]
    rows = [_csv_row(table, line) for line in table.lines]
    stem = paper.stem if table.source is PAPER else f"{paper.stem}_{table.source.name}"
    return Sheet(stem, header, rows, _markdown(table), is_empty=_is_empty(table))


def _csv_row(table: Table, line: Line) -> list[str]:
    row, run = line.row, line.run
    with_split = len(table.paper.splits) > 1
    empty = [""] * len(row.paper)
    intervals = [end for number in line.numbers for end in (number.low, number.high)]
    return [
        row.name,
        *([row.supervision] if row.supervision else []),
        *([f"{number.error:.2f}" for number in line.numbers] or empty),
        *(f"{value:.2f}" for value in row.paper),
        *(_differences(table, line) or empty),
        *([f"{end:.2f}" for end in intervals] or 2 * empty),
        *([str(line.n), table.data, table.source.view] if run else ["", "", ""]),
        *([run.split if run else ""] if with_split else []),
        " ".join(line.settings),
        run.name if run else "",
        *([row.note] if _has_notes(table) else []),
    ]


def _markdown(table: Table) -> str:
    if len(table.paper.columns) > 2:
        return _markdown_in_pairs(table)
    names = [_SHORT[column] for column in table.paper.columns]
    papers = _markdown_head(table, "paper")
    left = len(table.paper.header) - len(names)
    head = list(table.paper.header[:left])
    for name in names:
        head += [name, "95 %", papers, *(["diff"] if table.is_ilsvrc else [])]
    if len(table.paper.splits) > 1:
        head.append("split")
    notes = Footnotes()
    body = [_markdown_row(table, line, notes) for line in table.lines]
    return f"{_caption(table)}\n\n{grid(head, body, left)}\n{notes.text()}"


def _markdown_row(table: Table, line: Line, notes: Footnotes) -> list[str]:
    row = line.row
    cells = [row.name + notes.mark(line.settings)]
    cells += [row.supervision] if row.supervision else []
    differences = _differences(table, line)
    for i, value in enumerate(row.paper):
        if line.numbers:
            number = line.numbers[i]
            cells += [f"{number.error:.2f}"[:5], f"{short(number.low)}-{short(number.high)}"]
        else:
            cells += ["", ""]
        cells.append(f"{value:.2f}")
        if table.is_ilsvrc:
            cells.append(differences[i] if differences else "")
    if len(table.paper.splits) > 1:
        cells.append(line.run.split if line.run else "")
    return cells


def _markdown_in_pairs(table: Table) -> str:
    """Write a table of many numbers: top-1/top-5 in one cell, below it how far the ends reach."""
    papers = _markdown_head(table, "paper")
    kinds = [_SHORT[column].partition(" ")[0] for column in table.paper.columns[::2]]
    head = [table.paper.header[0], *(name for kind in kinds for name in (kind, papers))]
    notes = Footnotes()
    body = []
    for line in table.lines:
        cells, ends = [line.row.name + notes.mark(line.settings)], [""]
        for i in range(0, len(line.row.paper), 2):
            ours, theirs = line.numbers[i : i + 2], line.row.paper[i : i + 2]
            cells.append("/".join(f"{number.error:.2f}" for number in ours))
            cells.append("/".join(f"{value:.2f}" for value in theirs))
            ends += [f"±{'/'.join(map(reach, ours))}", ""]
        body += [cells, ends] if line.run else [cells]
    said = paragraph("Errors are top-1/top-5; ±: the farther end of the interval.")
    return f"{_caption(table)}\n{said}\n\n{grid(head, body, left=1)}\n{notes.text()}"


def _caption(table: Table) -> str:
    splits = _splits(table)
    parts = [
        f"**{table.paper.title} (%)**: data set {table.data}, split {' and '.join(splits)},",
        f"source={table.source.name} (view {table.source.view}), {_count(table)};",
        "95 % bootstrap interval over images.",
        _whose_numbers(table, splits),
        *(["diff = ours - paper."] if table.is_ilsvrc else []),
        table.paper.caption.format(**table.source.rules),
    ]
    return paragraph(" ".join(parts))


def _differences(table: Table, line: Line) -> list[str]:
    """Subtract ours - paper, both as printed; nothing where there is nothing to compare."""
    if not table.is_ilsvrc:
        return []
    return [
        f"{round(number.error, 2) - value:+.2f}"
        for number, value in zip(line.numbers, line.row.paper, strict=bool(line.numbers))
    ]


# --- both sources side by side -------------------------------------------------------------------


def sources_sheet(paper: Table, authors: Table) -> Sheet:
    """Write a table by both sources, one line a number: ``table1_sources.csv``.

    ``paper`` and ``authors`` are our errors by each source, ``published`` is the number that the
    paper prints. The difference is authors - paper in points, where both are of the same split; its
    interval is of the images that both runs scored. Citations, which no run can fill, are left out.
    """
    assert paper.paper is authors.paper
    compared = ["paper", "authors", "authors - paper"]
    header = [
        *(paper.paper.header[0], "error", _csv_head(paper, "published"), *compared),
        *("paper n", "authors n", "data", "paper split", "authors split"),
        *("paper settings", "authors settings", "paper run", "authors run"),
        *(f"{name} 95% {end}" for name in (*compared[:2], "difference") for end in ("low", "high")),
    ]
    notes = Footnotes()
    rows, body = [], []
    for ours in zip(paper.lines, authors.lines, strict=True):
        row = ours[0].row
        if not row.wanted:
            continue
        mark = notes.mark(
            f"{source}: {', '.join(line.settings)}"
            for source, line in zip(compared, ours, strict=False)
            if line.settings
        )
        paired = _paired(*ours)
        for i, column in enumerate(paper.paper.columns):
            numbers = [f"{line.numbers[i].error:.2f}" if line.run else "" for line in ours]
            cells = [_SHORT[column], f"{row.paper[i]:.2f}", *numbers, _points(*ours, i)]
            difference = paired.get(_SHORT[column])
            ends = [end for line in ours for end in _ends(line, i)] + _interval(difference)
            rows.append([row.name, *cells, *_origins(paper.data, ours), *ends])
            body.append([row.name + mark, *cells])
            if any(line.run for line in ours):
                reaches = [f"±{reach(line.numbers[i])}" if line.run else "" for line in ours]
                low_high = [f"{float(end):+.1f}" for end in _interval(difference) if end]
                body.append(["", "", "", *reaches, " to ".join(low_high)])
    head = [*header[:2], _markdown_head(paper, "published"), *compared]
    text = f"{_caption_of_both(paper, authors)}\n\n{grid(head, body, left=2)}\n{notes.text()}"
    is_empty = _is_empty(paper) and _is_empty(authors)
    return Sheet(f"{paper.paper.stem}_sources", header, rows, text, is_empty)


def _origins(data: str, ours: tuple[Line, Line]) -> list[str]:
    """List what the CSV says of where both numbers come from."""
    return [
        *(str(line.n) if line.run else "" for line in ours),
        data,
        *(line.run.split if line.run else "" for line in ours),
        *(" ".join(line.settings) for line in ours),
        *(line.run.name if line.run else "" for line in ours),
    ]


def _points(paper: Line, authors: Line, i: int) -> str:
    """Subtract authors - paper, both as printed; nothing unless both are of the same split."""
    if paper.run is None or authors.run is None or paper.run.split != authors.run.split:
        return ""
    return f"{round(authors.numbers[i].error, 2) - round(paper.numbers[i].error, 2):+.2f}"


def _paired(paper: Line, authors: Line) -> dict[str, Paired]:
    """Compare the runs of a row over the images of both: by ``top-1`` and ``top-5``.

    Empty unless both are of the same split; where their images cannot be paired, with a warning.
    """
    if paper.run is None or authors.run is None or paper.run.split != authors.run.split:
        return {}
    rules = None
    if paper.rule is not None and authors.rule is not None:
        rules = paper.rule, authors.rule
    first, second = paper.run.table, authors.run.table
    try:
        pairs = pair_images(first, second, (paper.run.name, authors.run.name))
    except UserError as error:
        log.warning("no interval of a difference: %s", error)
        return {}
    found = compare(first, second, pairs, rules)
    return {error.split()[-1]: each for error, each in found.items()}


def _ends(line: Line, i: int) -> list[str]:
    """Write both ends of the interval of a number of a row; nothing where it has none."""
    if line.run is None:
        return ["", ""]
    return [f"{end:.2f}" for end in (line.numbers[i].low, line.numbers[i].high)]


def _interval(paired: Paired | None) -> list[str]:
    """Write both ends of the interval of a difference; nothing where there is none."""
    return ["", ""] if paired is None else [f"{end:.2f}" for end in paired.interval]


def _caption_of_both(paper: Table, authors: Table) -> str:
    parts = [
        f"**{paper.paper.title}, by the paper and by the authors' code (%)**:",
        f"data set {paper.data};",
        *(f"{_made(table)};" for table in (paper, authors)),
        "authors - paper in points. Below: 95 % bootstrap intervals over images, of the errors by "
        "their farther end, of the difference over the images of both.",
        _whose_numbers(paper, sorted({*_splits(paper), *_splits(authors)})),
    ]
    return paragraph(" ".join(parts))


def _made(table: Table) -> str:
    """Say how the rows of a source were made."""
    source = table.source
    used = {run.rule for row in table.paper.rows for run in source.wanted_runs(row) if run.rule}
    names = " and ".join(f"`{name}`" for name in source.rules.values() if name in used)
    boxes = f", box rule{'s' * (len(used) > 1)} {names}" if names else ""
    return (
        f"{source.name}: split {' and '.join(_splits(table))}, view {source.view}{boxes}, "
        f"{_count(table)}"
    )


# --- what both say -------------------------------------------------------------------------------


def _has_notes(table: Table) -> bool:
    return any(row.note for row in table.paper.rows)


def _is_empty(table: Table) -> bool:
    return not any(line.run for line in table.lines)


def _count(table: Table) -> str:
    return counted(line.n for line in table.lines if line.run)


def _splits(table: Table) -> list[str]:
    """List the splits of the runs in a table; where it has none, the last that it would take."""
    splits = sorted({line.run.split for line in table.lines if line.run})
    return splits or [table.paper.splits[-1]]


def _csv_head(table: Table, name: str) -> str:
    """Name a column of the paper's numbers, with their split where ours are not of ILSVRC."""
    return name if table.is_ilsvrc else f"{name} (ILSVRC {table.paper.paper_split})"


def _markdown_head(table: Table, name: str) -> str:
    return name if table.is_ilsvrc else f"{name}: ILSVRC"


def _whose_numbers(table: Table, splits: list[str]) -> str:
    """Say what the paper's numbers are of, and whether ours compare with them."""
    of = f"ILSVRC {table.paper.paper_split}"
    if not table.is_ilsvrc:
        return f"The paper's numbers are of another data set, {of}: not comparable with ours."
    hidden = ", whose labels are not public" if splits != [table.paper.paper_split] else ""
    return f"The paper's numbers are of {of}{hidden}."
