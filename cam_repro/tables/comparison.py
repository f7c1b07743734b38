"""Make the table that compares runs with one of them, over the images that they share."""

from __future__ import annotations

from dataclasses import dataclass

from cam_repro.errors import UserError
from cam_repro.metrics.comparison import Paired, Pairs, compare, pair_images
from cam_repro.metrics.protocol import FIXED
from cam_repro.tables.build import Run
from cam_repro.tables.sheet import Sheet, grid, paragraph, reach, short

_HEADER = (
    *("error", "first run", "first box", "second run", "second box"),
    *("first", "first 95% low", "first 95% high", "second", "second 95% low", "second 95% high"),
    *("second - first", "difference 95% low", "difference 95% high", "p (McNemar exact)"),
    *("n", "wrong in both", "only in first", "only in second"),
    *("images of first alone", "images of second alone", "thresholds"),
)


@dataclass(frozen=True)
class _Line:
    """Hold one error of two runs. boxes: the box rule of each; empty for classification."""

    error: str
    runs: tuple[Run, Run]
    boxes: tuple[str, str]
    pairs: Pairs
    paired: Paired


def comparison_sheet(runs: list[Run], rules: tuple[str, str] | None = None) -> Sheet:
    """Make ``comparison.csv``: a line for each error of each run beside the first run's.

    rules: the box rule of the first run, and that of the others; None: each that both have. With
    ``rules`` a single run is compared with itself, one rule with the other.
    Raises UserError for runs that have no error, image or box rule in common.
    """
    first, *others = runs if len(runs) > 1 or rules is None else [*runs, *runs]
    if not others:
        raise UserError(
            f"{first.name} is the only run: name another one too, as in runs=[A,B], or two of its "
            f"box rules ({', '.join(first.table.rules)}), as in box=[A,B]"
        )
    lines = [_compared(first, other, rules) for other in others]
    rows = [_csv_row(line) for of_pair in lines for line in of_pair]
    return Sheet("comparison", list(_HEADER), rows, "\n".join(map(_text, lines)))


def _compared(first: Run, second: Run, rules: tuple[str, str] | None) -> list[_Line]:
    """Give each error that both runs have; raise UserError where there is none."""
    names = first.name, second.name
    pairs = pair_images(first.table, second.table, names)
    compared = _rule_pairs(first, second, rules)
    if first is not second:  # a run classifies as itself
        compared.insert(0, None)
    lines = [
        _Line(error, (first, second), boxes or ("", ""), pairs, paired)
        for boxes in compared
        for error, paired in compare(first.table, second.table, pairs, boxes).items()
    ]
    if not lines:
        raise UserError(
            f"{names[0]} and {names[1]} have no error in common: errors need labels, those of "
            "localization true boxes, and a box rule that both have (or two, as in box=[A,B])"
        )
    return lines


def _rule_pairs(
    first: Run, second: Run, rules: tuple[str, str] | None
) -> list[tuple[str, str] | None]:
    """List which box rule of the first run meets which of the second."""
    if rules is None:
        there = second.table.rules
        return [(rule, rule) for rule in first.table.rules if rule in there]
    for run, rule in zip((first, second), rules, strict=True):
        run.manifest.check_rule(rule, run.name)
    return [rules]


def _csv_row(line: _Line) -> list[str]:
    paired = line.paired
    numbers = [
        end
        for number in (paired.first, paired.second)
        for end in (number.error, number.low, number.high)
    ]
    counts = (paired.n, paired.both, paired.only_first, paired.only_second)
    return [
        *(line.error, line.runs[0].name, line.boxes[0], line.runs[1].name, line.boxes[1]),
        *(f"{value:.2f}" for value in (*numbers, paired.difference, *paired.interval)),
        f"{paired.p:.3g}",
        *map(str, (*counts, line.pairs.n_only_first, line.pairs.n_only_second)),
        FIXED,
    ]


def _text(lines: list[_Line]) -> str:
    """Write the lines of two runs as Markdown."""
    first, second = lines[0].runs
    pairs = lines[0].pairs
    names = [first.name, second.name]
    by_two_rules = lines[-1].boxes[0] != lines[-1].boxes[1]
    if by_two_rules:
        names = [f"{name}, box {box}" for name, box in zip(names, lines[-1].boxes, strict=True)]
    left_out = [
        f"{run.name} has {count} images that the other has not: they are left out."
        for run, count in ((first, pairs.n_only_first), (second, pairs.n_only_second))
        if count
    ]
    caption = [
        f"**Comparison**: first {names[0]}; second {names[1]}; over the {len(pairs.first_N)} "
        "images that both scored. Errors in %; diff: second - first, in points.",
        *left_out,
        "95 %: interval of the difference, by the bootstrap over images (10,000 resamples, "
        "seed 0); ±: the farther end of an error's own interval. p: McNemar's exact test, "
        "two-sided. Thresholds are fixed: IoU 0.5, and those of the settings.",
    ]
    head = ["error", *([] if by_two_rules else ["box"]), "first", "second", "diff", "95 %", "p"]
    body = [_cells(line, with_box=not by_two_rules) for line in lines]
    return f"{paragraph(' '.join(caption))}\n\n{grid(head, body, left=len(head) - 5)}\n"


def _cells(line: _Line, with_box: bool) -> list[str]:
    """Write a line of the terminal's table."""
    low, high = line.paired.interval
    errors = (line.paired.first, line.paired.second)
    return [
        line.error,
        *([line.boxes[0]] if with_box else []),
        *(f"{short(each.error)} ±{reach(each)}" for each in errors),
        f"{line.paired.difference:+.1f}",
        f"{low:+.1f} to {high:+.1f}",
        line.paired.p_text,
    ]
