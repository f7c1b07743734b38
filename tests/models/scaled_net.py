"""A network whose maps and scores can be worked out by hand, and its numbers."""

import torch
from torch import nn

from cam_repro.models.base import PooledNetwork


class Scaled(PooledNetwork):
    """A = ReLU of a 1x1 convolution (the identity at first), batch norm if wanted, linear head."""

    minimum_input = 1
    class_layer_name = "fc"

    def __init__(self, w_CK, norm="none", dropout=0.0, pool="avg"):
        super().__init__(len(w_CK), 1.0, norm, dropout, pool)
        self.conv = nn.Conv2d(3, 3, 1, bias=False)
        self.norm = nn.BatchNorm2d(3) if norm == "batch" else nn.Identity()
        self.fc = nn.Linear(3, len(w_CK), bias=False)
        with torch.no_grad():
            self.conv.weight.copy_(torch.eye(3)[:, :, None, None])
            self.fc.weight.copy_(torch.tensor(w_CK))

    def _extract(self, x_NCHW):
        return self.norm(self.conv(x_NCHW)).relu()


W_CK = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
"""Class 0 is the first map, class 1 the second."""


def image():
    """4 in one corner of the first map, 2 in another of the second: scores 1 and 0.5."""
    x_NCHW = torch.zeros(1, 3, 2, 2)
    x_NCHW[0, 0, 0, 0] = 4
    x_NCHW[0, 1, 0, 1] = 2
    return x_NCHW
