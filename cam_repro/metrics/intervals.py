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
        wrong_N = np.asarray(wrong_N)
        assert wrong_N.ndim == 1, "one outcome an image"
        assert np.isin(wrong_N, (0, 1)).all(), "outcomes are 0 or 1"
        return cls.of_counts(int(np.count_nonzero(wrong_N)), len(wrong_N))

    @classmethod
    def of_counts(cls, n_wrong: int, n: int) -> Number:
        """Measure the error where ``n_wrong`` of ``n`` images are wrong; at least one image."""
        low, high = bootstrap_interval(n_wrong, n)
        return cls(100 * n_wrong / n, 100 * low, 100 * high, n)

    @classmethod
    def of_percent(cls, percent: float, n: int) -> Number:
        """Find what was measured on ``n`` images from its percentage, and with it the interval."""
        return cls.of_counts(round(percent * n / 100), n)

    @property
    def ends(self) -> list[float]:
        """Both ends of the interval, ``[low, high]``, as the JSON of results has them."""
        return [self.low, self.high]


@dataclass(frozen=True)
class Mean:
    """Hold the mean of a value over ``n`` images and its 95 % interval."""

    value: float
    low: float
    high: float
    n: int

    @classmethod
    def of(cls, values_N: np.ndarray) -> Mean:
        """Measure the mean of values, one an image, at least one."""
        return cls.of_each(np.asarray(values_N)[:, None])[0]

    @classmethod
    def of_each(cls, values_NK: np.ndarray) -> list[Mean]:
        """Measure the mean of each of K values over the same images; each has its own interval."""
        values_NK = np.asarray(values_NK, np.float64)
        ends_K2 = intervals_of_means(values_NK).tolist()
        means = values_NK.mean(axis=0).tolist()
        n = len(values_NK)
        return [cls(mean, low, high, n) for mean, (low, high) in zip(means, ends_K2, strict=True)]

    @property
    def ends(self) -> list[float]:
        """Both ends of the interval, ``[low, high]``, as the JSON of results has them."""
        return [self.low, self.high]


@lru_cache(maxsize=4096)
def bootstrap_interval(
    count: int, n: int, level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Compute the percentile bootstrap interval of a mean of 0/1 outcomes over images (Efron 1979).

    The mean of N outcomes, drawn with replacement from N, follows Binomial(N, p) / N, where p is
    the mean of the outcomes. So means are drawn from that distribution: it is exact, and needs no
    array of N x resamples. Where all outcomes are equal, the interval is a single point, as with
    every bootstrap. Intervals are kept, as small groups of images often have the same.

    count: how many of the ``n`` outcomes are 1. level: share of the means within the interval.
    Returns (low, high), fractions in [0, 1].
    """
    assert n > 0, "at least one image"
    assert 0 < level < 1
    means = np.random.default_rng(seed).binomial(n, count / n, resamples) / n
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def intervals_of_means(
    values_NK: np.ndarray, level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> np.ndarray:
    """Compute the percentile bootstrap interval of each of K means over images (Efron 1979).

    values_NK: float64. Returns (K, 2), low and high.
    """
    means_XK = resampled_means(values_NK, resamples, seed)
    ends_K2: np.ndarray = np.quantile(means_XK, [(1 - level) / 2, (1 + level) / 2], axis=0).T
    return ends_K2


def resampled_means(values_NK: np.ndarray, resamples: int = 10_000, seed: int = 0) -> np.ndarray:
    """Draw N images with replacement, X times, and give the K means over each draw, (X, K).

    The draws are the same for all K, some at a time to limit memory. A mean is then a product with
    how often each image was drawn; 50,000 images take ten seconds.

    values_NK: float64.
    """
    n = len(values_NK)
    assert n > 0, "at least one image"
    rng = np.random.default_rng(seed)
    means_XK = np.empty((resamples, values_NK.shape[1]))
    block = max(1, 2_000_000 // n)
    for start in range(0, resamples, block):
        count = min(block, resamples - start)
        drawn_XN = rng.integers(0, n, (count, n)) + n * np.arange(count)[:, None]
        times_XN = np.bincount(drawn_XN.ravel(), minlength=count * n).reshape(count, n)
        means_XK[start : start + count] = times_XN @ values_NK / n
    return means_XK


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
