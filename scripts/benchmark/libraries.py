"""Make maps by the methods of captum, pytorch-grad-cam and torch-cam, as those libraries do.

Maps are taken as each library computes them, before it enlarges them or scales them to 0..1.
"""

from __future__ import annotations

import copy
import functools
import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from cam_repro.models.base import CamNetwork

LIBRARIES = {
    "captum": "captum.attr",
    "pytorch-grad-cam": "pytorch_grad_cam",
    "torch-cam": "torchcam.methods",
}
"""The module that has the methods, by library."""


@dataclass(frozen=True)
class Place:
    """Hold what a user of those libraries has to know of a network.

    layer: name of the module whose output is A. class_layer: the one with one output a class;
    its_input: the module whose output the class layer takes, before pooling.
    """

    network: CamNetwork
    layer: str
    class_layer: str
    its_input: str

    @property
    def module(self) -> nn.Module:
        """Give the module whose output is A."""
        return self.network.get_submodule(self.layer)


Classes = Sequence[int]
"""A class for each image."""

Maps = Callable[[Place, Tensor, Sequence[Classes]], list[Tensor]]
"""Network, x_NCHW and R times a class for each image -> R times maps_Nhw.

What a library can share among the classes of an image is computed once.
"""


@dataclass(frozen=True)
class Theirs:
    """Hold a method of a library, by our name for it; maps is None where it is not installed."""

    method: str
    library: str
    name: str
    maps: Maps | None


def _one_by_one(maps: Callable[..., Tensor]) -> Callable[..., list[Tensor]]:
    """Turn a function of a class for each image, its last argument, into one of R times a class.

    For libraries that pass the images on for each of them.
    """

    @functools.wraps(maps)
    def each(*before: Any) -> list[Tensor]:
        *same, classes_RN = before
        return [maps(*same, classes_N) for classes_N in classes_RN]

    return each


def missing() -> dict[str, str]:
    """List the libraries that cannot be imported, and which module is missing."""
    reasons = {}
    for library, module in LIBRARIES.items():
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            reasons[library] = str(error.name)
    return reasons


def methods() -> Iterator[Theirs]:
    """Yield every method that a library has and we have too."""
    lacking = missing()
    for library, found in (
        ("captum", CAPTUM),
        ("pytorch-grad-cam", PYTORCH_GRAD_CAM),
        ("torch-cam", TORCH_CAM),
    ):
        for method, (name, maps) in found.items():
            yield Theirs(method, library, name, None if library in lacking else maps)


# --- captum --------------------------------------------------------------------------------------


@_one_by_one
def _gradcam_of_captum(place: Place, x_NCHW: Tensor, classes: Classes) -> Tensor:
    from captum.attr import LayerGradCam

    gradcam = LayerGradCam(place.network, place.module)
    return gradcam.attribute(x_NCHW, list(classes), relu_attributions=True)[:, 0].detach()


@_one_by_one
def _of_colours(name: str, place: Place, x_NCHW: Tensor, classes: Classes) -> Tensor:
    """Take the maximum over the colours of the absolute values of ``captum.attr.<name>``."""
    from captum import attr

    x_NCHW = x_NCHW.clone().requires_grad_()
    if name == "GuidedGradCam":
        guided = attr.GuidedGradCam(place.network, place.module)
        found = guided.attribute(x_NCHW, list(classes), interpolate_mode="bilinear")
    else:
        found = getattr(attr, name)(place.network).attribute(x_NCHW, list(classes))
    return found.detach().abs().amax(1)


@_one_by_one
def _occlusion_of_captum(place: Place, x_NCHW: Tensor, classes: Classes) -> Tensor:
    """Hide squares of a fifth of the side in steps of a tenth: as saliency=occlusion."""
    from captum.attr import Occlusion

    side, step = round(0.2 * x_NCHW.shape[-1]), round(0.1 * x_NCHW.shape[-1])
    occlusion = Occlusion(lambda x: place.network(x).softmax(1))
    with torch.no_grad():
        return occlusion.attribute(
            x_NCHW, (3, side, side), (3, step, step), 0, list(classes), perturbations_per_eval=8
        )[:, 0]


CAPTUM: dict[str, tuple[str, Maps]] = {
    "gradcam": ("LayerGradCam", _gradcam_of_captum),
    "backprop": ("Saliency", partial(_of_colours, "Saliency")),
    "guided_backprop": ("GuidedBackprop", partial(_of_colours, "GuidedBackprop")),
    "guided_gradcam": ("GuidedGradCam", partial(_of_colours, "GuidedGradCam")),
    "occlusion": ("Occlusion", _occlusion_of_captum),
}


# --- pytorch-grad-cam ----------------------------------------------------------------------------


@_one_by_one
def _of_grad_cam(
    name: str, is_rectified: bool, place: Place, x_NCHW: Tensor, classes: Classes
) -> Tensor:
    """Compute what ``pytorch_grad_cam.<name>`` does before it enlarges and scales the map."""
    import pytorch_grad_cam
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    targets = [ClassifierOutputTarget(each) for each in classes]
    with getattr(pytorch_grad_cam, name)(place.network, [place.module]) as cam:
        logits_NC = cam.activations_and_grads(x_NCHW)
        gradients = None
        if cam.uses_gradients:
            scores = [target(row_C) for target, row_C in zip(targets, logits_NC, strict=True)]
            torch.stack(scores).sum().backward()
            place.network.zero_grad()
            gradients = cam.activations_and_grads.gradients[0].numpy()
        A_NKhw = cam.activations_and_grads.activations[0].numpy()
        maps = cam.get_cam_image(x_NCHW, place.module, targets, A_NKhw, gradients, False)
    maps_Nhw = torch.from_numpy(np.asarray(maps))
    return relu(maps_Nhw) if is_rectified else maps_Nhw


def _eigencam_of_grad_cam(
    place: Place, x_NCHW: Tensor, classes_RN: Sequence[Classes]
) -> list[Tensor]:
    """Compute the one map that all classes of an image have."""
    from pytorch_grad_cam.utils.svd_on_activations import get_2d_projection

    with torch.no_grad():
        A_NKhw = place.network.forward_features(x_NCHW).cpu().numpy()
    return [torch.from_numpy(get_2d_projection(A_NKhw))] * len(classes_RN)


@_one_by_one
def _guided_of_grad_cam(place: Place, x_NCHW: Tensor, classes: Classes) -> Tensor:
    """Compute an image at a time, as the class takes no more, by a copy, as it replaces layers."""
    from pytorch_grad_cam import GuidedBackpropReLUModel

    guided = GuidedBackpropReLUModel(copy.deepcopy(place.network))
    gradients = [
        guided(x_CHW[None].clone(), each) for x_CHW, each in zip(x_NCHW, classes, strict=True)
    ]
    return torch.from_numpy(np.abs(np.stack(gradients)).max(-1))


PYTORCH_GRAD_CAM: dict[str, tuple[str, Maps]] = {
    "gradcam": ("GradCAM", partial(_of_grad_cam, "GradCAM", True)),
    "gradcam_pp": ("GradCAMPlusPlus", partial(_of_grad_cam, "GradCAMPlusPlus", True)),
    "hirescam": ("HiResCAM", partial(_of_grad_cam, "HiResCAM", False)),
    "layercam": ("LayerCAM", partial(_of_grad_cam, "LayerCAM", True)),
    "xgradcam": ("XGradCAM", partial(_of_grad_cam, "XGradCAM", True)),
    "eigencam": ("EigenCAM", _eigencam_of_grad_cam),
    "guided_backprop": ("GuidedBackpropReLUModel", _guided_of_grad_cam),
    "scorecam": ("ScoreCAM", partial(_of_grad_cam, "ScoreCAM", True)),
}


# --- torch-cam -----------------------------------------------------------------------------------


def _of_torch_cam(
    name: str, place: Place, x_NCHW: Tensor, classes_RN: Sequence[Classes]
) -> list[Tensor]:
    """Compute what ``torchcam.methods.<name>`` does before it scales the map.

    It is asked for one class after another, after one forward pass.
    """
    from torchcam import methods

    made_by = getattr(methods, name)
    if name == "CAM":
        extractor = made_by(place.network, place.its_input, place.class_layer)
    else:
        extractor = made_by(place.network, place.layer)
    with extractor:
        if name in ("CAM", "ScoreCAM"):
            with torch.no_grad():
                place.network(x_NCHW)
                return [extractor(list(each), normalized=False)[0] for each in classes_RN]
        logits_NC = place.network(x_NCHW)
        return [
            extractor(list(each), logits_NC, normalized=False, retain_graph=True)[0]
            for each in classes_RN
        ]


TORCH_CAM: dict[str, tuple[str, Maps]] = {
    "cam": ("CAM", partial(_of_torch_cam, "CAM")),
    "gradcam": ("GradCAM", partial(_of_torch_cam, "GradCAM")),
    "gradcam_pp": ("GradCAMpp", partial(_of_torch_cam, "GradCAMpp")),
    "layercam": ("LayerCAM", partial(_of_torch_cam, "LayerCAM")),
    "xgradcam": ("XGradCAM", partial(_of_torch_cam, "XGradCAM")),
    "scorecam": ("ScoreCAM", partial(_of_torch_cam, "ScoreCAM")),
}
