"""Time everything in the same way.

Variants that are compared take turns in one process: A B C, A B C, .... A time is the median over
the rounds, and a ratio is that of two medians; the fastest and the slowest round are shown too. The
first turn of each variant is not counted: it compiles, loads libraries and brings the files into
the system's cache.
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
    """Hold one of several ways to do the same work.

    work: does the work once; returns the seconds that count, or None if all its time counts.
    images: how many images this handles. batch: how many of them at a time.
    """

    name: str
    work: Callable[[], float | None]
    images: int
    batch: int | None = None


@dataclass
class Timing:
    """Hold the times of a variant.

    first: seconds of the turn that is not counted. seconds: those of each round. peak: the most GPU
    memory that a round used in addition to what was in use before it, bytes; 0 without a GPU.
    """

    variant: Variant
    first: float = math.nan
    seconds: list[float] = field(default_factory=list)
    peak: int = 0

    @property
    def ms(self) -> float:
        """Give the milliseconds for an image, median over the rounds."""
        return 1000 * statistics.median(self.seconds) / self.variant.images

    @property
    def spread(self) -> tuple[float, float]:
        """Give the milliseconds for an image in the fastest and in the slowest round."""
        fastest, slowest = min(self.seconds), max(self.seconds)
        return 1000 * fastest / self.variant.images, 1000 * slowest / self.variant.images


def alternate(variants: Sequence[Variant], rounds: int, title: str) -> dict[str, Timing]:
    """Time the variants in turns; return their timings by name."""
    timings = {variant.name: Timing(variant) for variant in variants}
    assert len(timings) == len(variants), "two variants of one name"
    gc.collect()
    gc.freeze()  # later collections skip the objects that exist by now
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
    """Do the work; return its seconds, those that count, and the GPU memory it used, bytes."""
    gc.collect()  # so that this variant need not collect the garbage of the one before
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
    """Show on a terminal what is being measured, in one line that is overwritten."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
