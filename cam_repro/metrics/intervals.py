"""Tell how far a measured error, or a difference of two, may be from that of other images."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np


@dataclass(frozen=True)
class Number:
    """Hold an error over ``n`` images and its 95 % interval, in percent."""

    error: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, wrong_N: np.ndarray) -> Number:
        """Measure the error of images: bool or 0/1, one an image, at least one."""
        low, high = bootstrap_interval(wrong_N)
        return cls(100 * float(np.mean(wrong_N)), 100 * low, 100 * high, len(wrong_N))

    @classmethod
    def of_counts(cls, n_wrong: int, n: int) -> Number:
        """Measure the error where ``n_wrong`` of ``n`` images are wrong; at least one image."""
        low, high = _interval(n_wrong, n)
        return cls(100 * n_wrong / n, 100 * low, 100 * high, n)


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
    return _interval(int(np.count_nonzero(outcomes_N)), len(outcomes_N), level, resamples, seed)


@lru_cache(maxsize=4096)
def _interval(
    count: int, n: int, level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Compute the interval from the number of ones; kept, as small groups often have the same."""
    assert n > 0, "at least one image"
    assert 0 < level < 1
    means = np.random.default_rng(seed).binomial(n, count / n, resamples) / n
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


@lru_cache(maxsize=4096)
def interval_of_difference(
    more: int, less: int, n: int, level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Compute the percentile bootstrap interval of a mean difference of paired 0/1 outcomes.

    more, less: for how many of the ``n`` images the difference is +1 and -1; for the others it is
    0. When n images are drawn with replacement, these three counts follow a multinomial
    distribution. So they are drawn from it, which is exact, and needs no array of n x resamples.
    Returns (low, high), fractions in [-1, 1].
    """
    assert n > 0, "at least one image"
    assert more >= 0
    assert less >= 0
    assert more + less <= n
    shares = [more / n, less / n, (n - more - less) / n]
    counts_X3 = np.random.default_rng(seed).multinomial(n, shares, resamples)
    means = (counts_X3[:, 0] - counts_X3[:, 1]) / n
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
