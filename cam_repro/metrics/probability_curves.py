"""Score the probability of the best class while pixels are put back or taken away.

Both are of Petsiuk et al., BMVC 2018 (arXiv 1806.07421, section 4.1). The number is the area under
the curve of each image, by the trapezoidal rule over the share of changed pixels, and its mean over
images. No true box is used.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from cam_repro.metrics.intervals import Mean
from cam_repro.metrics.protocol import Needs, ProbabilityCurve, Protocol, Scored
from cam_repro.runs.answers import Answers
from cam_repro.truth import Truth


def areas(probabilities_NK: np.ndarray) -> np.ndarray:
    """Compute the area under each curve over [0, 1], whose K points are evenly spread, (N,)."""
    ends_N = (probabilities_NK[:, 0] + probabilities_NK[:, -1]) / 2
    sums_N: np.ndarray = ends_N + probabilities_NK[:, 1:-1].sum(axis=1)
    return sums_N / (probabilities_NK.shape[1] - 1)


class _ProbabilityArea(Protocol):
    """Score the area under the probability of the class that is guessed first.

    changed: what is done to the pixels. better: which areas speak for a map.
    """

    needs: ClassVar[Needs] = Needs.ANSWERS
    draws: ClassVar[bool] = True
    changed: ClassVar[str]
    better: ClassVar[str]

    def score(self, truth: Truth, given: Answers) -> Scored:
        """Score the answers of a run's network."""
        percent_NK = 100 * given.answers_NK.astype(np.float64)
        area = Mean.of(areas(percent_NK))
        points = Mean.of_each(percent_NK)
        curve = ProbabilityCurve(
            shares_K=np.linspace(0, 1, len(points)),
            mean_K=np.array([point.value for point in points]),
            low_K=np.array([point.low for point in points]),
            high_K=np.array([point.high for point in points]),
            changed=self.changed,
            area=area.value,
            n_images=len(given.ids),
        )
        numbers = {
            "n_images": len(truth),
            "n_asked": len(given.ids),
            self.name: area.value,
            f"{self.name}_95": area.ends,
            "curve": {"pixels": curve.shares_K.tolist(), "probability": curve.mean_K.tolist()},
        }
        lines = [
            f"mean probability of the class guessed first, %, while pixels are {self.changed}",
            f"area under the curve {area.value:8.2f}   95 %: {area.low:.2f} to {area.high:.2f}   "
            f"({self.better} is better)",
            f"from {curve.mean_K[0]:.2f} to {curve.mean_K[-1]:.2f} in {len(points) - 1} steps; "
            f"{len(given.ids)} of {len(truth)} images",
        ]
        return Scored(numbers, lines, thresholds_are={}, curves=curve)


class Insertion(_ProbabilityArea):
    """Score how soon the probability rises when the most important pixels are put back first."""

    name: ClassVar[str] = "insertion"
    changed: ClassVar[str] = "put back"
    better: ClassVar[str] = "more"


class Deletion(_ProbabilityArea):
    """Score how soon the probability falls when the most important pixels are taken away first."""

    name: ClassVar[str] = "deletion"
    changed: ClassVar[str] = "taken away"
    better: ClassVar[str] = "less"
