"""AlexNet, AlexNet-GAP and AlexNet*-GAP (paper, section 3.1), with torchvision's AlexNet's filters.

Torchvision's is the single-column net (64, 192, 384, 256, 256 filters, no groups, no local
response normalisation), not Caffe's; its weights are those that people can get.
"""

from __future__ import annotations

import torch
from torch import nn

from cam_repro.models.base import FullyConnectedNetwork, PooledNetwork
from cam_repro.models.layers import (
    ConvBlock,
    activation,
    check_count,
    check_groups,
    scale_channels,
)

CONV5 = 256


def _features(width: float, norm: str, conv5: int) -> nn.Sequential:
    """conv1 to conv5's ReLU, numbered as torchvision's: 224 and 227 pixels become 13x13."""
    c1, c2, c3, c4, c5 = (scale_channels(c, width) for c in (64, 192, 384, 256, conv5))
    return nn.Sequential(
        nn.Conv2d(3, c1, 11, stride=4, padding=2),
        activation(c1, norm),
        nn.MaxPool2d(3, stride=2),
        nn.Conv2d(c1, c2, 5, padding=2),
        activation(c2, norm),
        nn.MaxPool2d(3, stride=2),
        nn.Conv2d(c2, c3, 3, padding=1),
        activation(c3, norm),
        nn.Conv2d(c3, c4, 3, padding=1),
        activation(c4, norm),
        nn.Conv2d(c4, c5, 3, padding=1),
        activation(c5, norm),
    )


class AlexNet(FullyConnectedNetwork):
    """Krizhevsky et al.'s network as torchvision has it, three fully connected layers: no CAM.

    A: conv5 after its ReLU, (N, 256, 13, 13) at 224 and 227 pixels; pool5 belongs to the head.
    """

    minimum_input = 63
    class_layer_name = "classifier.6"

    def __init__(
        self, *, num_classes: int, width: float = 1.0, norm: str = "none", dropout: float = 0.5
    ) -> None:
        super().__init__(num_classes, width, norm, dropout)
        conv5, hidden = scale_channels(CONV5, width), scale_channels(4096, width)
        self.features = _features(width, norm, CONV5)
        self.pool5 = nn.MaxPool2d(3, stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(6)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(conv5 * 6 * 6, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, num_classes),
        )
        self._initialise()

    @property
    def torchvision_name(self) -> str:
        """torchvision's ``alexnet``."""
        return "alexnet"


class AlexNetGap(PooledNetwork):
    """AlexNet cut after conv5's ReLU, 3x3 convolution of 1024 units, GAP, linear without bias.

    A: (N, 1024, 13, 13) at 224 and 227 pixels. The row has no dropout. groups: of the added
    convolution; the paper names none, the authors' released model has 2.
    """

    minimum_input = 31
    class_layer_name = "cam_fc"

    def __init__(
        self,
        *,
        num_classes: int,
        width: float = 1.0,
        norm: str = "none",
        dropout: float = 0.0,
        groups: int = 1,
    ) -> None:
        super().__init__(num_classes, width, norm, dropout)
        conv5, units = scale_channels(CONV5, width), scale_channels(1024, width)
        groups = check_groups(groups, (conv5, units))
        self.features = _features(width, norm, CONV5)
        self.cam_conv = ConvBlock(conv5, units, 3, groups=groups, norm=norm)
        self.cam_fc = nn.Linear(units, num_classes, bias=False)
        self._initialise()

    @property
    def torchvision_name(self) -> str:
        """torchvision's ``alexnet``."""
        return "alexnet"

    def _extract(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        A_NKhw: torch.Tensor = self.cam_conv(self.features(x_NCHW))
        return A_NKhw


class AlexNetStarGap(PooledNetwork):
    """AlexNet*-GAP: pool5 of stride 1, two 3x3 convolutions of 512 units, GAP, linear, no bias.

    A: (N, 512, 11, 11) at 224 and 227 pixels. conv5: its units before ``width``; 384 in the
    authors' net, so conv5 of a plain AlexNet (256) does not fit and is left at its initial values;
    256 takes it over. groups: of both added convolutions; 2 in the authors' released model.
    """

    minimum_input = 63
    class_layer_name = "cam_fc"

    def __init__(
        self,
        *,
        num_classes: int,
        width: float = 1.0,
        norm: str = "none",
        dropout: float = 0.5,
        groups: int = 1,
        conv5: int = 384,
    ) -> None:
        super().__init__(num_classes, width, norm, dropout)
        check_count("conv5", conv5)
        maps, units = scale_channels(conv5, width), scale_channels(512, width)
        groups = check_groups(groups, (maps, units))
        self.features = _features(width, norm, conv5)
        self.pool5 = nn.MaxPool2d(3, stride=1)
        self.cam_conv6 = ConvBlock(maps, units, 3, groups=groups, norm=norm)
        self.cam_conv7 = ConvBlock(units, units, 3, groups=groups, norm=norm)
        self.cam_fc = nn.Linear(units, num_classes, bias=False)
        self._initialise()

    @property
    def torchvision_name(self) -> str:
        """torchvision's ``alexnet``."""
        return "alexnet"

    def _extract(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        A_NKhw: torch.Tensor = self.cam_conv7(self.cam_conv6(self.pool5(self.features(x_NCHW))))
        return A_NKhw
