"""Make cues of maps: which pixels are evidence for which of an image's true classes.

Networks of weakly supervised segmentation start from such cues: SEC (Kolesnikov and Lampert, ECCV
2016), GAIN (Li et al., CVPR 2018). Both take what is above 20 % of a map's maximum.
"""

from __future__ import annotations

import numpy as np

from cam_repro.boxes.threshold import check_threshold
from cam_repro.errors import one_of
from cam_repro.truth import IGNORED

SMALLEST, HIGHEST = "smallest", "highest"


class CueRule:
    """Tell which pixels are cues of which class.

    threshold: a cue is where a map is above this share of its maximum, 0 <= threshold < 1.
    conflicts: which class gets a pixel where several are: ``smallest``, the one with fewest such
    pixels, the first of equal ones; ``highest``, the one whose share of its maximum is highest.
    """

    def __init__(self, threshold: float = 0.2, conflicts: str = SMALLEST) -> None:
        self.threshold = check_threshold("cues.threshold", threshold)
        one_of("cues.conflicts", conflicts, (SMALLEST, HIGHEST))
        self.conflicts = conflicts

    def __call__(self, values_R: np.ndarray, maps_RHW: np.ndarray) -> np.ndarray:
        """Give the cues of an image, uint8 (H, W): one of ``values_R``, or ``IGNORED``.

        values_R: class index + 1 of each map. A map that is nowhere over 0 makes no cue.
        """
        shares_RHW = np.stack([share_of_maximum(map_HW) for map_HW in maps_RHW])
        above_RHW = shares_RHW > self.threshold
        cues_HW = np.full(maps_RHW.shape[1:], IGNORED, np.uint8)
        if self.conflicts == HIGHEST:
            best_HW = values_R[shares_RHW.argmax(axis=0)]
            return np.where(above_RHW.any(axis=0), best_HW, cues_HW).astype(np.uint8)
        areas_R = above_RHW.sum(axis=(1, 2))
        for rank in np.argsort(areas_R, kind="stable")[::-1]:  # the smallest is painted last
            cues_HW[above_RHW[rank]] = values_R[rank]
        return cues_HW


def share_of_maximum(map_HW: np.ndarray) -> np.ndarray:
    """Divide a map by its maximum; give 0 everywhere where that is not over 0."""
    peak = map_HW.max()
    return map_HW / peak if peak > 0 else np.zeros_like(map_HW)
