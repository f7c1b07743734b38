"""How far a measured error may be from that of another sample of images."""

from __future__ import annotations

import numpy as np


def bootstrap_interval(
    outcomes_N: np.ndarray, level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of a mean of 0/1 outcomes over images (Efron 1979).

    Drawing N of N outcomes with replacement and taking the mean is a draw of Binomial(N, p) / N
    with p the mean of the outcomes: no approximation, and no N x resamples array. Where all
    outcomes are equal the interval is a point, as with every bootstrap.

    outcomes_N: bool or 0/1, at least one. Returns (low, high), fractions in [0, 1].
    """
    outcomes_N = np.asarray(outcomes_N)
    assert outcomes_N.ndim == 1, "one outcome an image"
    assert len(outcomes_N), "at least one image"
    assert np.isin(outcomes_N, (0, 1)).all(), "outcomes are 0 or 1"
    assert 0 < level < 1
    n = len(outcomes_N)
    means = np.random.default_rng(seed).binomial(n, outcomes_N.mean(), resamples) / n
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
