"""Change images by their maps: keep a part of each pixel, and put a baseline in place of the rest.

A baseline shows nothing that tells the class: ``black``; ``mean``, the colour that the network's
normalisation turns into 0; or ``blur``, the image itself smoothed by a Gaussian of 11 x 11 pixels
with sigma 5, as in the program of Petsiuk et al. (there the border is black, here it is mirrored).
"""

from __future__ import annotations

from abc import abstractmethod

import cv2
import numpy as np

from cam_repro.errors import one_of
from cam_repro.models.base import CamNetwork
from cam_repro.quality.base import ExplainedImages, Measure, whole_number
from cam_repro.resample import resize

BASELINES = ("black", "mean", "blur")
BLUR_SIDE, BLUR_SIGMA = 11, 5.0


class ChangedImages(Measure):
    """Ask for the probability of the best class when parts of the image are replaced.

    images: as for ``Measure``. baseline: what stands in place of what is not kept.
    """

    def __init__(self, images: int | None, baseline: str) -> None:
        super().__init__(images)
        one_of("baseline", baseline, BASELINES)
        self.baseline = baseline

    @abstractmethod
    def kept(self, map_HW: np.ndarray) -> np.ndarray:
        """Give how much of each pixel the K images keep, 0 to 1 or bool, (K, H, W).

        map_HW: the map at the size of the crop, float32.
        """

    def answers(self, batch: ExplainedImages) -> np.ndarray:
        """Give the probabilities for each image of a batch, float32 (N, K)."""
        found = []
        for crop_HW3, class_index, map_hw in zip(
            batch.crops_NHW3, batch.classes_N.tolist(), batch.maps_Nhw, strict=True
        ):
            height, width = crop_HW3.shape[:2]
            kept_KHW = self.kept(resize(map_hw, width, height, "linear"))
            baseline_HW3 = baseline_of(crop_HW3, self.baseline, batch.network)
            images_KHW3 = mixed(crop_HW3, baseline_HW3, kept_KHW)
            found.append(batch.probabilities(images_KHW3, class_index))
        return np.stack(found)


class ChangedInSteps(ChangedImages):
    """Ask for the probability of the best class while more and more pixels are replaced.

    steps: in how many. images, baseline: as for ``ChangedImages``.
    """

    def __init__(self, steps: int, baseline: str, images: int | None) -> None:
        super().__init__(images, baseline)
        self.steps = whole_number("steps", steps, 1)

    def labels(self, network: CamNetwork) -> list[str]:
        """Name each answer by the share of the pixels that have changed hands."""
        return [f"{share:.4g}" for share in np.linspace(0, 1, self.steps + 1).tolist()]


def baseline_of(crop_HW3: np.ndarray, name: str, network: CamNetwork) -> np.ndarray:
    """Make the baseline of an image, uint8 (H, W, 3). name: one of ``BASELINES``."""
    if name == "blur":
        return cv2.GaussianBlur(crop_HW3, (BLUR_SIDE, BLUR_SIDE), BLUR_SIGMA)
    colour_3 = np.zeros(3, np.uint8)
    if name == "mean":
        mean_3 = network.pixel_mean.flatten().float().cpu().numpy()
        colour_3 = np.rint(255 * mean_3).clip(0, 255).astype(np.uint8)
    return np.broadcast_to(colour_3, crop_HW3.shape)


def mixed(crop_HW3: np.ndarray, baseline_HW3: np.ndarray, kept_KHW: np.ndarray) -> np.ndarray:
    """Mix an image with its baseline, uint8 (K, H, W, 3): where 1 is kept it is the image."""
    if kept_KHW.dtype == bool:
        return np.where(kept_KHW[..., None], crop_HW3, baseline_HW3)
    kept_KHW1 = kept_KHW[..., None].astype(np.float32)
    return np.rint(kept_KHW1 * crop_HW3 + (1 - kept_KHW1) * baseline_HW3).astype(np.uint8)


def first_pixels(map_HW: np.ndarray, steps: int) -> np.ndarray:
    """Mark the pixels of the highest values, more from step to step, bool (steps + 1, H, W).

    At step k they are the first k/steps of all pixels, rounded: none at first, all at last. Of
    equal values the first in reading order come first.
    """
    place_P = np.empty(map_HW.size, np.int64)
    place_P[np.argsort(-map_HW.ravel(), kind="stable")] = np.arange(map_HW.size)
    counts_K = np.rint(np.linspace(0, map_HW.size, steps + 1)).astype(np.int64)
    return place_P.reshape(map_HW.shape) < counts_K[:, None, None]
