"""The paper's tables as sheets: one reading alone, or both side by side."""

from __future__ import annotations

from cam_repro.tables.build import Line, Table
from cam_repro.tables.readings import TEXT
from cam_repro.tables.sheet import Footnotes, Sheet, counted, grid, paragraph, short

_SHORT = {"top1": "top-1", "top5": "top-5"}


def paper_sheet(table: Table) -> Sheet:
    """A table under one reading: ``table1.csv``, and ``table1_code.csv`` for the authors' code.

    CSV, percent with two decimals: the paper's own columns with our numbers, then per number the
    paper's, the difference (ours - paper, only where both are of ILSVRC) and the 95 % interval,
    then n and where from.
    """
    paper, reading = table.paper, table.reading
    columns = [_SHORT[column] for column in paper.columns]
    with_split = len(paper.splits) > 1
    header = [
        *paper.header,
        *(f"{_papers(table)} {column}" for column in columns),
        *(f"difference {column}" for column in columns),
        *(f"{column} 95% {end}" for column in columns for end in ("low", "high")),
        *("n", "data", "view"),
        *(["split"] if with_split else []),
        *("settings", "run"),
        *(["note"] if with_split else []),
    ]
    rows = []
    for line in table.lines:
        row, run, empty = line.row, line.run, [""] * len(columns)
        intervals = [end for number in line.numbers for end in (number.low, number.high)]
        rows.append(
            [
                row.name,
                *([row.supervision] if row.supervision else []),
                *([f"{number.error:.2f}" for number in line.numbers] or empty),
                *(f"{value:.2f}" for value in row.paper),
                *(_differences(table, line) or empty),
                *([f"{end:.2f}" for end in intervals] or 2 * empty),
                *([str(line.n), table.data, reading.view] if run else ["", "", ""]),
                *([run.split if run else ""] if with_split else []),
                " ".join(line.settings),
                run.name if run else "",
                *([row.note] if with_split else []),
            ]
        )
    stem = paper.stem if reading is TEXT else f"{paper.stem}_{reading.name}"
    return Sheet(stem, header, rows, _paper_text(table), is_empty=_is_empty(table))


def _paper_text(table: Table) -> str:
    names = [_SHORT[column] for column in table.paper.columns]
    paper = "paper" if table.is_ilsvrc else "paper: ILSVRC"
    with_split = len(table.paper.splits) > 1
    head = list(table.paper.header[: -len(names)])
    for name in names:
        head += [name, "95 %", paper, *(["diff"] if table.is_ilsvrc else [])]
    if with_split:
        head.append("split")
    notes = Footnotes()
    body = []
    for line in table.lines:
        name = line.row.name + notes.mark(line.settings)
        cells = [name, *([line.row.supervision] if line.row.supervision else [])]
        differences = _differences(table, line)
        for i, value in enumerate(line.row.paper):
            if line.numbers:
                number = line.numbers[i]
                cells += [f"{number.error:.2f}"[:5], f"{short(number.low)}-{short(number.high)}"]
            else:
                cells += ["", ""]
            cells.append(f"{value:.2f}")
            if table.is_ilsvrc:
                cells.append(differences[i] if differences else "")
        if with_split:
            cells.append(line.run.split if line.run else "")
        body.append(cells)
    left = len(table.paper.header) - len(names)
    return f"{_caption(table)}\n\n{grid(head, body, left)}\n{notes.text()}"


def _caption(table: Table) -> str:
    splits = _splits(table)
    parts = [
        f"**{table.paper.title} (%)**: data set {table.data}, split {' and '.join(splits)},",
        f"reading {table.reading.name} (view {table.reading.view}), {_count(table)};",
        "95 % bootstrap interval over images.",
        _whose_numbers(table, splits, difference="diff = ours - paper"),
        table.paper.caption.format(**table.reading.rules),
    ]
    return paragraph(" ".join(parts))


def readings_sheet(text: Table, code: Table) -> Sheet:
    """A table under both readings, one line a number: ``table1_readings.csv``.

    The difference is code - text in points, where both are of the same split. Citations, which
    no run can fill, are left out.
    """
    assert text.paper is code.paper
    compared = ["text", "code", "code - text"]
    header = [
        *(text.paper.header[0], "error", _papers(text), *compared),
        *("text n", "code n", "data", "text split", "code split"),
        *("text settings", "code settings", "text run", "code run"),
    ]
    notes = Footnotes()
    rows, body = [], []
    for ours in zip(text.lines, code.lines, strict=True):
        row = ours[0].row
        if not row.sources:
            continue
        mark = notes.mark(
            f"{reading}: {', '.join(line.settings)}"
            for reading, line in zip(compared, ours, strict=False)
            if line.settings
        )
        for i, column in enumerate(text.paper.columns):
            numbers = [f"{line.numbers[i].error:.2f}" if line.run else "" for line in ours]
            cells = [_SHORT[column], f"{row.paper[i]:.2f}", *numbers, _points(*ours, i)]
            rows.append(
                [
                    *(row.name, *cells),
                    *(str(line.n) if line.run else "" for line in ours),
                    text.data,
                    *(line.run.split if line.run else "" for line in ours),
                    *(" ".join(line.settings) for line in ours),
                    *(line.run.name if line.run else "" for line in ours),
                ]
            )
            body.append([row.name + mark, *cells])
    head = [*header[:2], "paper" if text.is_ilsvrc else "paper: ILSVRC", *compared]
    caption = [
        f"**{text.paper.title}, the paper's text and the authors' code (%)**:",
        f"data set {text.data};",
        *(f"{_made(table)};" for table in (text, code)),
        "code - text in points.",
        _whose_numbers(text, sorted({*_splits(text), *_splits(code)})),
    ]
    markdown = f"{paragraph(' '.join(caption))}\n\n{grid(head, body, left=2)}\n{notes.text()}"
    is_empty = _is_empty(text) and _is_empty(code)
    return Sheet(f"{text.paper.stem}_readings", header, rows, markdown, is_empty)


def _is_empty(table: Table) -> bool:
    return not any(line.run for line in table.lines)


def _points(text: Line, code: Line, i: int) -> str:
    """Code - text, both as printed; empty where one is missing or they are of different splits."""
    if text.run is None or code.run is None or text.run.split != code.run.split:
        return ""
    return f"{round(code.numbers[i].error, 2) - round(text.numbers[i].error, 2):+.2f}"


def _made(table: Table) -> str:
    """How the rows of a reading were made."""
    reading = table.reading
    boxes = {s.rule for row in table.paper.rows for s in reading.sources(row) if s.rule}
    names = " and ".join(f"`{name}`" for name in reading.rules.values() if name in boxes)
    boxed = f", boxes {names}" if names else ""
    return (
        f"{reading.name}: split {' and '.join(_splits(table))}, view {reading.view}{boxed}, "
        f"{_count(table)}"
    )


def _count(table: Table) -> str:
    return counted(line.n for line in table.lines if line.run)


def _splits(table: Table) -> list[str]:
    splits = sorted({line.run.split for line in table.lines if line.run})
    return splits or [table.paper.splits[-1]]


def _papers(table: Table) -> str:
    """Head of a CSV column with the paper's numbers."""
    return "paper" if table.is_ilsvrc else f"paper (ILSVRC {table.paper.paper_split})"


def _whose_numbers(table: Table, splits: list[str], difference: str = "") -> str:
    """What the paper's numbers are of, and whether ours compare with them."""
    paper = f"ILSVRC {table.paper.paper_split}"
    if not table.is_ilsvrc:
        return f"The paper's numbers are of another data set, {paper}: not comparable with ours."
    if splits == [table.paper.paper_split]:
        return f"Paper: {paper}{f'; {difference}' if difference else ''}."
    all_the_same = f"; {difference} all the same" if difference else ""
    return f"Paper: {paper}, whose labels are not public{all_the_same}."


def _differences(table: Table, line: Line) -> list[str]:
    """Ours - paper, both as printed; empty where there is nothing, or nothing to compare."""
    if not table.is_ilsvrc:
        return []
    return [
        f"{round(number.error, 2) - value:+.2f}"
        for number, value in zip(line.numbers, line.row.paper, strict=bool(line.numbers))
    ]
