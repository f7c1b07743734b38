"""Build AlexNet, AlexNet-GAP and AlexNet*-GAP (paper, section 3.1), as torchvision's or Caffe's.

Torchvision's AlexNet has no grouped convolutions and no local response normalisation; its weights
are free to download. Caffe's AlexNets have more filters, two groups in conv2, conv4 and conv5,
local response normalisation beside the first two pools, and no padding in conv1. There are two of
them, and they differ in one thing: CaffeNet (``bvlc_reference_caffenet``) pools and then
normalises, ``bvlc_alexnet`` normalises and then pools. The authors built their released
``alexnetplusCAM_imagenet`` as CaffeNet, so the variant ``caffe`` is CaffeNet. ``VARIANTS`` lists
all the differences.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import nn

from cam_repro.models.base import CamNetwork, FullyConnectedNetwork, PooledNetwork
from cam_repro.models.layers import (
    CAFFE_MEAN_IMAGE,
    ConvBlock,
    Dropout,
    activation,
    ceil_max_pool,
    check_count,
    norm_then_pool,
    pool_then_norm,
    scale_channels,
)
from cam_repro.models.variants import CAFFE, TORCHVISION, CaffeWeights, Variant, by_name

CONV5 = 256
"""Units of conv5, except in AlexNet*-GAP, where they are a setting."""


@dataclass(frozen=True, kw_only=True)
class AlexNetVariant(Variant):
    """Describe one way of building the three networks.

    filters: of conv1 to conv4, before they are multiplied by ``width``. padding: of conv1.
    groups: of conv2, conv4 and conv5. pool: makes pool1 or pool2, with the normalisation beside
    it. pool5: makes AlexNet's pool5. dropout_first: True if dropout comes before fc6 and fc7,
    False if it comes after them. smallest, smallest_gap, smallest_star_gap: the smallest input of
    AlexNet, AlexNet-GAP and AlexNet*-GAP, pixels.
    """

    filters: tuple[int, int, int, int]
    padding: int
    groups: int
    pool: Callable[[], nn.Module]
    pool5: Callable[[], nn.MaxPool2d]
    dropout_first: bool
    smallest: int
    smallest_gap: int
    smallest_star_gap: int


def _caffe(name: str, pool: Callable[[], nn.Module], order: tuple[str, str]) -> AlexNetVariant:
    """Describe one of Caffe's two AlexNets; only the order of pool and normalisation differs."""
    return AlexNetVariant(
        name=name,
        caffe=CaffeWeights(CAFFE_LAYERS, CAFFE_MEAN_IMAGE, order),
        cam_groups=2,
        cam_bias=True,
        filters=(96, 256, 384, 384),
        padding=0,
        groups=2,
        pool=pool,
        pool5=ceil_max_pool,
        dropout_first=False,
        smallest=39,
        smallest_gap=23,
        smallest_star_gap=55,
    )


CAFFE_LAYERS = {
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
"""The layers of Caffe's AlexNet and CaffeNet and of the authors' CAM networks."""

VARIANTS = by_name(
    AlexNetVariant(
        name=TORCHVISION,
        torchvision_name="alexnet",
        filters=(64, 192, 384, 256),
        padding=2,
        groups=1,
        pool=partial(nn.MaxPool2d, 3, stride=2),
        pool5=partial(nn.MaxPool2d, 3, stride=2),
        dropout_first=True,
        smallest=63,
        smallest_gap=31,
        smallest_star_gap=63,
    ),
    _caffe(CAFFE, pool_then_norm, ("pool1", "norm1")),
    _caffe("bvlc_alexnet", norm_then_pool, ("norm1", "pool1")),
)


class _AlexNet(CamNetwork):
    """Build what the three networks share."""

    variants: ClassVar = VARIANTS
    built_as: AlexNetVariant

    def _features(self, width: float, conv5: int) -> nn.Sequential:
        """Make conv1 to conv5's ReLU, numbered as in torchvision; 224 or 227 pixels give 13x13."""
        variant = self.built_as
        c1, c2, c3, c4, c5 = (scale_channels(c, width) for c in (*variant.filters, conv5))
        return nn.Sequential(
            nn.Conv2d(3, c1, 11, stride=4, padding=variant.padding),
            activation(c1, self.norm_setting),
            variant.pool(),
            nn.Conv2d(c1, c2, 5, padding=2, groups=variant.groups),
            activation(c2, self.norm_setting),
            variant.pool(),
            nn.Conv2d(c2, c3, 3, padding=1),
            activation(c3, self.norm_setting),
            nn.Conv2d(c3, c4, 3, padding=1, groups=variant.groups),
            activation(c4, self.norm_setting),
            nn.Conv2d(c4, c5, 3, padding=1, groups=variant.groups),
            activation(c5, self.norm_setting),
        )


class AlexNet(_AlexNet, FullyConnectedNetwork):
    """Build Krizhevsky et al.'s network, which has three fully connected layers and so no CAM.

    A: conv5 after its ReLU, (N, 256, 13, 13) at 224 and 227 pixels; pool5 belongs to the head.
    Dropout comes before fc6 and fc7 as in torchvision, or after them as in Caffe.
    """

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
        self.minimum_input = self.built_as.smallest
        conv5, hidden = scale_channels(CONV5, width), scale_channels(4096, width)
        self.features = self._features(width, CONV5)
        self.pool5 = self.built_as.pool5()
        self.avgpool = nn.AdaptiveAvgPool2d(6)
        fc6 = nn.Linear(conv5 * 6 * 6, hidden)
        fc7 = nn.Linear(hidden, hidden)
        fc8 = nn.Linear(hidden, num_classes)
        # In both orders the linear layers keep the numbers that they have in torchvision.
        if self.built_as.dropout_first:
            layers = [Dropout(dropout), fc6, nn.ReLU(), Dropout(dropout), fc7, nn.ReLU(), fc8]
        else:
            after_fc7 = nn.Sequential(nn.ReLU(), Dropout(dropout))
            layers = [nn.Identity(), fc6, nn.ReLU(), Dropout(dropout), fc7, after_fc7, fc8]
        self.classifier = nn.Sequential(*layers)
        self._initialise()


class AlexNetGap(_AlexNet, PooledNetwork):
    """Build AlexNet-GAP: cut after conv5's ReLU, 3x3 convolution of 1024 units, GAP, linear.

    A: (N, 1024, 13, 13) at 224 and 227 pixels. There is no dropout by default. groups: of the added
    convolution; None: 2 for Caffe's variants, else 1. Only Caffe's variants have a bias in the
    linear layer. The authors did not release this network; its Caffe variants are built like the
    networks that they did release.
    """

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
        self.minimum_input = self.built_as.smallest_gap
        self.features = self._features(width, CONV5)
        self.cam_conv, self.cam_fc = self._cam_layers(scale_channels(CONV5, width), width, groups)
        self._initialise()

    def _extract(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        A_NKhw: torch.Tensor = self.cam_conv(self.features(x_NCHW))
        return A_NKhw


class AlexNetStarGap(_AlexNet, PooledNetwork):
    """Build AlexNet*-GAP: pool5 of stride 1, two 3x3 convolutions of 512 units, GAP, linear.

    A: (N, 512, 11, 11) at 224 and 227 pixels. conv5: units of conv5 before they are multiplied by
    ``width``. The authors' network has 384. Then conv5 of a plain AlexNet, which has 256, does not
    fit, and this network's conv5 keeps its initial values; with 256 it is taken from there.
    groups: of both added convolutions; None: 2 for Caffe's variants, else 1. Only Caffe's variants
    have a bias in the linear layer. The variant ``caffe`` is the authors' released
    ``alexnetplusCAM_imagenet``.
    """

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
        self.minimum_input = self.built_as.smallest_star_gap
        check_count("conv5", conv5)
        channels, units = scale_channels(conv5, width), scale_channels(512, width)
        groups = self._cam_groups(groups, channels, units)
        self.features = self._features(width, conv5)
        self.pool5 = nn.MaxPool2d(3, stride=1)
        self.cam_conv6 = ConvBlock(channels, units, 3, groups=groups, norm=norm)
        self.cam_conv7 = ConvBlock(units, units, 3, groups=groups, norm=norm)
        self.cam_fc = self._cam_fc(units)
        self._initialise()

    def _extract(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        A_NKhw: torch.Tensor = self.cam_conv7(self.cam_conv6(self.pool5(self.features(x_NCHW))))
        return A_NKhw
