"""A network whose weights are set by hand, and images for it: scores and maps are literal."""

import numpy as np
import torch
from torch import nn

from cam_repro.models.base import PooledNetwork

RED, GREEN, BLUE = 0, 1, 2


class ColourNet(PooledNetwork):
    """Score of class c: 16 x the mean of colour c. A: the colours, averaged over 8x8 pixels."""

    minimum_input = 8
    class_layer_name = "fc"

    def __init__(self):
        super().__init__(3, 1.0, "none", 0.0)
        self.cells = nn.AvgPool2d(8)
        self.fc = nn.Linear(3, 3, bias=False)
        with torch.no_grad():
            self.fc.weight.copy_(16 * torch.eye(3))
            self.pixel_mean.zero_()
            self.pixel_std.fill_(1)

    def _extract(self, x_NCHW):
        return self.cells(x_NCHW)


def blocks(height, width, *rectangles):
    """A black image with rectangles (colour, x0, y0, x1, y1), inclusive, of full intensity."""
    pixels = np.zeros((height, width, 3), np.uint8)
    for colour, x0, y0, x1, y1 in rectangles:
        pixels[y0 : y1 + 1, x0 : x1 + 1, colour] = 255
    return pixels
