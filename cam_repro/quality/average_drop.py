"""Show the network what its map leaves of an image (Chattopadhyay et al., WACV 2018)."""

from __future__ import annotations

import numpy as np

from cam_repro.models.base import CamNetwork
from cam_repro.quality.changed import ChangedImages


class AverageDrop(ChangedImages):
    """Ask for the probability of the best class for the image, and for the image times its map.

    The map is set to 0 where it is negative and divided by its maximum, so that it is a share of
    each pixel; of a map with nothing over 0 no pixel is left.

    images, baseline: as for ``ChangedImages``; the source multiplies, so what is not kept is black.
    """

    def __init__(self, baseline: str = "black", images: int | None = 1000) -> None:
        super().__init__(images, baseline)

    def labels(self, network: CamNetwork) -> list[str]:
        """Name the two answers."""
        return ["image", "image times map"]

    def kept(self, map_HW: np.ndarray) -> np.ndarray:
        """Keep all of each pixel, then as much of it as the map says."""
        positive_HW = np.maximum(map_HW, 0)
        highest = positive_HW.max()
        return np.stack([np.ones_like(map_HW), positive_HW / highest if highest else positive_HW])
