"""Tell how far a measured error may be from that of another sample of images."""

from __future__ import annotations

import numpy as np


def bootstrap_interval(
    outcomes_N: np.ndarray, level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Compute the percentile bootstrap interval of a mean of 0/1 outcomes over images (Efron 1979).

    The mean of N outcomes, drawn with replacement from N, follows Binomial(N, p) / N, where p is
    the mean of the outcomes. So means are drawn from that distribution: it is exact, and needs no
    array of N x resamples. Where all outcomes are equal, the interval is a single point, as with
    every bootstrap.

    outcomes_N: bool or 0/1, at least one. level: share of the means within the interval.
    Returns (low, high), fractions in [0, 1].
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
