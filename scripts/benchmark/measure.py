"""How everything is timed.

What is to be compared takes turns in one process: A B C, A B C, .... A number is the median over
the rounds, a ratio that of two medians, and the spread is shown. The first turn of each is not
counted: it compiles, starts libraries and brings the files into the system's cache.
"""

from __future__ import annotations

import gc
import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch


@dataclass
class Variant:
    """One of several ways to do the same.

    work: does it once; returns the seconds that count where these are not all that it takes.
    images: how many that is. batch: how many at a time.
    """

    name: str
    work: Callable[[], float | None]
    images: int
    batch: int | None = None


@dataclass
class Timing:
    """Seconds of the turn that is not counted and of each round; the most memory of the GPU that
    was in use in any, bytes beside the weights (0 without a GPU)."""

    variant: Variant
    first: float = math.nan
    seconds: list[float] = field(default_factory=list)
    peak: int = 0

    @property
    def ms(self) -> float:
        """Milliseconds an image, median over the rounds."""
        return 1000 * statistics.median(self.seconds) / self.variant.images

    @property
    def spread(self) -> tuple[float, float]:
        """Milliseconds an image in the fastest and in the slowest round."""
        fastest, slowest = min(self.seconds), max(self.seconds)
        return 1000 * fastest / self.variant.images, 1000 * slowest / self.variant.images


def alternate(variants: Sequence[Variant], rounds: int, title: str) -> dict[str, Timing]:
    """Time the variants in turns; returns the timings by name."""
    timings = {variant.name: Timing(variant) for variant in variants}
    assert len(timings) == len(variants), "two variants of one name"
    gc.collect()
    gc.freeze()  # what is there by now is not looked through again in every turn
    for number in range(rounds + 1):
        for timing in timings.values():
            variant = timing.variant
            _progress(f"{title}: round {number} of {rounds}: {variant.name}")
            if number == 0:
                timing.first = _measure(variant.work)[0]
            else:
                _, counted, peak = _measure(variant.work)
                timing.seconds.append(counted)
                timing.peak = max(timing.peak, peak)
    gc.unfreeze()
    _progress("")
    return timings


def _measure(work: Callable[[], float | None]) -> tuple[float, float, int]:
    """Seconds that it took, those of them that count, and bytes of the GPU's memory."""
    gc.collect()  # what one leaves behind is not the next one's business
    on_gpu, before = torch.cuda.is_available(), 0
    if on_gpu:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    started = time.perf_counter()
    counted = work()
    if on_gpu:
        torch.cuda.synchronize()
    seconds = time.perf_counter() - started
    peak = torch.cuda.max_memory_allocated() - before if on_gpu else 0
    return seconds, seconds if counted is None else counted, peak


def _progress(text: str) -> None:
    """Says on a terminal what is going on, in one line that is written over."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
