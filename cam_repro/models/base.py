"""The contract of a network: last convolutional maps A, then a head that makes logits of them.

Shapes: N images, C classes, K maps of the last convolutional layer, h x w their size, H x W the
size of the input; ``x_NCHW`` is a normalised input (its C is the 3 colours).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import nn

from cam_repro.errors import UserError
from cam_repro.models.layers import (
    NORMS,
    POOLS,
    TORCHVISION,
    VARIANTS,
    ConvBlock,
    Dropout,
    check_choice,
    check_groups,
    check_number,
    scale_channels,
)

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

NEW_LAYER_STD = 0.01
"""Standard deviation of the weights of added convolutions and class layers: the authors' filler."""


class CamNetwork(nn.Module, ABC):
    """An image classifier cut in two at its last convolutional maps.

    ``forward = forward_head o forward_features``; nothing is hooked, nothing works in place on A.
    The input's normalisation belongs to the weights: it is kept in the persistent buffers
    ``pixel_mean`` and ``pixel_std`` (3,1,1), for values in [0, 1].

    num_classes: C, 1 or more. width: multiplies every channel count but that of the class layer,
    above 0. norm: ``none`` or ``batch``. dropout: probability in [0, 1). variant: one of
    ``variants``; all but ``torchvision`` are Caffe's networks, for ``.caffemodel`` weights (see
    caffe.py), and have no batch norm.
    Errors: ``UserError`` naming ``model.<key>`` for a setting out of range.
    """

    minimum_input: int
    """The smallest height and width that the network can take, pixels."""
    class_layer_name: ClassVar[str]
    """The layer with one output a class; its first dimension is C."""
    file_pixel_mean: ClassVar[tuple[float, float, float]] = IMAGENET_MEAN
    file_pixel_std: ClassVar[tuple[float, float, float]] = IMAGENET_STD
    """The normalisation wanted by a weights file that does not carry one."""
    ignored_in_files: ClassVar[tuple[str, ...]] = ()
    """Beginnings of names that files of this network hold and that it has no use for."""
    class_bias: ClassVar[float] = 0.0
    """Initial bias of the class layer."""
    variants: ClassVar[tuple[str, ...]] = VARIANTS
    """The values that ``variant`` can have."""
    caffe_pixel_mean: ClassVar[tuple[float, float, float]] = (0.0, 0.0, 0.0)
    """Red, green and blue, 0 to 255, that were subtracted before Caffe saw an image."""
    is_alike_in_caffe: ClassVar[bool] = False
    """Whether the torchvision variant, too, has the layers of Caffe's network."""
    caffe_orders: ClassVar[Mapping[tuple[str, ...], str]] = {}
    """For networks that differ in nothing but the order of layers without weights: the variants by
    the order of those layers in their caffemodels."""

    pixel_mean: torch.Tensor
    pixel_std: torch.Tensor

    def __init__(
        self,
        num_classes: int,
        width: float,
        norm: str,
        dropout: float,
        *,
        variant: str = TORCHVISION,
    ) -> None:
        super().__init__()
        if num_classes < 1:
            raise UserError(f"a network needs one class or more, not {num_classes}")
        self.num_classes = num_classes
        if check_number("width", width, 0) == 0:
            raise UserError("model.width=0: give a number above 0")
        self.norm = check_choice("norm", norm, NORMS)
        check_number("dropout", dropout, 0, 1)
        self.variant = check_choice("variant", variant, self.variants)
        if self.is_caffe and norm != "none":
            raise UserError(
                f"model.norm={norm}: Caffe's networks have none; set model.norm=none, or"
                f" model.variant={TORCHVISION}"
            )
        self.register_buffer("pixel_mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1))
        self.register_buffer("pixel_std", torch.tensor(IMAGENET_STD).view(3, 1, 1))

    @property
    def torchvision_name(self) -> str | None:
        """torchvision's network whose weights fit this one by name, None where there is none."""
        return None

    @property
    def is_caffe(self) -> bool:
        """Whether the network is built as Caffe's."""
        return self.variant != TORCHVISION

    @property
    def caffe_layers(self) -> Mapping[str, str]:
        """Caffe's names of this family's layers to ours, the one that sees the colours first.

        Ours may be layers that only another network of the family has. Empty: Caffe has no such
        network.
        """
        return {}

    def normalize(self, images_N3HW: torch.Tensor) -> torch.Tensor:
        """RGB uint8 images (N,3,H,W), 0 to 255, to the network's float32 input, on their device."""
        assert images_N3HW.dtype == torch.uint8, images_N3HW.dtype
        return (images_N3HW.float() / 255 - self.pixel_mean) / self.pixel_std

    def forward_features(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        """Maps A_NKhw of the last convolutional layer, after its ReLU.

        Errors: ``UserError`` where the input is smaller than ``minimum_input``.
        """
        height, width = x_NCHW.shape[-2:]
        if min(height, width) < self.minimum_input:
            raise UserError(
                f"an input of {width}x{height} pixels is too small: {type(self).__name__} takes"
                f" {self.minimum_input}x{self.minimum_input} or more (model.input_size)"
            )
        return self._extract(x_NCHW)

    @abstractmethod
    def _extract(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        """``forward_features`` of an input that is large enough."""

    @abstractmethod
    def forward_head(self, A_NKhw: torch.Tensor) -> torch.Tensor:
        """Logits (N,C) of maps A."""

    @abstractmethod
    def class_weights(self) -> torch.Tensor | None:
        """w_CK of the paper's eq. 2 (not detached), None where the head is not linear in A.

        With average pooling, mean over (x, y) of ``sum_k w_ck A_k`` is the logit of class c less
        the class layer's bias where it has one.
        """

    def forward(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        """Logits (N,C) of normalised inputs (N,3,H,W)."""
        return self.forward_head(self.forward_features(x_NCHW))

    def _initialise(self) -> None:
        """Draw initial weights from torch's global generator: the caller's ``manual_seed`` counts.

        Convolutions and hidden linear layers: He normal by fan-in, zero bias. Batch norm: 1 and 0.
        The added convolutions (``cam_conv*``) and the class layer: gaussian of 0.01, zero bias, as
        the authors'. Without batch norm 0.01 is a half (512 maps of width 1) to a sixth (of 64)
        of what He's rule gives, so the new maps start small; that is what the authors fine-tuned
        from, but from nothing, and narrow above all, ``norm=batch`` is the setting that trains.
        """
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.BatchNorm2d):
                module.reset_parameters()
        for name, module in self.named_modules():
            new = name.startswith("cam_conv") or name == self.class_layer_name
            if new and isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.normal_(module.weight, std=NEW_LAYER_STD)
        bias = self.get_submodule(self.class_layer_name).bias
        if isinstance(bias, torch.Tensor):
            nn.init.constant_(bias, self.class_bias)


class FullyConnectedNetwork(CamNetwork):
    """A network with fully connected layers, AlexNet and VGG as published: it has no CAM.

    A: the last convolution after its ReLU; the pooling behind it belongs to the head.
    """

    features: nn.Sequential
    pool5: nn.MaxPool2d
    avgpool: nn.AdaptiveAvgPool2d
    classifier: nn.Sequential

    def _extract(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        A_NKhw: torch.Tensor = self.features(x_NCHW)
        return A_NKhw

    def forward_head(self, A_NKhw: torch.Tensor) -> torch.Tensor:
        """Pool to the size that the first fully connected layer takes, then those layers."""
        logits_NC: torch.Tensor = self.classifier(self.avgpool(self.pool5(A_NKhw)).flatten(1))
        return logits_NC

    def class_weights(self) -> None:
        """None: the head is not linear in A."""
        return None


class PooledNetwork(CamNetwork):
    """Global pooling of A, dropout, one linear layer: the paper's head (section 2).

    pool: ``avg`` (F_k = mean over (x, y) of A_k; the paper writes the sum) or ``max`` (GMP).
    """

    def __init__(
        self,
        num_classes: int,
        width: float,
        norm: str,
        dropout: float,
        pool: str = "avg",
        *,
        variant: str = TORCHVISION,
    ) -> None:
        super().__init__(num_classes, width, norm, dropout, variant=variant)
        self.pool = check_choice("pool", pool, POOLS)
        self.dropout = Dropout(dropout)

    def _cam_groups(self, groups: int | None, *channels: int) -> int:
        """Groups of added convolutions between so many channels.

        None: 1, the paper names none; under Caffe 2, which the authors' released models have.
        """
        if groups is None:
            groups = 2 if self.is_caffe else 1
        return check_groups(groups, channels)

    def _cam_layers(
        self, channels: int, width: float, groups: int | None
    ) -> tuple[ConvBlock, nn.Linear]:
        """What the paper puts behind a cut network: 3x3 convolution of 1024 units, linear layer."""
        units = scale_channels(1024, width)
        groups = self._cam_groups(groups, channels, units)
        return ConvBlock(channels, units, 3, groups=groups, norm=self.norm), self._cam_fc(units)

    def _cam_fc(self, units: int) -> nn.Linear:
        """The added linear layer. The paper ignores the bias; the authors' models have one."""
        return nn.Linear(units, self.num_classes, bias=self.is_caffe)

    @property
    def class_layer(self) -> nn.Linear:
        """The linear layer."""
        layer = self.get_submodule(self.class_layer_name)
        assert isinstance(layer, nn.Linear)
        return layer

    def forward_head(self, A_NKhw: torch.Tensor) -> torch.Tensor:
        """S_c = sum_k w_ck F_k (plus the bias where the layer has one)."""
        F_NK = A_NKhw.mean((2, 3)) if self.pool == "avg" else A_NKhw.amax((2, 3))
        logits_NC: torch.Tensor = self.class_layer(self.dropout(F_NK))
        return logits_NC

    def class_weights(self) -> torch.Tensor:
        """The linear layer's weights (C,K)."""
        return self.class_layer.weight


class ClassMapNetwork(CamNetwork):
    """A network whose last convolution has one map a class: A is the class activation maps.

    The maps are behind a ReLU, so a class whose map is negative everywhere would get no gradient.
    From nothing the class layer's bias starts at 1 with weights of 0.01: all maps are alive.
    """

    class_bias: ClassVar[float] = 1.0

    def forward_head(self, A_NChw: torch.Tensor) -> torch.Tensor:
        """Mean over (x, y) of each class's map."""
        return A_NChw.mean((2, 3))

    def class_weights(self) -> torch.Tensor:
        """The identity (C,C)."""
        like = self.pixel_mean
        return torch.eye(self.num_classes, device=like.device, dtype=like.dtype)
