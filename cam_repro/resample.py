"""Resize maps as images are resized, by pixel centres: a map covers the area of its image.

``linear`` is bilinear. ``cubic`` is Keys' bicubic with a = -1/2, which smooths when it shrinks a
map. It is the default of MATLAB's imresize, which the authors' code uses. One difference remains:
MATLAB mirrors a map at its border, while here the weights that fall outside are left out.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from PIL import Image

from cam_repro.errors import one_of

INTERPOLATIONS = ("linear", "cubic")

_PILLOW = {"linear": Image.Resampling.BILINEAR, "cubic": Image.Resampling.BICUBIC}


def check_interpolation(key: str, value: str) -> str:
    """Give ``value`` if it is in ``INTERPOLATIONS``; else raise a UserError that names ``key``."""
    one_of(key, value, INTERPOLATIONS)
    return value


def enlarge(maps_Xhw: np.ndarray, size: int, interpolation: str) -> np.ndarray:
    """Enlarge maps (..., h, w) to float32 (..., size, size).

    Gives the values that ``resize`` gives, but by two matrix products, which is faster for many
    small maps. A map larger than ``size`` is smoothed, while ``resize`` smooths only with
    ``cubic``.
    """
    h, w = maps_Xhw.shape[-2:]
    rows_Sh, columns_Sw = _weights(h, size, interpolation), _weights(w, size, interpolation)
    return rows_Sh @ maps_Xhw.astype(np.float32) @ columns_Sw.T


def resize(map_hw: np.ndarray, width: int, height: int, interpolation: str) -> np.ndarray:
    """Resize one map (h, w) to float32 (height, width)."""
    map_hw = np.ascontiguousarray(map_hw, np.float32)
    if interpolation == "linear":
        return cv2.resize(map_hw, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(Image.fromarray(map_hw).resize((width, height), _PILLOW[interpolation]))


@lru_cache(maxsize=64)
def _weights(length: int, size: int, interpolation: str) -> np.ndarray:
    """Give the matrix (size, length) that resizes ``length`` values to ``size`` values."""
    identity = Image.fromarray(np.eye(length, dtype=np.float32))
    weights = np.asarray(identity.resize((length, size), _PILLOW[interpolation]))
    weights.setflags(write=False)
    return weights
