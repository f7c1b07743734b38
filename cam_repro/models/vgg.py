"""VGG-16 and VGGnet-GAP (paper, section 3.1), named as torchvision's vgg16 and vgg16_bn.

Caffe's VGG-16 is the same network, but that its pools round sizes up, which is seen where the input
is no multiple of 32 pixels.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

from cam_repro.models.base import CamNetwork, FullyConnectedNetwork, PooledNetwork
from cam_repro.models.layers import TORCHVISION, Dropout, scale_channels

STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class _Vgg(CamNetwork):
    """What both networks share."""

    caffe_pixel_mean: ClassVar = (123.68, 116.779, 103.939)
    is_alike_in_caffe: ClassVar = True
    features: nn.Sequential

    @property
    def torchvision_name(self) -> str | None:
        """torchvision's ``vgg16`` or ``vgg16_bn``; None for Caffe's, which wants other colours."""
        if self.is_caffe:
            return None
        return "vgg16_bn" if self.norm == "batch" else "vgg16"

    @property
    def caffe_layers(self) -> dict[str, str]:
        """The layers of ``VGG_ILSVRC_16_layers`` and of the authors' ``vgg16CAM``."""
        names = [
            f"conv{stage}_{number}"
            for stage, units in enumerate(STAGES, 1)
            for number in range(1, len(units) + 1)
        ]
        places = [i for i, layer in enumerate(self.features) if isinstance(layer, nn.Conv2d)]
        return {
            **{name: f"features.{i}" for name, i in zip(names, places, strict=True)},
            "fc6": "classifier.0",
            "fc7": "classifier.3",
            "fc8": "classifier.6",
            "CAM_conv": "cam_conv.conv",
            "CAM_fc": "cam_fc",
        }

    def _features(self, width: float) -> nn.Sequential:
        """conv1_1 to conv5_3's ReLU, a pool between stages: 224 pixels become 14x14."""
        layers: list[nn.Module] = []
        channels = 3
        for stage in STAGES:
            if layers:
                layers.append(self._pool())
            for units in stage:
                in_channels, channels = channels, scale_channels(units, width)
                layers.append(nn.Conv2d(in_channels, channels, 3, padding=1))
                if self.norm == "batch":
                    layers.append(nn.BatchNorm2d(channels))
                layers.append(nn.ReLU())
        return nn.Sequential(*layers)

    def _pool(self) -> nn.MaxPool2d:
        return nn.MaxPool2d(2, ceil_mode=self.is_caffe)


class Vgg(_Vgg, FullyConnectedNetwork):
    """Simonyan and Zisserman's VGG-16, unmodified: three fully connected layers, no CAM.

    A: conv5_3 after its ReLU, (N, 512, 14, 14) at 224 pixels; pool5 belongs to the head.
    """

    minimum_input = 32
    class_layer_name = "classifier.6"

    def __init__(
        self,
        *,
        num_classes: int,
        width: float = 1.0,
        norm: str = "none",
        dropout: float = 0.5,
        variant: str = TORCHVISION,
    ) -> None:
        super().__init__(num_classes, width, norm, dropout, variant=variant)
        if self.is_caffe:
            self.minimum_input = 1
        maps, hidden = scale_channels(512, width), scale_channels(4096, width)
        self.features = self._features(width)
        self.pool5 = self._pool()
        self.avgpool = nn.AdaptiveAvgPool2d(7)
        self.classifier = nn.Sequential(
            nn.Linear(maps * 7 * 7, hidden),
            nn.ReLU(),
            Dropout(dropout),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            Dropout(dropout),
            nn.Linear(hidden, num_classes),
        )
        self._initialise()


class VggGap(_Vgg, PooledNetwork):
    """VGG-16 cut after conv5_3's ReLU, 3x3 convolution of 1024 units, GAP, linear without bias.

    A: (N, 1024, 14, 14) at 224 pixels. groups: of the added convolution; None: 1, the paper names
    none, 2 for the caffe variant, the authors' released ``vgg16CAM``; its linear layer has a bias.
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
        groups: int | None = None,
        variant: str = TORCHVISION,
    ) -> None:
        super().__init__(num_classes, width, norm, dropout, variant=variant)
        if self.is_caffe:
            self.minimum_input = 1
        self.features = self._features(width)
        self.cam_conv, self.cam_fc = self._cam_layers(scale_channels(512, width), width, groups)
        self._initialise()

    def _extract(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        A_NKhw: torch.Tensor = self.cam_conv(self.features(x_NCHW))
        return A_NKhw
