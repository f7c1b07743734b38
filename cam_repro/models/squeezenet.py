"""Build SqueezeNet 1.0 (Iandola et al., arXiv 1602.07360), named as torchvision's squeezenet1_0."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

from cam_repro.models.base import ClassMapNetwork
from cam_repro.models.layers import Dropout, activation, ceil_max_pool, scale_channels
from cam_repro.models.variants import Variant, by_name


class Fire(nn.Module):
    """Squeeze to few channels by a 1x1 convolution, then expand by a 1x1 and a 3x3 in parallel.

    The size stays.
    """

    def __init__(self, in_channels: int, squeeze: int, expand: int, norm: str) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(in_channels, squeeze, 1)
        self.squeeze_activation = activation(squeeze, norm)
        self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
        self.expand1x1_activation = activation(expand, norm)
        self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)
        self.expand3x3_activation = activation(expand, norm)

    def forward(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        """Turn (N,C,H,W) into (N,2*expand,H,W)."""
        x = self.squeeze_activation(self.squeeze(x_NCHW))
        one = self.expand1x1_activation(self.expand1x1(x))
        three = self.expand3x3_activation(self.expand3x3(x))
        return torch.cat([one, three], dim=1)


class SqueezeNet(ClassMapNetwork):
    """Build SqueezeNet 1.0: its last 1x1 convolution has one map a class, then ReLU and GAP.

    A: the class maps after their ReLU, (N, C, 13, 13) at 224 and 227 pixels. With ``norm=batch`` a
    batch norm follows every convolution except the last; the published network has none.
    """

    variants: ClassVar = by_name(Variant(torchvision_name="squeezenet1_0"))
    minimum_input = 21
    class_layer_name = "classifier.1"

    def __init__(
        self, *, num_classes: int, width: float = 1.0, norm: str = "none", dropout: float = 0.5
    ) -> None:
        super().__init__(num_classes, width, norm, dropout)
        channels = scale_channels(96, width)

        def fire(squeeze: int, expand: int) -> Fire:
            nonlocal channels
            squeeze, expand = scale_channels(squeeze, width), scale_channels(expand, width)
            module = Fire(channels, squeeze, expand, norm)
            channels = 2 * expand
            return module

        self.features = nn.Sequential(
            nn.Conv2d(3, channels, 7, stride=2),
            activation(channels, norm),
            ceil_max_pool(),
            fire(16, 64),
            fire(16, 64),
            fire(32, 128),
            ceil_max_pool(),
            fire(32, 128),
            fire(48, 192),
            fire(48, 192),
            fire(64, 256),
            ceil_max_pool(),
            fire(64, 256),
        )
        self.classifier = nn.Sequential(
            Dropout(dropout), nn.Conv2d(channels, num_classes, 1), nn.ReLU()
        )
        self._initialise()

    def _extract(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        A_NChw: torch.Tensor = self.classifier(self.features(x_NCHW))
        return A_NChw
