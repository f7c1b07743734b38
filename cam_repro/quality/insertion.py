"""Put the pixels of an image back by its map, most important first (Petsiuk et al., BMVC 2018)."""

from __future__ import annotations

import numpy as np

from cam_repro.quality.changed import ChangedInSteps, first_pixels


class Insertion(ChangedInSteps):
    """Ask for the probability of the best class when pixels are put back, step by step.

    It begins with the baseline, in the source a blurred image, and ends with the image. The sooner
    the probability rises, the better the map.

    steps: the authors' program takes 28, as it puts back 224 x 8 pixels of 224 x 224 at a time.
    images, baseline: as for ``ChangedImages``.
    """

    def __init__(self, steps: int = 28, baseline: str = "blur", images: int | None = 1000) -> None:
        super().__init__(steps, baseline, images)

    def kept(self, map_HW: np.ndarray) -> np.ndarray:
        """Keep none at first, and all at last."""
        return first_pixels(map_HW, self.steps)
