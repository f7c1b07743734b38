"""Build VGG-16, VGGnet-GAP (paper, section 3.1) and VGG16-CAM, named as torchvision's vgg16.

Caffe's VGG-16 is the same network, except that its pools round sizes up. That makes a difference
if the input is not a multiple of 32 pixels. ``VARIANTS`` lists the differences. VGG16-CAM is the
VGGnet-GAP of Choe et al. (CVPR 2020), with their names of the added layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import nn

from cam_repro.models.base import CamNetwork, FullyConnectedNetwork, PooledNetwork
from cam_repro.models.layers import Dropout, check_flag, scale_channels
from cam_repro.models.variants import CAFFE, TORCHVISION, CaffeWeights, Variant, by_name

STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Units of the convolutions of each stage; there is a pool between two stages."""


def _caffe_layers(modules_a_convolution: int) -> dict[str, str]:
    """Map the layers of ``VGG_ILSVRC_16_layers`` and of the authors' ``vgg16CAM`` to ours.

    modules_a_convolution: how many modules ``features`` has for each convolution: the convolution,
    its batch norm if there is one, its ReLU.
    """
    layers: dict[str, str] = {}
    place = 0
    for stage, units in enumerate(STAGES, 1):
        for number in range(1, len(units) + 1):
            layers[f"conv{stage}_{number}"] = f"features.{place}"
            place += modules_a_convolution
        place += 1  # the pool
    return layers | {
        "fc6": "classifier.0",
        "fc7": "classifier.3",
        "fc8": "classifier.6",
        "CAM_conv": "cam_conv.conv",
        "CAM_fc": "cam_fc",
    }


CAFFE_LAYERS = {"none": _caffe_layers(2), "batch": _caffe_layers(3)}
"""Our layers by Caffe's, for each ``norm``: batch norms shift the numbers of later layers."""


@dataclass(frozen=True, kw_only=True)
class VggVariant(Variant):
    """Describe one way of building both networks.

    ceil_mode: whether pools round sizes up. smallest, smallest_gap: the smallest input of VGG-16
    and of VGGnet-GAP, pixels.
    """

    ceil_mode: bool
    smallest: int
    smallest_gap: int


CAFFE_WEIGHTS = CaffeWeights(CAFFE_LAYERS["none"], pixel_mean=(123.68, 116.779, 103.939))

VARIANTS = by_name(
    VggVariant(
        name=TORCHVISION,
        torchvision_name="vgg16",
        caffe=CAFFE_WEIGHTS,
        ceil_mode=False,
        smallest=32,
        smallest_gap=16,
    ),
    VggVariant(
        name=CAFFE,
        caffe=CAFFE_WEIGHTS,
        cam_groups=2,
        cam_bias=True,
        ceil_mode=True,
        smallest=1,
        smallest_gap=1,
    ),
)


class _Vgg(CamNetwork):
    """Build the convolutions, which both networks share."""

    variants: ClassVar = VARIANTS
    built_as: VggVariant

    @property
    def torchvision_name(self) -> str | None:
        """Name ``vgg16`` or ``vgg16_bn``; None for Caffe's, which normalises colours otherwise."""
        return "vgg16_bn" if self.norm_setting == "batch" else super().torchvision_name

    @property
    def caffe_layers(self) -> Mapping[str, str]:
        """Map Caffe's names of layers to ours; batch norms change the numbers in ours."""
        return CAFFE_LAYERS[self.norm_setting]

    def _features(self, width: float, pools: int = 4) -> nn.Sequential:
        """Make conv1_1 to conv5_3's ReLU with a pool between stages; 224 pixels give 14x14.

        pools: how many of the four are there, the first ones.
        """
        layers: list[nn.Module] = []
        channels = 3
        for number, stage in enumerate(STAGES):
            if 0 < number <= pools:
                layers.append(self._pool())
            for units in stage:
                in_channels, channels = channels, scale_channels(units, width)
                layers.append(nn.Conv2d(in_channels, channels, 3, padding=1))
                if self.norm_setting == "batch":
                    layers.append(nn.BatchNorm2d(channels))
                layers.append(nn.ReLU())
        return nn.Sequential(*layers)

    def _pool(self) -> nn.MaxPool2d:
        """Make one of the pools."""
        return nn.MaxPool2d(2, ceil_mode=self.built_as.ceil_mode)


class Vgg(_Vgg, FullyConnectedNetwork):
    """Build Simonyan and Zisserman's VGG-16, which has three fully connected layers and so no CAM.

    A: conv5_3 after its ReLU, (N, 512, 14, 14) at 224 pixels; pool5 belongs to the head.
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
        channels, hidden = scale_channels(512, width), scale_channels(4096, width)
        self.features = self._features(width)
        self.pool5 = self._pool()
        self.avgpool = nn.AdaptiveAvgPool2d(7)
        self.classifier = nn.Sequential(
            nn.Linear(channels * 7 * 7, hidden),
            nn.ReLU(),
            Dropout(dropout),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            Dropout(dropout),
            nn.Linear(hidden, num_classes),
        )
        self._initialise()


class VggGap(_Vgg, PooledNetwork):
    """Build VGGnet-GAP: cut after conv5_3's ReLU, 3x3 convolution of 1024 units, GAP, linear.

    A: (N, 1024, 14, 14) at 224 pixels. groups: of the added convolution; None: 2 for the variant
    ``caffe``, else 1 (the paper mentions no groups). Only the variant ``caffe``, which is the
    authors' released ``vgg16CAM``, has a bias in the linear layer.
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
        variant: str = TORCHVISION,
    ) -> None:
        super().__init__(num_classes, width, norm, dropout, variant=variant)
        self.minimum_input = self.built_as.smallest_gap
        self.features = self._features(width)
        self.cam_conv, self.cam_fc = self._cam_layers(scale_channels(512, width), width, groups)
        self._initialise()

    def _extract(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        A_NKhw: torch.Tensor = self.cam_conv(self.features(x_NCHW))
        return A_NKhw


class Vgg16Cam(_Vgg, PooledNetwork):
    """Build the VGG16-CAM of Choe et al.: cut after conv5_3's ReLU, conv6 of 1024 units, GAP, fc.

    A: (N, 1024, 14, 14) at 224 pixels. large_maps: there is no pool before the last stage: 28x28.
    Its layers then have other numbers than torchvision's (``features.23`` for ``features.24``), in
    their files too.
    """

    variants: ClassVar = by_name(replace(VARIANTS[TORCHVISION], caffe=None))
    class_layer_name = "fc"
    caffe_layers: ClassVar[Mapping[str, str]] = {}

    def __init__(
        self,
        *,
        num_classes: int,
        width: float = 1.0,
        norm: str = "none",
        dropout: float = 0.0,
        large_maps: bool = False,
    ) -> None:
        super().__init__(num_classes, width, norm, dropout)
        pools = 3 if check_flag("large_maps", large_maps) else 4
        self.large_maps = large_maps
        self.minimum_input = 2**pools
        units = scale_channels(1024, width)
        self.features = self._features(width, pools)
        self.conv6 = nn.Conv2d(scale_channels(512, width), units, 3, padding=1)
        self.relu = nn.ReLU()
        self.fc = nn.Linear(units, num_classes)
        self._initialise()

    def renamed(self, state: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
        """Count the layers after a pool that is not here one lower, in a file of VGG-16 itself.

        One of VGG16-CAM, which has ``conv6``, keeps its names: with that pool it does not fit.
        """
        if not self.large_maps or "conv6.weight" in state:
            return state
        conv5_1 = CAFFE_LAYERS[self.norm_setting]["conv5_1"]
        pool4 = int(conv5_1.removeprefix("features.")) - 1
        return {_lowered(name, pool4): tensor for name, tensor in state.items()}

    def _extract(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        A_NKhw: torch.Tensor = self.relu(self.conv6(self.features(x_NCHW)))
        return A_NKhw


def _lowered(name: str, place: int) -> str:
    """Lower the number of a layer of ``features`` by one if it is over ``place``."""
    block, _, rest = name.partition(".")
    number, _, what = rest.partition(".")
    is_behind = block == "features" and number.isdigit() and int(number) > place
    return f"features.{int(number) - 1}.{what}" if is_behind else name
