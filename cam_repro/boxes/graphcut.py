"""Find Simonyan's box: the map seeds a colour segmentation, whose largest piece is boxed.

Simonyan, Vedaldi, Zisserman, "Deep Inside Convolutional Networks" (arXiv 1312.6034), section 3.2. A
map may be high only on the most telling part of an object. Segmenting the image by colour, from
there, finds the rest of the object.
"""

from __future__ import annotations

from typing import ClassVar

import cv2
import numpy as np

from cam_repro.boxes.base import BoxRule, RankedMaps
from cam_repro.boxes.threshold import largest_component_box
from cam_repro.errors import UserError
from cam_repro.geometry import scale_boxes, whole_image
from cam_repro.types import MAX_GUESSES, Box, Guess

FOREGROUND_QUANTILE = 0.95
BACKGROUND_QUANTILE = 0.30
"""Pixels above the one quantile of the map are seeds of the object, those below the other seeds of
the background (section 3.2).
"""

COMPONENTS = 5
"""Gaussians in a colour model of OpenCV. Its array holds 13 numbers for each: first the weights of
all five, then their means (3 each), then their covariances (9 each).
"""

UNUSED = (0, 0, 0, 0)
"""The rectangle argument of grabCut, which it does not look at when it gets a mask."""

LOG_TINY = float(np.log(np.finfo(np.float64).tiny))
"""A likelihood with a smaller logarithm may become 0 in float64."""


def graph_cut(image_HW3: np.ndarray, map_HW: np.ndarray, iterations: int = 1) -> np.ndarray | None:
    """Find the pixels of the object, bool (H, W), by a graph cut that the map seeds.

    Seeds of the object lie above the map's 95 % quantile, seeds of the background below its 30 %
    quantile. Where so many pixels share the maximum (minimum) that none lies beyond the quantile,
    those at the maximum (minimum) are the seeds. A mixture of five Gaussians in RGB (fewer, where
    there are fewer seeds) is fitted to the seeds of each kind, and one minimum cut labels all other
    pixels; seeds keep their label. The smoothing is that of OpenCV's grabCut; the paper names none.
    A pixel whose colour is so far from both mixtures that OpenCV's likelihoods are 0 gets the label
    of the likelier mixture, without a cut. From the second iteration on, as in GrabCut, the
    mixtures are fitted anew to all pixels, by the labels of the cut before.

    image_HW3: uint8 RGB. map_HW: float. iterations: 1 or more; 1 is the paper.
    Returns None where the map is constant, or has NaN: there are no seeds then.
    Deterministic; sets the seed of the calling thread's OpenCV generator.
    """
    assert image_HW3.dtype == np.uint8
    assert image_HW3.shape == (*map_HW.shape, 3)
    low, high = float(map_HW.min()), float(map_HW.max())
    if not low < high:
        return None
    # This method takes values of the map itself. Others interpolate, and infinite values make NaN.
    background, foreground = np.quantile(
        map_HW, [BACKGROUND_QUANTILE, FOREGROUND_QUANTILE], method="inverted_cdf"
    )
    object_HW = map_HW > foreground if foreground < high else map_HW == high
    other_HW = map_HW < background if background > low else map_HW == low

    # The models are fitted first, to an image of one column that has the seeds alone: given the
    # whole image, OpenCV would fit them to the undecided pixels too.
    seeds_HW = object_HW | other_HW
    seed_labels = np.where(object_HW[seeds_HW], cv2.GC_FGD, cv2.GC_BGD).astype(np.uint8)
    models = np.zeros((1, 13 * COMPONENTS)), np.zeros((1, 13 * COMPONENTS))  # background first
    cv2.setRNGSeed(0)  # k-means draws its first centres
    cv2.grabCut(
        image_HW3[seeds_HW][:, None],
        seed_labels[:, None],
        UNUSED,
        *models,
        0,
        cv2.GC_INIT_WITH_MASK,
    )
    # Where both likelihoods are 0, OpenCV would subtract infinity from infinity. So such pixels
    # get a final label here, and only the others are left to the cut.
    colours_3M = np.ascontiguousarray(image_HW3[~seeds_HW].T, np.float64)
    log_other_M, log_object_M = (_log_likelihood(model, colours_3M) for model in models)
    labels_HW = np.where(object_HW, cv2.GC_FGD, cv2.GC_BGD).astype(np.uint8)
    labels_HW[~seeds_HW] = np.where(
        np.maximum(log_other_M, log_object_M) > LOG_TINY,
        cv2.GC_PR_BGD,
        np.where(log_object_M > log_other_M, cv2.GC_FGD, cv2.GC_BGD),
    )
    cv2.grabCut(image_HW3, labels_HW, UNUSED, *models, 1, cv2.GC_EVAL_FREEZE_MODEL)
    if iterations > 1:
        cv2.grabCut(image_HW3, labels_HW, UNUSED, *models, iterations - 1, cv2.GC_EVAL)
    return (labels_HW == cv2.GC_FGD) | (labels_HW == cv2.GC_PR_FGD)


def _log_likelihood(model: np.ndarray, colours_3M: np.ndarray) -> np.ndarray:
    """Compute the log of each colour's weighted density under its best Gaussian, (M,)."""
    weights, means, covariances = np.split(model.ravel(), [COMPONENTS, 4 * COMPONENTS])
    best_M = np.full(colours_3M.shape[1], -np.inf)
    for weight, mean_3, covariance_33 in zip(
        weights,
        means.reshape(COMPONENTS, 3),
        covariances.reshape(COMPONENTS, 3, 3),
        strict=True,
    ):
        if weight > 0:
            centred_3M = colours_3M - mean_3[:, None]
            squares_M = np.sum(np.linalg.inv(covariance_33) @ centred_3M * centred_3M, axis=0)
            log_density_M = np.log(weight) - 0.5 * (np.linalg.slogdet(covariance_33)[1] + squares_M)
            best_M = np.maximum(best_M, log_density_M)
    return best_M


class GraphCut(BoxRule):
    """Box the largest connected piece of the object, for each of the five best classes.

    iterations: cuts. The first uses colours of the seeds alone (the paper), later ones colours
    fitted anew. max_side: pixels; an image with a longer side is shrunk to it for the cut, and the
    box is scaled back. None: the image is never shrunk.
    """

    needs_image: ClassVar[bool] = True

    def __init__(self, iterations: int = 1, max_side: int | None = 256) -> None:
        for name, value in (
            ("iterations", iterations),
            ("max_side", max_side),
        ):
            if value is None and name == "max_side":
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                remedy = ", or null" if name == "max_side" else ""
                raise UserError(f"{name}={value}: must be an integer of at least 1{remedy}")
        self.iterations = iterations
        self.max_side = max_side

    def __call__(self, maps: RankedMaps) -> list[Guess]:
        assert maps.image_HW3 is not None, "needs_image is set: the image comes with the maps"
        assert maps.image_HW3.shape == (maps.height, maps.width, 3)
        size = self._cut_size(maps.width, maps.height)
        image_HW3 = _shrunk(maps.image_HW3, size)
        return [
            (maps.classes[rank], self._box_once(maps, rank, image_HW3))
            for rank in range(min(len(maps), MAX_GUESSES))
        ]

    def _box_once(self, maps: RankedMaps, rank: int, image_HW3: np.ndarray) -> Box:
        key = ("graphcut", self.iterations, self.max_side)
        return maps.once(rank, key, lambda: self._box(maps, rank, image_HW3))

    def _cut_size(self, width: int, height: int) -> tuple[int, int]:
        """Give the (width, height) at which the image is cut."""
        longer = max(width, height)
        if self.max_side is None or longer <= self.max_side:
            return width, height
        share = self.max_side / longer
        return max(1, round(width * share)), max(1, round(height * share))

    def _box(self, maps: RankedMaps, rank: int, image_HW3: np.ndarray) -> Box:
        map_HW = maps.at_image_size(rank)
        whole = whole_image(maps.width, maps.height)
        peak = float(map_HW.max())
        if not (np.isfinite(peak) and peak > 0):
            return whole
        height, width, _ = image_HW3.shape
        object_HW = graph_cut(image_HW3, _shrunk(map_HW, (width, height)), self.iterations)
        if object_HW is None:
            return whole
        box = largest_component_box(object_HW.astype(np.float32), 0.5)
        scaled_14 = scale_boxes(np.array([box]), (width, height), (maps.width, maps.height))
        x0, y0, x1, y1 = scaled_14[0].tolist()
        return x0, y0, x1, y1


def _shrunk(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Shrink an image or a map by averaging to ``size``, (width, height), if it has another."""
    if pixels.shape[1::-1] == size:
        return pixels
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))
