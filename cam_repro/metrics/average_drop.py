"""Score how much probability is lost when the network sees only what its map shows.

Both numbers are of Chattopadhyay et al., Grad-CAM++, WACV 2018 (arXiv 1710.11063, section 4.1). No
true box is used.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from cam_repro.metrics.intervals import Mean, Number
from cam_repro.metrics.official import percent
from cam_repro.metrics.protocol import Needs, Protocol, Scored
from cam_repro.runs.answers import Answers
from cam_repro.truth import Truth


class AverageDrop(Protocol):
    """Score the mean of max(0, Y - O) / Y, and how often O > Y.

    Y is the probability of the class that is guessed first for the image, and O that for the image
    times its map.
    """

    name: ClassVar[str] = "average_drop"
    needs: ClassVar[Needs] = Needs.ANSWERS

    def score(self, truth: Truth, given: Answers) -> Scored:
        """Score the answers of a run's network."""
        whole_N, shown_N = given.answers_NK.astype(np.float64).T
        drop = Mean.of(100 * np.maximum(0, whole_N - shown_N) / whole_N)
        increased_N = shown_N > whole_N
        increase = Number.of(increased_N)
        numbers = {
            "n_images": len(truth),
            "n_asked": len(given.ids),
            "average_drop": drop.value,
            "average_drop_95": drop.ends,
            "increase": percent(increased_N),
            "increase_95": increase.ends,
        }
        lines = [
            f"average drop %           {drop.value:8.2f}   95 %: {drop.low:.2f} to {drop.high:.2f}"
            "   (less is better)",
            f"increase in confidence % {percent(increased_N):8.2f}   95 %: {increase.low:.2f} to "
            f"{increase.high:.2f}   (more is better)",
            f"of the class guessed first; {len(given.ids)} of {len(truth)} images",
        ]
        return Scored(numbers, lines, thresholds_are={})
