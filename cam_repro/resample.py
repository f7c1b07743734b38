"""Resizing maps. Pixel centres are aligned as for images: a map covers what its image covers.

``linear`` is bilinear. ``cubic`` is Keys' bicubic with a = -1/2, smoothed when it shrinks: what
MATLAB's imresize does unless told otherwise, and so the authors' code (at the borders of a map
MATLAB mirrors it, where here the weights that fall outside are left out).
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from PIL import Image

from cam_repro.errors import UserError

INTERPOLATIONS = ("linear", "cubic")

_PILLOW = {"linear": Image.Resampling.BILINEAR, "cubic": Image.Resampling.BICUBIC}


def check_interpolation(key: str, value: str) -> str:
    """``value`` if it is one of ``INTERPOLATIONS``, else a UserError naming ``key``."""
    if value not in INTERPOLATIONS:
        raise UserError(f"{key}={value}: choose one of {', '.join(INTERPOLATIONS)}")
    return value


def enlarge(maps_Xhw: np.ndarray, size: int, interpolation: str) -> np.ndarray:
    """Enlarge square or oblong maps, any number of leading axes, to float32 (..., size, size).

    The values of ``resize``, by two matrix products: quicker than one call a map where there are
    many small ones. (A map larger than ``size`` is smoothed here in either interpolation.)
    """
    h, w = maps_Xhw.shape[-2:]
    rows_Sh, columns_Sw = _weights(h, size, interpolation), _weights(w, size, interpolation)
    return rows_Sh @ maps_Xhw.astype(np.float32) @ columns_Sw.T


def resize(map_hw: np.ndarray, width: int, height: int, interpolation: str) -> np.ndarray:
    """Resize one map to float32 (height, width)."""
    map_hw = np.ascontiguousarray(map_hw, np.float32)
    if interpolation == "linear":
        return cv2.resize(map_hw, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(Image.fromarray(map_hw).resize((width, height), _PILLOW[interpolation]))


@lru_cache(maxsize=64)
def _weights(length: int, size: int, interpolation: str) -> np.ndarray:
    """How much of each of ``length`` values is in each of ``size`` values, (size, length)."""
    identity = Image.fromarray(np.eye(length, dtype=np.float32))
    weights = np.asarray(identity.resize((length, size), _PILLOW[interpolation]))
    weights.setflags(write=False)
    return weights
