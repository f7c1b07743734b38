"""What the tests of Caffe's networks share."""

from __future__ import annotations

import math

import numpy as np

# network, variant
NETWORKS = [
    ("alexnet", "caffe"),
    ("alexnet", "bvlc_alexnet"),
    ("alexnet_gap", "caffe"),
    ("alexnet_star_gap", "caffe"),
    ("vgg", "caffe"),
    ("vgg_gap", "caffe"),
    ("googlenet", "caffe"),
    ("googlenet_gap", "caffe"),
    ("googlenet_gmp", "caffe"),
    ("nin", "caffe"),
]


def numbered_blobs(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    """Numbers that count up from 0.5, which float32 has exactly."""
    return [np.arange(math.prod(shape), dtype=np.float32).reshape(shape) + 0.5 for shape in shapes]
