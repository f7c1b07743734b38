"""Read ``log.csv``, which a training run writes: losses and errors, a line for each validation."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cam_repro.errors import UserError
from cam_repro.runs.manifest import check_unchanged

LOG = "log.csv"

COLUMNS = ("train_loss", "val_loss", "train_top1_error", "val_top1_error", "val_top5_error")
"""The columns that are drawn over ``epoch``; errors in percent."""

TERM = "train_loss_"
"""How the names of columns begin that hold a term of the training loss, of losses that have any."""


@dataclass(frozen=True)
class TrainingLog:
    """Hold the losses and errors of a training run, one value for each validation.

    Those of the training are means since the validation before.

    columns: those of ``COLUMNS``; NaN where there is no number, as after a loss that diverged.
    terms: of the training loss, by name (``loss_am``), where it has any.
    """

    epochs: list[float]
    columns: dict[str, list[float]]
    terms: dict[str, list[float]] = field(default_factory=dict)

    @classmethod
    def of(cls, records: Iterable[Mapping[str, float]]) -> TrainingLog:
        """Take the columns out of records, one a line; raises KeyError where one lacks them."""
        lines = list(records)
        columns = {name: [line[name] for line in lines] for name in COLUMNS}
        terms = {
            name.removeprefix("train_"): [line[name] for line in lines]
            for name in (lines[0] if lines else ())
            if name.startswith(TERM)
        }
        return cls([line["epoch"] for line in lines], columns, terms)

    def last(self, column: str) -> float | None:
        """Give the last finite number of a column; None where there is none."""
        return last_finite(self.columns[column])


def last_finite(values: Iterable[float]) -> float | None:
    """Give the last finite number; None where there is none."""
    finite = [value for value in values if math.isfinite(value)]
    return finite[-1] if finite else None


def read_log(folder: Path | str) -> TrainingLog:
    """Read the log of a training run; raises UserError where it is missing, damaged or empty."""
    path = Path(folder) / LOG
    again = "train the network again with cam-train overwrite=true"
    check_unchanged(path, again)
    try:
        with path.open(newline="", encoding="utf-8") as file:
            log = TrainingLog.of(map(_numbers, csv.DictReader(file)))
        if not all(map(math.isfinite, log.epochs)):
            raise ValueError("an epoch has no number")
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise UserError(f"{path} cannot be read ({error}): {again}") from error
    if not log.epochs:
        raise UserError(f"{path} has no line: {again}")
    return log


def _numbers(line: Mapping[str, str]) -> dict[str, float]:
    """Read the cells of a line; an empty one, as pandas writes NaN, is NaN."""
    terms = [name for name in line if name and name.startswith(TERM)]
    return {
        name: math.nan if line[name] == "" else float(line[name])
        for name in ("epoch", *COLUMNS, *terms)
    }
