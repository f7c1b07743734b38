"""Rank the saliency methods that a network was scored with, and say what each of them costs."""

from __future__ import annotations

from collections import defaultdict

from cam_repro.metrics.protocol import FIXED
from cam_repro.tables.all_runs import (
    COLUMNS,
    ERRORS,
    ORACLE_NOTE,
    ScoredRule,
    ends,
    error,
    joined,
    reaches,
    scored_rules,
    with_ends,
)
from cam_repro.tables.build import Run
from cam_repro.tables.sheet import Footnotes, Sheet, counted, grid, paragraph

_HEADER = (
    *("network", "view", "split", "box", "maps", "settings", *ERRORS, "ms an image", "n", "data"),
    *("hardware", "precision", "run"),
    *(f"{name} 95% {end}" for name in ERRORS for end in ("low", "high")),
    "thresholds",
    *("GT-known oracle", "GT-known oracle 95% low", "GT-known oracle 95% high"),
)

_LOC = {name: COLUMNS[name] for name in ("loc", "GT")}
"""Columns of the terminal's table that depend on the method, and the errors in each."""


def methods_sheet(runs: list[Run]) -> Sheet | None:
    """Make ``methods.csv``: the methods of each network, by each box rule, the best first.

    Networks with other weights, views and splits are ranked apart; one with a single method is left
    out. The best has the lowest top-1 localization error. None where nothing can be ranked.
    """
    ranked_together = defaultdict(list)
    for line in (line for run in runs for line in scored_rules(run)):
        if "loc top-1" in line.errors:
            manifest = line.run.manifest
            weights = str(manifest.checkpoint)
            of = manifest.model, weights, manifest.view, manifest.split, line.rule
            ranked_together[of].append(line)
    tables = [
        sorted(lines, key=_rank)
        for _, lines in sorted(ranked_together.items())
        if len({line.run.manifest.saliency for line in lines}) > 1
    ]
    if not tables:
        return None
    rows = [_row(line) for table in tables for line in table]
    first_rules = [table for table in tables if table[0].rule == table[0].run.manifest.rules[0]]
    text = "\n".join(map(_text, first_rules or tables))
    return Sheet("methods", list(_HEADER), rows, text)


def _rank(line: ScoredRule) -> tuple[float, ...]:
    return tuple(line.errors[name].error for name in ("loc top-1", "loc top-5", "GT-known"))


def _ms(run: Run) -> str:
    """Write the milliseconds that an image took in the pass; nothing where the run does not say."""
    seconds, images = run.manifest.seconds, run.manifest.counts.images
    if seconds is None or not images:
        return ""
    ms = 1000 * seconds / images
    return f"{ms:.3g}" if ms < 1000 else f"{ms:.0f}"


def _row(line: ScoredRule) -> list[str]:
    run, hardware = line.run, line.run.manifest.hardware
    return [
        *(run.manifest.model, run.view, run.split, line.rule, run.manifest.saliency),
        " ".join(line.settings),
        *(f"{line.errors[name].error:.2f}" for name in ERRORS),
        *(_ms(run), str(len(run.table)), run.data),
        *((hardware.device, hardware.precision) if hardware else ("", "")),
        run.name,
        *(end for name in ERRORS for end in ends(line.errors[name])),
        FIXED,
        *with_ends(line.errors.get("GT-known oracle")),
    ]


def _text(table: list[ScoredRule]) -> str:
    """Write a table as Markdown, under each line how far its intervals reach."""
    run, notes, body = table[0].run, Footnotes(), []
    n = counted(len(line.run.table) for line in table)
    for line in table:
        cells = [line.run.manifest.saliency + notes.mark(line.settings)]
        cells += [joined(line.errors, names, error) for names in _LOC.values()]
        body.append([*cells, _ms(line.run)])
        body.append(["", *reaches(line.errors, _LOC.values()), ""])
    cls = sorted({joined(line.errors, COLUMNS["cls"], error) for line in table})
    caption = (
        f"**Saliency methods on {run.manifest.model}**: data set {run.data}, split {run.split}, "
        f"view {run.view}, box rule {table[0].rule}, {n}; "
        f"classification error, top-1/top-5, {' and '.join(cls)} %. By localization error (loc), "
        "top-1/top-5, the lowest top-1 first; GT: with the true class given. ±: the farther end of "
        "the 95 % bootstrap interval over images. ms: milliseconds an image of the whole pass, "
        "with reading and boxes. The CSV has the other box rules, and the hardware."
    )
    if any("GT-known oracle" in line.errors for line in table):
        caption += f" {ORACLE_NOTE}"
    head = ["maps", *_LOC, "ms"]
    return f"{paragraph(caption)}\n\n{grid(head, body, left=1)}\n{notes.text()}"
