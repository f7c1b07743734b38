"""Build Network in Network (Lin, Chen, Yan, arXiv 1312.4400), with Caffe's names of layers."""

from __future__ import annotations

from collections import OrderedDict
from typing import ClassVar

import torch
from torch import nn

from cam_repro.models.base import ClassMapNetwork
from cam_repro.models.layers import (
    CAFFE_MEAN_IMAGE,
    Dropout,
    activation,
    ceil_max_pool,
    scale_channels,
)
from cam_repro.models.variants import CAFFE, TORCHVISION, CaffeWeights, Variant, by_name

# In Caffe the names of the last three layers end in 1024.
CAFFE_WEIGHTS = CaffeWeights(
    {
        "conv1": "features.conv1",
        "cccp1": "features.cccp1",
        "cccp2": "features.cccp2",
        "conv2": "features.conv2",
        "cccp3": "features.cccp3",
        "cccp4": "features.cccp4",
        "conv3": "features.conv3",
        "cccp5": "features.cccp5",
        "cccp6": "features.cccp6",
        "conv4-1024": "features.conv4",
        "cccp7-1024": "features.cccp7",
        "cccp8-1024": "features.cccp8",
    },
    CAFFE_MEAN_IMAGE,
)
"""The weights released as ``nin_imagenet``."""

VARIANTS = by_name(
    Variant(name=TORCHVISION, caffe=CAFFE_WEIGHTS), Variant(name=CAFFE, caffe=CAFFE_WEIGHTS)
)


class Nin(ClassMapNetwork):
    """Build four convolutions, each followed by two 1x1 convolutions; the last has one map a class.

    A: the class maps after their ReLU, (N, C, 6, 6) at 224 and 227 pixels. With ``norm=batch`` a
    batch norm follows every convolution except the last. Torchvision does not have this network, so
    both variants are Caffe's ``nin_imagenet``.
    """

    minimum_input = 39
    class_layer_name = "features.cccp8"
    variants: ClassVar = VARIANTS

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
        c1, c2, c3, c4 = (scale_channels(c, width) for c in (96, 256, 384, 1024))
        layers: OrderedDict[str, nn.Module] = OrderedDict()

        def add(name: str, conv: nn.Conv2d) -> None:
            layers[name] = conv
            layers[f"{name}_relu"] = activation(conv.out_channels, norm)

        add("conv1", nn.Conv2d(3, c1, 11, stride=4))
        add("cccp1", nn.Conv2d(c1, c1, 1))
        add("cccp2", nn.Conv2d(c1, c1, 1))
        layers["pool1"] = ceil_max_pool()
        add("conv2", nn.Conv2d(c1, c2, 5, padding=2))
        add("cccp3", nn.Conv2d(c2, c2, 1))
        add("cccp4", nn.Conv2d(c2, c2, 1))
        layers["pool2"] = ceil_max_pool()
        add("conv3", nn.Conv2d(c2, c3, 3, padding=1))
        add("cccp5", nn.Conv2d(c3, c3, 1))
        add("cccp6", nn.Conv2d(c3, c3, 1))
        layers["pool3"] = ceil_max_pool()
        layers["dropout"] = Dropout(dropout)
        add("conv4", nn.Conv2d(c3, c4, 3, padding=1))
        add("cccp7", nn.Conv2d(c4, c4, 1))
        layers["cccp8"] = nn.Conv2d(c4, num_classes, 1)
        layers["cccp8_relu"] = nn.ReLU()
        self.features = nn.Sequential(layers)
        self._initialise()

    def _extract(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        A_NChw: torch.Tensor = self.features(x_NCHW)
        return A_NChw
