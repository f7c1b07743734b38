"""Read the localization errors of a run over all thresholds, where the run holds them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cam_repro.figures.style import ERRORS
from cam_repro.metrics.intervals import Number
from cam_repro.tables import Run

NAMES = {error: look.label for error, look in ERRORS.items()}
"""What the errors are called, in the order in which they are shown."""


@dataclass(frozen=True)
class ErrorCurves:
    """Hold localization errors over the threshold of ``box=threshold``.

    thresholds: shares of the map's maximum. numbers: by the error's name (``NAMES``) one for each
    threshold. own: the threshold of the run's boxes; None where it has no such rule.
    """

    thresholds: list[float]
    numbers: dict[str, list[Number]]
    own: float | None

    @property
    def lowest(self) -> dict[str, int]:
        """For each error, where it is lowest: the first of equal ones. An oracle's choice."""
        return {
            error: min(range(len(numbers)), key=lambda i: numbers[i].error)
            for error, numbers in self.numbers.items()
        }

    @property
    def at_own(self) -> int | None:
        """Where the threshold of the run is among ``thresholds``; None where it is not."""
        return self.thresholds.index(self.own) if self.own in self.thresholds else None


def read_curves(run: Run) -> ErrorCurves | None:
    """Read the errors at 0, 1 ... 99 % of the maximum; None where the run did not keep them.

    A pass keeps, with ``save_maps=true``, at which of these the box of the true class is right. A
    guess can only be right where its class is the true one, so this and the run's classes give the
    errors with one and with five guesses too. Blacklisted images are left out of these two.
    """
    right_at_N100 = run.table.right_at_N100
    if right_at_N100 is None or not (run.localizes and run.classifies):
        return None
    wrong_N100 = ~right_at_N100
    blacklisted_N = run.table.blacklisted_N
    kept_N = slice(None) if blacklisted_N is None else ~blacklisted_N
    wrong = {
        error: (wrong_N100 | wrong_N[:, None])[kept_N]
        for error, wrong_N in run.cls_outcomes.items()
    }
    wrong["gt_known"] = wrong_N100
    return ErrorCurves(
        thresholds=[percent / 100 for percent in range(wrong_N100.shape[1])],
        numbers={
            error: [
                Number.of_counts(count, len(wrong[error]))
                for count in np.count_nonzero(wrong[error], axis=0).tolist()
            ]
            for error in NAMES
        },
        own=run.manifest.threshold,
    )
