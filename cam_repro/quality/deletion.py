"""Take the pixels of an image away by its map, most important first (Petsiuk et al., BMVC 2018)."""

from __future__ import annotations

import numpy as np

from cam_repro.quality.changed import ChangedInSteps, first_pixels


class Deletion(ChangedInSteps):
    """Ask for the probability of the best class when pixels are taken away, step by step.

    It begins with the image and ends with the baseline, in the source the mean colour. The sooner
    the probability falls, the better the map.

    steps, images, baseline: as for ``Insertion``.
    """

    def __init__(self, steps: int = 28, baseline: str = "mean", images: int | None = 1000) -> None:
        super().__init__(steps, baseline, images)

    def kept(self, map_HW: np.ndarray) -> np.ndarray:
        """Keep all at first, and none at last."""
        return ~first_pixels(map_HW, self.steps)
