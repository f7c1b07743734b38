"""VGG-16 and VGGnet-GAP (paper, section 3.1), named as torchvision's vgg16 and vgg16_bn."""

from __future__ import annotations

import torch
from torch import nn

from cam_repro.models.base import FullyConnectedNetwork, PooledNetwork
from cam_repro.models.layers import ConvBlock, check_groups, scale_channels

STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


def _features(width: float, norm: str) -> nn.Sequential:
    """conv1_1 to conv5_3's ReLU, a pool between stages: 224 pixels become 14x14."""
    layers: list[nn.Module] = []
    channels = 3
    for stage in STAGES:
        if layers:
            layers.append(nn.MaxPool2d(2))
        for units in stage:
            in_channels, channels = channels, scale_channels(units, width)
            layers.append(nn.Conv2d(in_channels, channels, 3, padding=1))
            if norm == "batch":
                layers.append(nn.BatchNorm2d(channels))
            layers.append(nn.ReLU())
    return nn.Sequential(*layers)


def _torchvision_name(norm: str) -> str:
    return "vgg16_bn" if norm == "batch" else "vgg16"


class Vgg(FullyConnectedNetwork):
    """Simonyan and Zisserman's VGG-16, unmodified: three fully connected layers, no CAM.

    A: conv5_3 after its ReLU, (N, 512, 14, 14) at 224 pixels; pool5 belongs to the head.
    """

    minimum_input = 32
    class_layer_name = "classifier.6"

    def __init__(
        self, *, num_classes: int, width: float = 1.0, norm: str = "none", dropout: float = 0.5
    ) -> None:
        super().__init__(num_classes, width, norm, dropout)
        maps, hidden = scale_channels(512, width), scale_channels(4096, width)
        self.features = _features(width, norm)
        self.pool5 = nn.MaxPool2d(2)
        self.avgpool = nn.AdaptiveAvgPool2d(7)
        self.classifier = nn.Sequential(
            nn.Linear(maps * 7 * 7, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, num_classes),
        )
        self._initialise()

    @property
    def torchvision_name(self) -> str:
        """torchvision's ``vgg16`` or ``vgg16_bn``."""
        return _torchvision_name(self.norm)


class VggGap(PooledNetwork):
    """VGG-16 cut after conv5_3's ReLU, 3x3 convolution of 1024 units, GAP, linear without bias.

    A: (N, 1024, 14, 14) at 224 pixels. groups: of the added convolution; the paper names none,
    the authors' released model has 2.
    """

    minimum_input = 16
    class_layer_name = "cam_fc"

    def __init__(
        self,
        *,
        num_classes: int,
        width: float = 1.0,
        norm: str = "none",
        dropout: float = 0.5,
        groups: int = 1,
    ) -> None:
        super().__init__(num_classes, width, norm, dropout)
        maps, units = scale_channels(512, width), scale_channels(1024, width)
        groups = check_groups(groups, (maps, units))
        self.features = _features(width, norm)
        self.cam_conv = ConvBlock(maps, units, 3, groups=groups, norm=norm)
        self.cam_fc = nn.Linear(units, num_classes, bias=False)
        self._initialise()

    @property
    def torchvision_name(self) -> str:
        """torchvision's ``vgg16`` or ``vgg16_bn``."""
        return _torchvision_name(self.norm)

    def _extract(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        A_NKhw: torch.Tensor = self.cam_conv(self.features(x_NCHW))
        return A_NKhw
