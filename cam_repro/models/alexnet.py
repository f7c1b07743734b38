"""AlexNet, AlexNet-GAP and AlexNet*-GAP (paper, section 3.1), in torchvision's form and Caffe's.

Torchvision's AlexNet is the single-column net (64, 192, 384, 256, 256 filters, no groups, no local
response normalisation), whose weights everybody can get. Caffe's has 96, 256, 384, 384, 256
filters, groups of 2 in conv2, conv4 and conv5, local response normalisation beside the first two
pools and no padding in conv1. Two such networks are about, which differ in one thing: CaffeNet
(``bvlc_reference_caffenet``) pools before it normalises, AlexNet (``bvlc_alexnet``) after. The
authors' released ``alexnetplusCAM_imagenet`` is built as CaffeNet, so that is ``caffe`` here.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

from cam_repro.models.base import CamNetwork, FullyConnectedNetwork, PooledNetwork
from cam_repro.models.layers import (
    CAFFE,
    TORCHVISION,
    VARIANTS,
    ConvBlock,
    Dropout,
    activation,
    caffe_lrn,
    ceil_max_pool,
    check_count,
    scale_channels,
)

CONV5 = 256

BVLC_ALEXNET = "bvlc_alexnet"


class _AlexNet(CamNetwork):
    """What the three networks share.

    variant: ``torchvision``, ``caffe`` (CaffeNet's order: pool, then normalise) or
    ``bvlc_alexnet`` (normalise, then pool).
    """

    variants: ClassVar = (*VARIANTS, BVLC_ALEXNET)
    caffe_orders: ClassVar = {("pool1", "norm1"): CAFFE, ("norm1", "pool1"): BVLC_ALEXNET}
    # The channel means of Caffe's mean image of ILSVRC 2012.
    caffe_pixel_mean: ClassVar = (122.67892, 116.66877, 104.00699)

    @property
    def torchvision_name(self) -> str | None:
        """torchvision's ``alexnet``; None for Caffe's, whose layers differ."""
        return None if self.is_caffe else "alexnet"

    @property
    def caffe_layers(self) -> dict[str, str]:
        """The layers of Caffe's AlexNet and CaffeNet and of the authors' CAM networks."""
        return {
            "conv1": "features.0",
            "conv2": "features.3",
            "conv3": "features.6",
            "conv4": "features.8",
            "conv5": "features.10",
            "fc6": "classifier.1",
            "fc7": "classifier.4",
            "fc8": "classifier.6",
            "conv6": "cam_conv6.conv",
            "conv7": "cam_conv7.conv",
            "fc9": "cam_fc",
            "CAM_conv": "cam_conv.conv",
            "CAM_fc": "cam_fc",
        }

    def _features(self, width: float, conv5: int) -> nn.Sequential:
        """conv1 to conv5's ReLU, numbered as torchvision's: 224 and 227 pixels become 13x13."""
        filters = (96, 256, 384, 384, conv5) if self.is_caffe else (64, 192, 384, 256, conv5)
        c1, c2, c3, c4, c5 = (scale_channels(c, width) for c in filters)
        groups = 2 if self.is_caffe else 1
        return nn.Sequential(
            nn.Conv2d(3, c1, 11, stride=4, padding=0 if self.is_caffe else 2),
            activation(c1, self.norm),
            self._pool(),
            nn.Conv2d(c1, c2, 5, padding=2, groups=groups),
            activation(c2, self.norm),
            self._pool(),
            nn.Conv2d(c2, c3, 3, padding=1),
            activation(c3, self.norm),
            nn.Conv2d(c3, c4, 3, padding=1, groups=groups),
            activation(c4, self.norm),
            nn.Conv2d(c4, c5, 3, padding=1, groups=groups),
            activation(c5, self.norm),
        )

    def _pool(self) -> nn.Module:
        """pool1 and pool2, with the normalisation beside them where there is one."""
        if not self.is_caffe:
            return nn.MaxPool2d(3, stride=2)
        if self.variant == BVLC_ALEXNET:
            return nn.Sequential(caffe_lrn(), ceil_max_pool())
        return nn.Sequential(ceil_max_pool(), caffe_lrn())


class AlexNet(_AlexNet, FullyConnectedNetwork):
    """Krizhevsky et al.'s network, three fully connected layers: no CAM.

    A: conv5 after its ReLU, (N, 256, 13, 13) at 224 and 227 pixels; pool5 belongs to the head.
    Dropout is where torchvision (before fc6 and fc7) or Caffe (behind them) has it.
    """

    minimum_input = 63
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
        conv5, hidden = scale_channels(CONV5, width), scale_channels(4096, width)
        self.features = self._features(width, CONV5)
        self.pool5 = nn.MaxPool2d(3, stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(6)
        if self.is_caffe:
            self.minimum_input = 39
            self.pool5 = ceil_max_pool()
        self.classifier = nn.Sequential(
            nn.Identity() if self.is_caffe else Dropout(dropout),
            nn.Linear(conv5 * 6 * 6, hidden),
            nn.ReLU(),
            Dropout(dropout),
            nn.Linear(hidden, hidden),
            nn.Sequential(nn.ReLU(), Dropout(dropout)) if self.is_caffe else nn.ReLU(),
            nn.Linear(hidden, num_classes),
        )
        self._initialise()


class AlexNetGap(_AlexNet, PooledNetwork):
    """AlexNet cut after conv5's ReLU, 3x3 convolution of 1024 units, GAP, linear without bias.

    A: (N, 1024, 13, 13) at 224 and 227 pixels. The row has no dropout. groups: of the added
    convolution; None: 1, 2 for Caffe's variants, whose linear layer has a bias (the authors
    released no such network; these are as in their other ones).
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
        groups: int | None = None,
        variant: str = TORCHVISION,
    ) -> None:
        super().__init__(num_classes, width, norm, dropout, variant=variant)
        if self.is_caffe:
            self.minimum_input = 23
        self.features = self._features(width, CONV5)
        self.cam_conv, self.cam_fc = self._cam_layers(scale_channels(CONV5, width), width, groups)
        self._initialise()

    def _extract(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        A_NKhw: torch.Tensor = self.cam_conv(self.features(x_NCHW))
        return A_NKhw


class AlexNetStarGap(_AlexNet, PooledNetwork):
    """AlexNet*-GAP: pool5 of stride 1, two 3x3 convolutions of 512 units, GAP, linear, no bias.

    A: (N, 512, 11, 11) at 224 and 227 pixels. conv5: its units before ``width``; 384 in the
    authors' net, so conv5 of a plain AlexNet (256) does not fit and is left at its initial values;
    256 takes it over. groups: of both added convolutions; None: 1, 2 for Caffe's variants, whose
    linear layer has a bias: the authors' released ``alexnetplusCAM_imagenet`` is ``caffe``.
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
        groups: int | None = None,
        conv5: int = 384,
        variant: str = TORCHVISION,
    ) -> None:
        super().__init__(num_classes, width, norm, dropout, variant=variant)
        if self.is_caffe:
            self.minimum_input = 55
        check_count("conv5", conv5)
        maps, units = scale_channels(conv5, width), scale_channels(512, width)
        groups = self._cam_groups(groups, maps, units)
        self.features = self._features(width, conv5)
        self.pool5 = nn.MaxPool2d(3, stride=1)
        self.cam_conv6 = ConvBlock(maps, units, 3, groups=groups, norm=norm)
        self.cam_conv7 = ConvBlock(units, units, 3, groups=groups, norm=norm)
        self.cam_fc = self._cam_fc(units)
        self._initialise()

    def _extract(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        A_NKhw: torch.Tensor = self.cam_conv7(self.cam_conv6(self.pool5(self.features(x_NCHW))))
        return A_NKhw
