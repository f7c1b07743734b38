"""Build GoogLeNet, GoogLeNet-GAP and GoogLeNet-GMP (paper, sections 3.1 and 3.2).

The variant ``torchvision`` has the names and layers of torchvision's GoogLeNet, so that its weights
load: 3x3 convolutions where Szegedy et al. have 5x5, and pools that round sizes up. With
``norm=none`` the convolutions have a bias and no batch norm, as in the published network; when
weights with batch norm are loaded into it, the batch norm is folded into the convolutions (see
weights.py). The variant ``caffe`` is the published network, as in ``bvlc_googlenet`` and the
authors' ``imagenet_googlenetCAM``: 5x5 convolutions, local response normalisation beside the first
two pools, and a 3x3 pool4. ``VARIANTS`` lists all the differences.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from cam_repro.models.base import PooledNetwork
from cam_repro.models.layers import (
    ConvBlock,
    ceil_max_pool,
    norm_then_pool,
    pool_then_norm,
    scale_channels,
)
from cam_repro.models.variants import CAFFE, TORCHVISION, CaffeWeights, Variant, by_name

UNITS = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
"""Units of each inception module: 1x1; 1x1 and 3x3; 1x1 and 5x5; 1x1 after the pool."""


@dataclass(frozen=True, kw_only=True)
class GoogLeNetVariant(Variant):
    """Describe one way of building the three networks.

    kernel5: kernel size of the second convolution in the third branch of an inception module; 5 as
    published. pool1, pool2: make these pools, with the normalisation beside them. kernel4: kernel
    size of pool4. smallest, smallest_gap: the smallest input of GoogLeNet, and of GoogLeNet-GAP and
    -GMP, pixels.
    """

    kernel5: int
    pool1: Callable[[], nn.Module]
    pool2: Callable[[], nn.Module]
    kernel4: int
    smallest: int
    smallest_gap: int


CAFFE_BRANCHES = {
    "1x1": "branch1",
    "3x3_reduce": "branch2.0",
    "3x3": "branch2.1",
    "5x5_reduce": "branch3.0",
    "5x5": "branch3.1",
    "pool_proj": "branch4.1",
}
CAFFE_LAYERS = {
    "conv1/7x7_s2": "conv1.conv",
    "conv2/3x3_reduce": "conv2.conv",
    "conv2/3x3": "conv3.conv",
    **{
        f"inception_{module}/{theirs}": f"inception{module}.{ours}.conv"
        for module in UNITS
        for theirs, ours in CAFFE_BRANCHES.items()
    },
    "loss3/classifier": "fc",
    "CAM_conv": "cam_conv.conv",
    "CAM_fc": "cam_fc",
}
"""The layers of ``bvlc_googlenet`` and of the authors' ``imagenet_googlenetCAM``."""

VARIANTS = by_name(
    GoogLeNetVariant(
        name=TORCHVISION,
        torchvision_name="googlenet",
        kernel5=3,
        pool1=ceil_max_pool,
        pool2=ceil_max_pool,
        kernel4=2,
        smallest=15,
        smallest_gap=15,
    ),
    GoogLeNetVariant(
        name=CAFFE,
        caffe=CaffeWeights(CAFFE_LAYERS, pixel_mean=(123.0, 117.0, 104.0)),
        cam_groups=2,
        cam_bias=True,
        kernel5=5,
        pool1=pool_then_norm,
        pool2=norm_then_pool,
        kernel4=3,
        smallest=31,
        smallest_gap=15,
    ),
)


class Inception(nn.Module):
    """Run four branches on the same input and concatenate their channels; the size stays.

    kernel5: kernel size of the third branch's second convolution; 5 as published, 3 in torchvision.
    """

    def __init__(
        self, in_channels: int, units: tuple[int, ...], width: float, norm: str, kernel5: int
    ) -> None:
        super().__init__()
        one, reduce3, three, reduce5, five, pooled = (scale_channels(u, width) for u in units)
        self.branch1 = ConvBlock(in_channels, one, 1, norm=norm)
        self.branch2 = nn.Sequential(
            ConvBlock(in_channels, reduce3, 1, norm=norm), ConvBlock(reduce3, three, 3, norm=norm)
        )
        self.branch3 = nn.Sequential(
            ConvBlock(in_channels, reduce5, 1, norm=norm),
            ConvBlock(reduce5, five, kernel5, norm=norm),
        )
        self.branch4 = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1), ConvBlock(in_channels, pooled, 1, norm=norm)
        )
        self.out_channels = one + three + five + pooled

    def forward(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        """Take (N,C,H,W) to (N,out_channels,H,W)."""
        branches = (self.branch1, self.branch2, self.branch3, self.branch4)
        return torch.cat([branch(x_NCHW) for branch in branches], dim=1)


class _GoogLeNetTrunk(PooledNetwork):
    """Build the layers that all three share, up to inception4e: 14x14 at 224 pixels."""

    variants: ClassVar = VARIANTS
    built_as: GoogLeNetVariant
    # Torchvision's weights were ported from TensorFlow and need inputs in [-1, 1]; torchvision
    # converts its inputs in a step named transform_input.
    file_pixel_mean = (0.5, 0.5, 0.5)
    file_pixel_std = (0.5, 0.5, 0.5)
    file_colours = (
        "those of torchvision's weights; with transform_input=False they are"
        " [0.485,0.456,0.406] and [0.229,0.224,0.225]"
    )
    # The auxiliary classifiers of torchvision and of Caffe, which only training uses.
    ignored_in_files: ClassVar = ("aux1.", "aux2.", "loss1/", "loss2/")

    def __init__(
        self,
        num_classes: int,
        width: float,
        norm: str,
        dropout: float,
        pool: str = "avg",
        *,
        variant: str,
    ) -> None:
        super().__init__(num_classes, width, norm, dropout, pool, variant=variant)
        c1, c2, c3 = (scale_channels(c, width) for c in (64, 64, 192))
        self.conv1 = ConvBlock(3, c1, 7, stride=2, norm=norm)
        self.maxpool1 = self.built_as.pool1()
        self.conv2 = ConvBlock(c1, c2, 1, norm=norm)
        self.conv3 = ConvBlock(c2, c3, 3, norm=norm)
        self.maxpool2 = self.built_as.pool2()
        self.inception3a = self._inception("3a", c3, width)
        self.inception3b = self._inception("3b", self.inception3a.out_channels, width)
        self.maxpool3 = ceil_max_pool()
        self.inception4a = self._inception("4a", self.inception3b.out_channels, width)
        self.inception4b = self._inception("4b", self.inception4a.out_channels, width)
        self.inception4c = self._inception("4c", self.inception4b.out_channels, width)
        self.inception4d = self._inception("4d", self.inception4c.out_channels, width)
        self.inception4e = self._inception("4e", self.inception4d.out_channels, width)

    def _inception(self, name: str, in_channels: int, width: float) -> Inception:
        """Make the inception module of that name."""
        return Inception(in_channels, UNITS[name], width, self.norm_setting, self.built_as.kernel5)

    def _trunk(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        """Compute the maps of inception4e, (N,K,h,w)."""
        x = self.maxpool1(self.conv1(x_NCHW))
        x = self.maxpool2(self.conv3(self.conv2(x)))
        x = self.maxpool3(self.inception3b(self.inception3a(x)))
        x = self.inception4c(self.inception4b(self.inception4a(x)))
        maps_NKhw: torch.Tensor = self.inception4e(self.inception4d(x))
        return maps_NKhw


class GoogLeNet(_GoogLeNetTrunk):
    """Build Szegedy et al.'s network, which ends in GAP and one linear layer with bias.

    A: inception5b, (N, 1024, 7, 7) at 224 pixels. dropout: 0.4 in their paper, 0.2 in torchvision.
    """

    class_layer_name = "fc"

    def __init__(
        self,
        *,
        num_classes: int,
        width: float = 1.0,
        norm: str = "none",
        dropout: float = 0.4,
        variant: str = TORCHVISION,
    ) -> None:
        super().__init__(num_classes, width, norm, dropout, variant=variant)
        self.minimum_input = self.built_as.smallest
        self.maxpool4 = ceil_max_pool(self.built_as.kernel4)
        self.inception5a = self._inception("5a", self.inception4e.out_channels, width)
        self.inception5b = self._inception("5b", self.inception5a.out_channels, width)
        self.fc = nn.Linear(self.inception5b.out_channels, num_classes)
        self._initialise()

    def _extract(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        maps_NKhw = self.maxpool4(self._trunk(x_NCHW))
        A_NKhw: torch.Tensor = self.inception5b(self.inception5a(maps_NKhw))
        return A_NKhw


class GoogLeNetGap(_GoogLeNetTrunk):
    """Build GoogLeNet-GAP or -GMP: cut after inception4e, 3x3 convolution of 1024, pool, linear.

    A: (N, 1024, 14, 14) at 224 pixels. pool: ``avg`` is GoogLeNet-GAP, ``max`` GoogLeNet-GMP
    (section 3.2). There is no dropout by default. groups: of the added convolution; None: 2 for the
    variant ``caffe``, else 1 (the paper mentions no groups). Only the variant ``caffe``, which is
    the authors' released ``imagenet_googlenetCAM``, has a bias in the linear layer.
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
        pool: str = "avg",
        variant: str = TORCHVISION,
    ) -> None:
        super().__init__(num_classes, width, norm, dropout, pool, variant=variant)
        self.minimum_input = self.built_as.smallest_gap
        self.cam_conv, self.cam_fc = self._cam_layers(self.inception4e.out_channels, width, groups)
        self._initialise()

    def _extract(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        A_NKhw: torch.Tensor = self.cam_conv(self._trunk(x_NCHW))
        return A_NKhw
