"""Make maps by occlusion (Zeiler and Fergus, ECCV 2014, section 4.2)."""

from __future__ import annotations

import math

from torch import Tensor

from cam_repro.models.base import CamNetwork
from cam_repro.saliency.masking import MaskingSaliency, share, weighted_sum


class Occlusion(MaskingSaliency):
    """Compute how much the probability of a class falls when a square of the image is hidden.

    The square moves over the image in steps; what sticks out at the right and below is cut off. The
    value of a pixel is the mean fall over the squares that hide it. Negative where the class is
    likelier without. The paper names neither size nor step.

    square, step: side of the square, and how far it moves, as shares of the input's shorter side.
    at_a_time: copies in a batch.
    """

    def __init__(self, square: float = 0.2, step: float = 0.1, at_a_time: int = 32) -> None:
        super().__init__(at_a_time)
        self.square, self.step = share("square", square), share("step", step)

    def of_image(self, network: CamNetwork, x_CHW: Tensor, classes_R: Tensor) -> Tensor:
        """Compute maps_Rhw, as the class says."""
        height, width = x_CHW.shape[1:]
        side = max(1, round(self.square * min(height, width)))
        step = max(1, min(side, round(self.step * min(height, width))))  # no pixel left out
        places = [(y, x) for y in _starts(height, side, step) for x in _starts(width, side, step)]
        masks_BHW = x_CHW.new_ones((len(places), height, width))
        for mask_HW, (y, x) in zip(masks_BHW, places, strict=True):
            mask_HW[y : y + side, x : x + side] = 0
        whole_R = network(x_CHW[None]).float().softmax(1)[0, classes_R]
        hidden_BR = self.logits_of(network, x_CHW, masks_BHW).softmax(1)[:, classes_R]
        hides_BHW = 1 - masks_BHW.float()
        return weighted_sum(whole_R - hidden_BR, hides_BHW) / hides_BHW.sum(0)


def _starts(length: int, side: int, step: int) -> range:
    """List where squares begin along one axis, so that they cover it."""
    count = 1 + max(0, math.ceil((length - side) / step))
    return range(0, count * step, step)
