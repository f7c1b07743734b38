"""Build ResNet-18 and -50 (He et al., CVPR 2016), with torchvision's names, and two for CAM.

ResNet18B is a ResNet-18 changed for CAM: without the max pool and with stride 1 in the last stage,
so that 112 pixels give 14x14 maps; with biases in the convolutions and none in the linear layer.
ResNet50-CAM is the ResNet-50 of Choe et al. (CVPR 2020): its last stage, or its last two, have
stride 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from cam_repro.errors import UserError
from cam_repro.models.base import PooledNetwork
from cam_repro.models.layers import check_flag, scale_channels
from cam_repro.models.variants import Variant, by_name

STAGE_UNITS = (64, 128, 256, 512)
"""Units of the blocks in each of the four stages, before they are multiplied by ``width``."""


def _conv(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1, bias: bool = False
) -> nn.Conv2d:
    """Make a convolution whose padding keeps the size at stride 1."""
    return nn.Conv2d(
        in_channels, out_channels, kernel, stride=stride, padding=kernel // 2, bias=bias
    )


def _shortcut(in_channels: int, out_channels: int, stride: int, bias: bool) -> nn.Module | None:
    """Make the shortcut's projection if a block changes the shape; None if it does not."""
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Sequential(
        _conv(in_channels, out_channels, 1, stride, bias), nn.BatchNorm2d(out_channels)
    )


class BasicBlock(nn.Module):
    """Run two 3x3 convolutions and add the shortcut before the last ReLU."""

    expansion = 1

    def __init__(self, in_channels: int, units: int, stride: int, bias: bool) -> None:
        super().__init__()
        self.conv1 = _conv(in_channels, units, 3, stride, bias)
        self.bn1 = nn.BatchNorm2d(units)
        self.conv2 = _conv(units, units, 3, 1, bias)
        self.bn2 = nn.BatchNorm2d(units)
        self.relu = nn.ReLU()
        self.downsample = _shortcut(in_channels, units, stride, bias)

    def forward(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        """Turn (N,C,H,W) into (N,units,H/stride,W/stride)."""
        shortcut = x_NCHW if self.downsample is None else self.downsample(x_NCHW)
        y = self.relu(self.bn1(self.conv1(x_NCHW)))
        y_NKhw: torch.Tensor = self.relu(self.bn2(self.conv2(y)) + shortcut)
        return y_NKhw


class Bottleneck(nn.Module):
    """Run a 1x1, a 3x3 and a 1x1 convolution, and add the shortcut before the last ReLU.

    The last convolution has four times the units. The 3x3 convolution has the stride, as in
    torchvision.
    """

    expansion = 4

    def __init__(self, in_channels: int, units: int, stride: int, bias: bool) -> None:
        super().__init__()
        out_channels = units * self.expansion
        self.conv1 = _conv(in_channels, units, 1, 1, bias)
        self.bn1 = nn.BatchNorm2d(units)
        self.conv2 = _conv(units, units, 3, stride, bias)
        self.bn2 = nn.BatchNorm2d(units)
        self.conv3 = _conv(units, out_channels, 1, 1, bias)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU()
        self.downsample = _shortcut(in_channels, out_channels, stride, bias)

    def forward(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        """Turn (N,C,H,W) into (N,4*units,H/stride,W/stride)."""
        shortcut = x_NCHW if self.downsample is None else self.downsample(x_NCHW)
        y = self.relu(self.bn1(self.conv1(x_NCHW)))
        y = self.relu(self.bn2(self.conv2(y)))
        y_NKhw: torch.Tensor = self.relu(self.bn3(self.conv3(y)) + shortcut)
        return y_NKhw


@dataclass(frozen=True, kw_only=True)
class ResNetVariant(Variant):
    """Describe one residual network.

    block: class of the blocks. blocks: how many each of the four stages has. stem_pool: whether a
    max pool follows the first convolution. last_stride: stride of the fourth stage. conv_bias,
    fc_bias: whether the convolutions and the linear layer have a bias.
    """

    block: type[BasicBlock | Bottleneck]
    blocks: tuple[int, int, int, int]
    stem_pool: bool = True
    last_stride: int = 2
    conv_bias: bool = False
    fc_bias: bool = True


class _ResNet(PooledNetwork):
    """Build a first convolution, four stages of blocks, GAP and a linear layer.

    Subclasses set the one variant, which has the numbers. third_stride: of the third stage.
    Errors: ``UserError`` for any norm but ``batch``: residual networks always have batch norm.
    """

    minimum_input = 1
    class_layer_name = "fc"
    built_as: ResNetVariant

    def __init__(
        self,
        *,
        num_classes: int,
        width: float = 1.0,
        norm: str = "batch",
        dropout: float = 0.0,
        third_stride: int = 2,
    ) -> None:
        super().__init__(num_classes, width, norm, dropout)
        if norm != "batch":
            raise UserError(f"model.norm={norm}: a ResNet has batch norm always, choose batch")
        variant = self.built_as
        channels = scale_channels(64, width)

        def stage(index: int, stride: int) -> nn.Sequential:
            nonlocal channels
            units = scale_channels(STAGE_UNITS[index], width)
            layers = []
            for number in range(variant.blocks[index]):
                step = stride if number == 0 else 1
                layers.append(variant.block(channels, units, step, variant.conv_bias))
                channels = units * variant.block.expansion
            return nn.Sequential(*layers)

        self.conv1 = _conv(3, channels, 7, 2, variant.conv_bias)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1) if variant.stem_pool else nn.Identity()
        self.layer1 = stage(0, 1)
        self.layer2 = stage(1, 2)
        self.layer3 = stage(2, third_stride)
        self.layer4 = stage(3, variant.last_stride)
        self.fc = nn.Linear(channels, num_classes, bias=variant.fc_bias)
        self._initialise()

    def _extract(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x_NCHW))))
        A_NKhw: torch.Tensor = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return A_NKhw


class ResNet18(_ResNet):
    """Build ResNet-18. A: (N, 512, 7, 7) at 224 pixels."""

    variants: ClassVar = by_name(
        ResNetVariant(torchvision_name="resnet18", block=BasicBlock, blocks=(2, 2, 2, 2))
    )


class ResNet18B(_ResNet):
    """Build ResNet-18 changed for CAM. A: (N, 512, 14, 14) at 112 pixels.

    It is trained from random weights: its convolutions have biases, so those of a ResNet-18 do not
    fit, although the names of the layers are the same.
    """

    variants: ClassVar = by_name(
        ResNetVariant(
            block=BasicBlock,
            blocks=(2, 2, 2, 2),
            stem_pool=False,
            last_stride=1,
            conv_bias=True,
            fc_bias=False,
        )
    )


class ResNet50(_ResNet):
    """Build ResNet-50. A: (N, 2048, 7, 7) at 224 pixels."""

    variants: ClassVar = by_name(
        ResNetVariant(torchvision_name="resnet50", block=Bottleneck, blocks=(3, 4, 6, 3))
    )
    same_layers = "Choe et al.'s ResNet50-CAM, with other strides, is model=resnet50_cam"


class ResNet50Cam(_ResNet):
    """Build the ResNet50-CAM of Choe et al., whose layers are named as those of ResNet-50.

    A: (N, 2048, 14, 14) at 224 pixels, as the fourth stage has stride 1. large_maps: the third has
    too: 28x28. Weights of a ResNet-50 fit, as strides are not in them.
    """

    variants: ClassVar = by_name(
        ResNetVariant(
            torchvision_name="resnet50", block=Bottleneck, blocks=(3, 4, 6, 3), last_stride=1
        )
    )

    def __init__(
        self,
        *,
        num_classes: int,
        width: float = 1.0,
        norm: str = "batch",
        dropout: float = 0.0,
        large_maps: bool = False,
    ) -> None:
        super().__init__(
            num_classes=num_classes,
            width=width,
            norm=norm,
            dropout=dropout,
            third_stride=1 if check_flag("large_maps", large_maps) else 2,
        )
        other = (
            "14x14 maps is model.large_maps=false"
            if large_maps
            else "28x28 maps is model.large_maps=true"
        )
        self.same_layers = f"that of {other}, ResNet-50 itself model=resnet50"
