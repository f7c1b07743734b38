"""Learn a concept from images that show it and images that do not, with hard negatives.

The paper, section 4.2: a linear SVM is trained on the positive images and a sample of the negative
ones. It scores the other negatives; those that it takes for the concept, the hard negatives, are
added, and it is trained again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from cam_repro.generic.svm import LinearSvm, train_svm
from cam_repro.metrics.intervals import bootstrap_interval

CONCEPT = 1
"""The class of the concept in an SVM that is trained here; the other class is 0."""

_ROWS = 4096
"""How many images are scored at a time."""


@dataclass(frozen=True)
class Mining:
    """Say how hard negatives are looked for.

    sample: how many negatives the first SVM is trained on. rounds: how many times hard negatives
    are added, at most. C: of the SVM. seed: of the sample, and of the SVM.
    """

    sample: int
    rounds: int
    C: float = 1.0
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Mined:
    """Hold an SVM: on how many negatives it was trained, and which others it takes for the concept.

    hard: rows of these.
    """

    svm: LinearSvm
    n_negatives: int
    hard: np.ndarray


def mine(positives_PK: np.ndarray, negatives_NK: np.ndarray, mining: Mining) -> list[Mined]:
    """Train an SVM for each round, the first on a sample of the negatives.

    To each following one the hard negatives of the one before are added. It ends after
    ``mining.rounds`` times, or sooner where no hard negatives are left; the last SVM is the result.
    """
    n_all = len(negatives_NK)
    taken = np.random.default_rng(mining.seed).permutation(n_all)[: mining.sample]
    found: list[Mined] = []
    while True:
        taken.sort()
        features = np.concatenate([negatives_NK[taken], positives_PK])
        labels = np.repeat([1 - CONCEPT, CONCEPT], [len(taken), len(positives_PK)])
        svm = train_svm(features, labels, 2, mining.C, mining.seed)
        others = np.setdiff1d(np.arange(n_all), taken, assume_unique=True)
        hard = others[concept_scores(svm, negatives_NK)[others] > 0]
        found.append(Mined(svm, len(taken), hard))
        if not len(hard) or len(found) > mining.rounds:
            return found
        taken = np.concatenate([taken, hard])


def concept_scores(svm: LinearSvm, features_NK: np.ndarray) -> np.ndarray:
    """Score images, float64 (N,): above 0 an image is taken for the concept."""
    parts = range(0, len(features_NK), _ROWS)
    return np.concatenate([svm.scores(features_NK[at : at + _ROWS])[:, CONCEPT] for at in parts])


@dataclass(frozen=True)
class Share:
    """Hold the share of ``n`` images of which something is true, and its 95 % interval, percent."""

    percent: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, is_N: np.ndarray) -> Share:
        """Measure it; bool, one an image, at least one."""
        count, n = int(np.count_nonzero(is_N)), len(is_N)
        low, high = bootstrap_interval(count, n)
        return cls(100 * count / n, 100 * low, 100 * high, n)

    def __str__(self) -> str:
        return f"{self.percent:.2f} % ({self.low:.2f} to {self.high:.2f})"


@dataclass(frozen=True)
class Detection:
    """Say how well scores tell the images of a concept from others.

    precision, recall: where an image is taken for the concept if its score is above 0; precision is
    None where no image is. average_precision: over all scores, percent.
    """

    precision: Share | None
    recall: Share
    average_precision: float

    @classmethod
    def of(cls, positives_P: np.ndarray, negatives_N: np.ndarray) -> Detection:
        """Measure it by the scores of positive and of negative images, at least one of each."""
        from sklearn.metrics import average_precision_score  # slow to import

        scores = np.concatenate([positives_P, negatives_N])
        is_concept = np.repeat([True, False], [len(positives_P), len(negatives_N)])
        is_taken = scores > 0
        return cls(
            precision=Share.of(is_concept[is_taken]) if is_taken.any() else None,
            recall=Share.of(is_taken[is_concept]),
            average_precision=100 * float(average_precision_score(is_concept, scores)),
        )

    def as_json(self) -> dict[str, Any]:
        """Give the numbers as JSON has them, each with its 95 % interval where there is one."""
        found: dict[str, Any] = {}
        for key, share in (("precision", self.precision), ("recall", self.recall)):
            found[key] = None if share is None else share.percent
            found[f"{key}_95"] = None if share is None else [share.low, share.high]
        return {**found, "average_precision": self.average_precision}
