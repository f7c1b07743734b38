"""Define what every network does: make maps A from an image, then logits from the maps.

Shapes: N images, C classes, K maps of the last convolutional layer, h x w their size, H x W the
size of the input; ``x_NCHW`` is a normalised input (its C is the 3 colours).
"""

from __future__ import annotations

import contextlib
import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import nn

from cam_repro.errors import UserError
from cam_repro.models.layers import (
    NORMS,
    POOLS,
    ConvBlock,
    Dropout,
    check_choice,
    check_colours,
    check_groups,
    check_number,
    scale_channels,
    some_layers,
)
from cam_repro.models.variants import TORCHVISION, Variant, by_name

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

NEW_LAYER_STD = 0.01
"""Standard deviation of the initial weights of added layers and class layers, as the authors'."""


class CamNetwork(nn.Module, ABC):
    """Classify images in two steps: images to maps A, maps to logits.

    Commands, saliency methods and the code that loads weights use only what this class defines. To
    add a network, write a subclass, and a YAML in ``configs/model/`` (or in your own
    ``--config-dir``) whose ``_target_`` names it. Derive it from the class that has the head of
    your network:

    - ``PooledNetwork``: global pooling, then one linear layer, as in ResNet and the paper's -GAP
      networks. CAM works.
    - ``ClassMapNetwork``: a last convolution with one map a class, averaged, as in NIN. CAM works.
    - ``FullyConnectedNetwork``: several fully connected layers, as in AlexNet. No CAM; the saliency
      methods that use gradients work.
    - ``CamNetwork``: any other head, which you write yourself.

    Then write:

    - The class attributes ``minimum_input`` and ``class_layer_name``, explained below. The other
      attributes below have defaults, which suit most networks.
    - ``__init__(self, *, num_classes, width=1.0, norm="none", dropout=0.0)``, with more arguments
      if you like: the keys of the YAML are its arguments. Begin it with
      ``super().__init__(num_classes, width, norm, dropout)``, make the layers, and end it with
      ``self._initialise()``, which draws their weights.
    - ``_extract(self, x_NCHW)``: returns A_NKhw, the maps of the last convolution after its ReLU.
    - ``forward_head(self, A_NKhw)``, which returns logits_NC, and ``class_weights(self)``, which
      returns w_CK or None: only if you derive from ``CamNetwork`` itself; the other three have
      them. Never change A in place: a saliency method may still need it.

    Layers may have any names but those of the methods and attributes defined here, such as
    ``normalize``; ``UserError`` says so. ``build_network`` tries the network out: what
    ``class_weights`` promises must hold (trial.py).

    Weights only work with the normalisation of the input that they were trained with. So it is
    saved with them, in the buffers ``pixel_mean`` and ``pixel_std`` (3,1,1), for colours in [0, 1].
    ``normalize`` applies it.

    num_classes: C, 1 or more. width: above 0; multiplies the channels of every layer except the
    class layer. norm: ``none`` or ``batch``. dropout: probability in [0, 1). variant: a name in
    ``variants``; all except ``torchvision`` are Caffe's networks, for ``.caffemodel`` weights (see
    caffe.py), and have no batch norm.
    Errors: ``UserError`` naming ``model.<key>`` for a setting out of range.
    """

    minimum_input: int
    """The smallest height and width that the network can take, pixels."""
    class_layer_name: str
    """Name of the layer with one output a class, such as ``fc``; its weight is (C, ...)."""
    file_pixel_mean: tuple[float, float, float] = IMAGENET_MEAN
    file_pixel_std: tuple[float, float, float] = IMAGENET_STD
    """The normalisation to use with a file of weights that does not contain one; for [0, 1]."""
    file_colours: str = ""
    """What a message says of that normalisation, if there is more to say than the numbers."""
    same_layers: str = ""
    """Which other networks have layers of the same names and shapes, for a message about a file."""
    ignored_in_files: ClassVar[tuple[str, ...]] = ()
    """Prefixes of the names of layers that files of weights have and the network does not need."""
    tried_when_made: ClassVar[bool] = False
    """Whether ``__init__`` finds out by trial what the network can do (adapted.py)."""
    class_bias: ClassVar[float] = 0.0
    """Initial bias of the class layer."""
    variants: ClassVar[Mapping[str, Variant]] = by_name(Variant())
    """The variants that the network can be built as, by the value of ``model.variant``."""

    head_pool: str = "avg"
    """How the head pools A over (x, y): ``avg`` or ``max``."""
    stated_colours: frozenset[str] = frozenset()
    """Of ``pixel_mean`` and ``pixel_std``, what the settings state: no file replaces it."""
    built_as: Variant
    """The variant that this network is built as."""
    norm_setting: str
    """The setting ``norm`` that it is built with."""
    num_classes: int
    """C, the number of classes."""
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
        self.norm_setting = check_choice("norm", norm, NORMS)
        check_number("dropout", dropout, 0, 1)
        self.built_as = self.variants[check_choice("variant", variant, self.variants)]
        if self.built_as.is_caffe and norm != "none":
            raise UserError(
                f"model.norm={norm}: Caffe's networks have none; set model.norm=none, or"
                f" model.variant={TORCHVISION}"
            )
        self.register_buffer("pixel_mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1))
        self.register_buffer("pixel_std", torch.tensor(IMAGENET_STD).view(3, 1, 1))

    def __setattr__(self, name: str, value: Any) -> None:
        """Set an attribute; ``UserError`` for a layer with a name in use here, or for a value that
        takes the place of a method.
        """
        ours = inspect.getattr_static(type(self), name, None) if name in vars(CamNetwork) else None
        is_method = callable(ours) or isinstance(ours, classmethod | staticmethod)
        is_read = isinstance(ours, property) and ours.fset is None
        if (
            is_read
            or (is_method and not callable(value))
            or isinstance(value, nn.Module)  # a parameter comes to register_parameter
        ):
            self._refuse_name_in_use(name)
        super().__setattr__(name, value)

    def add_module(self, name: str, module: nn.Module | None) -> None:
        """Add a layer; ``UserError`` for a name that is in use here."""
        self._refuse_name_in_use(name)
        super().add_module(name, module)

    def register_parameter(self, name: str, param: nn.Parameter | None) -> None:
        """Add a parameter; ``UserError`` for a name that is in use here."""
        self._refuse_name_in_use(name)
        super().register_parameter(name, param)

    def register_buffer(
        self, name: str, tensor: torch.Tensor | None, persistent: bool = True
    ) -> None:
        """Add a buffer; ``UserError`` for a name in use here, but those of the normalisation."""
        if name not in ("pixel_mean", "pixel_std"):
            self._refuse_name_in_use(name)
        super().register_buffer(name, tensor, persistent)

    def _refuse_name_in_use(self, name: str) -> None:
        """Raise UserError where the base classes in this file have something of that name."""
        ours = [cls for cls in type(self).__mro__ if cls.__module__ == __name__]
        if any(name in vars(cls) for cls in ours) or name in CamNetwork.__annotations__:
            raise UserError(
                f"{type(self).__name__} has a layer or value named {name}, which has another "
                "meaning in a CamNetwork: give it another name"
            )

    @classmethod
    def complete(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Fill in settings that the YAML leaves to the class by null; here there are none.

        settings: all keys of the YAML, those in ``build.ABOUT`` too.
        """
        return dict(settings)

    def named_weights(self, source: str) -> Mapping[str, torch.Tensor] | None:
        """Give the tensors that ``model.weights=source`` stands for; None if it names a file.

        Errors: ``UserError``, saying how to get them, if they cannot be had.
        """
        return None

    def renamed(self, state: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
        """Give the tensors of a file of weights the names that this network's layers have."""
        return state

    @property
    def no_maps(self) -> str | None:
        """Say why the network has no maps A, only class scores; None if it has maps."""
        return None

    @property
    def no_cam(self) -> str | None:
        """Say why the network has no CAM; None if it has."""
        has_cam = self.class_weights() is not None
        return None if has_cam else "it has no linear layer over pooled maps"

    @property
    def torchvision_name(self) -> str | None:
        """Name torchvision's network whose weights fit this one; None if there is none."""
        return self.built_as.torchvision_name

    @property
    def caffe_layers(self) -> Mapping[str, str]:
        """Map Caffe's names of layers to ours (see ``CaffeWeights``); empty if no file fits."""
        return {} if self.built_as.caffe is None else self.built_as.caffe.layers

    def state_colours(self, **colours: object) -> None:
        """Set the normalisation of the input as the settings state it; None: left as it is.

        colours: ``pixel_mean`` and ``pixel_std``, for colours in [0, 1].
        Errors: ``UserError`` for what is not three numbers, for numbers above 1, which are of
        colours of 0 to 255, or a ``pixel_std`` of 0 or less.
        """
        stated = {key: value for key, value in colours.items() if value is not None}
        for key, value in stated.items():
            self.get_buffer(key).copy_(check_colours(key, value))
        self.stated_colours = frozenset(stated)

    def normalize(self, images_N3HW: torch.Tensor) -> torch.Tensor:
        """Turn RGB images, uint8 (N,3,H,W), into the network's float32 input, on their device."""
        assert images_N3HW.dtype == torch.uint8, images_N3HW.dtype
        return (images_N3HW.float() / 255 - self.pixel_mean) / self.pixel_std

    def forward_features(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        """Compute maps A_NKhw of the last convolutional layer, after its ReLU.

        Errors: ``UserError`` if the input is smaller than ``minimum_input``.
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
        """Compute maps A_NKhw as ``forward_features`` does, without checking the input's size."""

    @abstractmethod
    def forward_head(self, A_NKhw: torch.Tensor) -> torch.Tensor:
        """Compute logits (N,C) of maps A."""

    @abstractmethod
    def class_weights(self) -> torch.Tensor | None:
        """Return w_CK of the paper's equation 2, not detached; None if the network has no CAM.

        A network has CAM if its head is one linear layer over pooled maps. With average pooling,
        the logit of class c is the mean over (x, y) of ``sum_k w_ck A_k``, plus the bias of the
        class layer if there is one.
        """

    def named_class_layer(self) -> nn.Module:
        """Give the layer that ``class_layer_name`` names; ``UserError`` where there is none."""
        name = getattr(self, "class_layer_name", None)
        if name:
            with contextlib.suppress(AttributeError):
                return self.get_submodule(name)
        raise UserError(
            f"{type(self).__name__} has no layer {name}, which its class_layer_name should name; "
            f"it has {some_layers(dict(self.named_modules()))}"
        )

    def forward(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        """Compute logits (N,C) of normalised inputs (N,3,H,W)."""
        return self.forward_head(self.forward_features(x_NCHW))

    def _initialise(self) -> None:
        """Draw initial weights from torch's global generator; ``torch.manual_seed`` fixes them.

        Convolutions and hidden linear layers: He normal by fan-in, zero bias. Batch norm: scale 1,
        bias 0. Added convolutions (named ``cam_conv...``) and the class layer: normal with standard
        deviation 0.01, bias zero or ``class_bias``, as the authors'. For a 3x3 convolution that is
        half of what He's rule gives for 512 input channels, and a sixth for 64, so without batch
        norm the added maps start small. This suits fine-tuning, as the authors did it. To train
        from random weights, above all a narrow network, use ``norm=batch``.
        """
        class_layer = self.named_class_layer()
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.BatchNorm2d):
                module.reset_parameters()
        for name, module in self.named_modules():
            new = name.startswith("cam_conv") or module is class_layer
            if new and isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.normal_(module.weight, std=NEW_LAYER_STD)
        bias = getattr(class_layer, "bias", None)
        if isinstance(bias, torch.Tensor):
            nn.init.constant_(bias, self.class_bias)


class FullyConnectedNetwork(CamNetwork):
    """Classify by fully connected layers, as AlexNet and VGG-16 do; such a network has no CAM.

    A: the last convolution after its ReLU; the pooling after it belongs to the head. A subclass
    makes the four layers declared here.
    """

    features: nn.Sequential
    pool5: nn.MaxPool2d
    avgpool: nn.AdaptiveAvgPool2d
    classifier: nn.Sequential

    def _extract(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        A_NKhw: torch.Tensor = self.features(x_NCHW)
        return A_NKhw

    def forward_head(self, A_NKhw: torch.Tensor) -> torch.Tensor:
        """Pool to the size that the first fully connected layer takes, then run those layers."""
        logits_NC: torch.Tensor = self.classifier(self.avgpool(self.pool5(A_NKhw)).flatten(1))
        return logits_NC

    def class_weights(self) -> None:
        """Return None: the head is not linear in A."""
        return None


class PooledNetwork(CamNetwork):
    """Classify by global pooling of A, dropout and one linear layer: the paper's head (section 2).

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
        self.head_pool = check_choice("pool", pool, POOLS)
        self.head_dropout = Dropout(dropout)

    def _cam_groups(self, groups: int | None, *channels: int) -> int:
        """Give the number of groups of the added convolutions, after checking it.

        groups: None: the variant's number, which is 1 (the paper mentions no groups) or 2 (the
        authors' released networks). channels: inputs and outputs of the convolutions.
        Errors: ``UserError`` if the number does not divide all of ``channels``.
        """
        return check_groups(self.built_as.cam_groups if groups is None else groups, channels)

    def _cam_layers(
        self, channels: int, width: float, groups: int | None
    ) -> tuple[ConvBlock, nn.Linear]:
        """Make the layers that the paper adds: a 3x3 convolution of 1024 units, a linear layer."""
        units = scale_channels(1024, width)
        groups = self._cam_groups(groups, channels, units)
        conv = ConvBlock(channels, units, 3, groups=groups, norm=self.norm_setting)
        return conv, self._cam_fc(units)

    def _cam_fc(self, units: int) -> nn.Linear:
        """Make the added linear layer: no bias, as in the paper, or one, as in Caffe's variants."""
        return nn.Linear(units, self.num_classes, bias=self.built_as.cam_bias)

    @property
    def class_layer(self) -> nn.Linear:
        """Give the linear layer that ``class_layer_name`` names."""
        layer = self.named_class_layer()
        assert isinstance(layer, nn.Linear)
        return layer

    def forward_head(self, A_NKhw: torch.Tensor) -> torch.Tensor:
        """Compute logits S_c = sum_k w_ck F_k (section 2), plus the bias if the layer has one."""
        F_NK = A_NKhw.mean((2, 3)) if self.head_pool == "avg" else A_NKhw.amax((2, 3))
        class_layer = self.get_submodule(self.class_layer_name)
        logits_NC: torch.Tensor = class_layer(self.head_dropout(F_NK))
        return logits_NC

    def class_weights(self) -> torch.Tensor:
        """Return the linear layer's weights (C,K)."""
        return self.class_layer.weight


class ClassMapNetwork(CamNetwork):
    """Classify by the mean of one map a class; the maps A are the class activation maps.

    The maps come out of a ReLU, so a class whose map is 0 everywhere would get no gradient. To
    avoid this, the class layer starts with bias 1 and weights of about 0.01: all maps are positive.
    """

    class_bias: ClassVar[float] = 1.0

    def forward_head(self, A_NChw: torch.Tensor) -> torch.Tensor:
        """Average each class's map over (x, y)."""
        return A_NChw.mean((2, 3))

    def class_weights(self) -> torch.Tensor:
        """Return the identity (C,C), because A has one map a class."""
        like = self.pixel_mean
        return torch.eye(self.num_classes, device=like.device, dtype=like.dtype)
