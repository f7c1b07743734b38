"""Part the images of a run by what is in them, to see where a method fails.

Parts are made from the truth alone, so that the parts of two runs over the same images are the
same. An error of a part is that of its images: ``Number.of(wrong_N[part.rows_N])``.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from cam_repro.truth import Truth

SIZE_LIMITS = (0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
"""Where one part by size ends and the next begins: shares of the image's area."""

MOST_INSTANCES = 5
"""Images with so many true boxes, or more, are one part."""


@dataclass(frozen=True, eq=False)
class Part:
    """Hold some of the images: what they have in common, and their rows, int64."""

    name: str
    rows_N: np.ndarray

    def __len__(self) -> int:
        """Count its images."""
        return len(self.rows_N)


def largest_box_share(truth: Truth) -> np.ndarray:
    """Compute the share of each image's area that its largest true box covers, float64 (N,).

    Shares are in (0, 1]; 0 for an image without a true box. The sizes of all images must be known.
    """
    assert truth.sizes_N2 is not None, "the sizes of the images are known"
    x0_T, y0_T, x1_T, y1_T = truth.boxes.values_T4.T.astype(np.int64)
    area_N = np.zeros(len(truth), np.int64)
    np.maximum.at(area_N, truth.boxes.image_of_box(), (x1_T - x0_T + 1) * (y1_T - y0_T + 1))
    return area_N / np.prod(truth.sizes_N2, axis=1, dtype=np.int64)


def by_size(truth: Truth) -> list[Part]:
    """Part images by the share of their area that the largest true box covers.

    A share that is a limit belongs to the part above it. Images without a true box are in no part.
    """
    share_N = largest_box_share(truth)
    bin_N = np.searchsorted(SIZE_LIMITS, share_N, side="right")
    bin_N[share_N == 0] = -1
    ends = [0, *(round(100 * limit) for limit in SIZE_LIMITS), 100]
    return [
        Part(f"{low}–{high} %", np.flatnonzero(bin_N == number))
        for number, (low, high) in enumerate(pairwise(ends))
    ]


def by_instances(truth: Truth) -> list[Part]:
    """Part images by the number of their true boxes: 1, 2 ... ``MOST_INSTANCES`` or more.

    Images without a true box are in no part.
    """
    counts_N = np.minimum(truth.boxes.counts_N, MOST_INSTANCES)
    names = [str(number) for number in range(1, MOST_INSTANCES)] + [f"{MOST_INSTANCES} or more"]
    return [
        Part(name, np.flatnonzero(counts_N == number)) for number, name in enumerate(names, start=1)
    ]


def by_class(truth: Truth) -> list[Part]:
    """Part images by their true class, in the order of the class indices.

    Images without a label are in no part. A class without an image is a part without rows.
    """
    assert truth.classes is not None, "the labels are class indices"
    order_N = np.argsort(truth.labels_N, kind="stable")
    limits = np.searchsorted(truth.labels_N[order_N], np.arange(len(truth.classes) + 1))
    return [
        Part(name, order_N[first:last])
        for name, first, last in zip(truth.classes.names, limits[:-1], limits[1:], strict=True)
    ]
