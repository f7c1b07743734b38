"""Build the InceptionV3-CAM of Choe et al. (CVPR 2020), with their names of layers.

It is Inception v3 (Szegedy et al., CVPR 2016), whose layers have torchvision's names, up to
``Mixed_6e``, with other strides and paddings. Two 3x3 convolutions of 1024 units follow, and a 1x1
convolution with one map a class, whose mean is the score. The network comes from SPG (Zhang et al.,
ECCV 2018), after which the added layers are named.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import torch
from torch import nn

from cam_repro.models.base import CamNetwork
from cam_repro.models.layers import ConvBlock, Dropout, check_flag, scale_channels
from cam_repro.models.variants import Variant, by_name


def _mean_pool() -> nn.AvgPool2d:
    """Make the mean pool of the modules' last branch; the size stays."""
    return nn.AvgPool2d(3, stride=1, padding=1)


class InceptionA(nn.Module):
    """Run a 1x1, a 5x5, a double 3x3 convolution and a pool in parallel; the size stays.

    pooled: units of the convolution after the pool.
    """

    def __init__(self, in_channels: int, pooled: int, width: float, norm: str) -> None:
        super().__init__()
        block = partial(ConvBlock, norm=norm)
        c48, c64, c96, pooled = (scale_channels(c, width) for c in (48, 64, 96, pooled))
        self.branch1x1 = block(in_channels, c64, 1)
        self.branch5x5_1 = block(in_channels, c48, 1)
        self.branch5x5_2 = block(c48, c64, 5)
        self.branch3x3dbl_1 = block(in_channels, c64, 1)
        self.branch3x3dbl_2 = block(c64, c96, 3)
        self.branch3x3dbl_3 = block(c96, c96, 3)
        self.pool = _mean_pool()
        self.branch_pool = block(in_channels, pooled, 1)
        self.out_channels = c64 + c64 + c96 + pooled

    def forward(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        """Turn (N,C,H,W) into (N,out_channels,H,W)."""
        five = self.branch5x5_2(self.branch5x5_1(x_NCHW))
        three = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x_NCHW)))
        pooled = self.branch_pool(self.pool(x_NCHW))
        return torch.cat([self.branch1x1(x_NCHW), five, three, pooled], dim=1)


class InceptionB(nn.Module):
    """Run a 3x3, a double 3x3 convolution and a max pool in parallel, all of stride 1 here."""

    def __init__(self, in_channels: int, width: float, norm: str) -> None:
        super().__init__()
        block = partial(ConvBlock, norm=norm)
        c64, c96, c384 = (scale_channels(c, width) for c in (64, 96, 384))
        self.branch3x3 = block(in_channels, c384, 3)
        self.branch3x3dbl_1 = block(in_channels, c64, 1)
        self.branch3x3dbl_2 = block(c64, c96, 3)
        self.branch3x3dbl_3 = block(c96, c96, 3)
        self.pool = nn.MaxPool2d(3, stride=1, padding=1)
        self.out_channels = c384 + c96 + in_channels

    def forward(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        """Turn (N,C,H,W) into (N,out_channels,H,W)."""
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x_NCHW)))
        return torch.cat([self.branch3x3(x_NCHW), double, self.pool(x_NCHW)], dim=1)


class InceptionC(nn.Module):
    """Run a 1x1, a 7x7, a double 7x7 convolution and a pool in parallel; the size stays.

    A 7x7 convolution is done as one of 1x7 and one of 7x1. inner: units within the branches.
    """

    def __init__(self, in_channels: int, inner: int, width: float, norm: str) -> None:
        super().__init__()
        block = partial(ConvBlock, norm=norm)
        c, c192 = scale_channels(inner, width), scale_channels(192, width)
        self.branch1x1 = block(in_channels, c192, 1)
        self.branch7x7_1 = block(in_channels, c, 1)
        self.branch7x7_2 = block(c, c, (1, 7))
        self.branch7x7_3 = block(c, c192, (7, 1))
        self.branch7x7dbl_1 = block(in_channels, c, 1)
        self.branch7x7dbl_2 = block(c, c, (7, 1))
        self.branch7x7dbl_3 = block(c, c, (1, 7))
        self.branch7x7dbl_4 = block(c, c, (7, 1))
        self.branch7x7dbl_5 = block(c, c192, (1, 7))
        self.pool = _mean_pool()
        self.branch_pool = block(in_channels, c192, 1)
        self.out_channels = 4 * c192

    def forward(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        """Turn (N,C,H,W) into (N,out_channels,H,W)."""
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x_NCHW)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x_NCHW)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        pooled = self.branch_pool(self.pool(x_NCHW))
        return torch.cat([self.branch1x1(x_NCHW), seven, double, pooled], dim=1)


class InceptionV3Cam(CamNetwork):
    """Build InceptionV3-CAM. A: the last 1024 maps after their ReLU, (N, 1024, 14, 14) at 224.

    The map of a class, w_c A, lacks the bias of ``SPG_A4``; Choe et al.'s has it, and loses it when
    it is brought to 0..1. large_maps: there is no pool before ``Mixed_6a``: 28x28. dropout: before
    each of the three added convolutions. Inputs are normalised by ImageNet's mean and standard
    deviation, as theirs are, also where the trunk comes from torchvision's weights.
    """

    variants: ClassVar = by_name(Variant(torchvision_name="inception_v3"))
    class_layer_name = "SPG_A4"
    # What torchvision's Inception v3 has behind Mixed_6e.
    ignored_in_files: ClassVar = ("Mixed_7", "AuxLogits.", "fc.")

    def __init__(
        self,
        *,
        num_classes: int,
        width: float = 1.0,
        norm: str = "batch",
        dropout: float = 0.5,
        large_maps: bool = False,
    ) -> None:
        super().__init__(num_classes, width, norm, dropout)
        self.minimum_input = 11 if check_flag("large_maps", large_maps) else 15
        self.same_layers = (
            f"that of {'14x14' if large_maps else '28x28'} maps is"
            f" model.large_maps={str(not large_maps).lower()}"
        )
        block = partial(ConvBlock, norm=norm)
        c32, c64, c80, c192, c1024 = (scale_channels(c, width) for c in (32, 64, 80, 192, 1024))
        self.Conv2d_1a_3x3 = block(3, c32, 3, stride=2)
        self.Conv2d_2a_3x3 = block(c32, c32, 3, padding=0)
        self.Conv2d_2b_3x3 = block(c32, c64, 3)
        self.maxpool1 = nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True)
        self.Conv2d_3b_1x1 = block(c64, c80, 1)
        self.Conv2d_4a_3x3 = block(c80, c192, 3, padding=0)
        self.maxpool2 = nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True)
        self.Mixed_5b = InceptionA(c192, 32, width, norm)
        self.Mixed_5c = InceptionA(self.Mixed_5b.out_channels, 64, width, norm)
        self.Mixed_5d = InceptionA(self.Mixed_5c.out_channels, 64, width, norm)
        last_pool = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.maxpool3 = nn.Identity() if large_maps else last_pool
        self.Mixed_6a = InceptionB(self.Mixed_5d.out_channels, width, norm)
        self.Mixed_6b = InceptionC(self.Mixed_6a.out_channels, 128, width, norm)
        self.Mixed_6c = InceptionC(self.Mixed_6b.out_channels, 160, width, norm)
        self.Mixed_6d = InceptionC(self.Mixed_6c.out_channels, 160, width, norm)
        self.Mixed_6e = InceptionC(self.Mixed_6d.out_channels, 192, width, norm)
        self.dropout1, self.dropout2, self.dropout3 = (Dropout(dropout) for _ in range(3))
        channels = self.Mixed_6e.out_channels
        self.SPG_A3_1b = nn.Sequential(nn.Conv2d(channels, c1024, 3, padding=1), nn.ReLU())
        self.SPG_A3_2b = nn.Sequential(nn.Conv2d(c1024, c1024, 3, padding=1), nn.ReLU())
        self.SPG_A4 = nn.Conv2d(c1024, num_classes, 1)
        self._initialise()

    def _extract(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x_NCHW)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(self.maxpool1(x)))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(self.maxpool2(x))))
        x = self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(self.maxpool3(x))))
        x = self.Mixed_6e(self.Mixed_6d(x))
        A_NKhw: torch.Tensor = self.SPG_A3_2b(self.dropout2(self.SPG_A3_1b(self.dropout1(x))))
        return A_NKhw

    def forward_head(self, A_NKhw: torch.Tensor) -> torch.Tensor:
        """Average the maps of the last convolution, one a class, over (x, y)."""
        logits_NC: torch.Tensor = self.SPG_A4(self.dropout3(A_NKhw)).mean((2, 3))
        return logits_NC

    def class_weights(self) -> torch.Tensor:
        """Return the weights (C,K) of the last convolution."""
        return self.SPG_A4.weight[:, :, 0, 0]
