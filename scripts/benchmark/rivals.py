"""Find the same boxes in other ways: by torch-cam, pytorch-grad-cam and the one-image recipe.

Each is used as its documentation says, and in the fastest way that an expert would choose: in
batches, with processes that load images, without gradients that are not needed. All do what
cam_repro does here: read the files, find the five best classes of each image, box the maps of all
five, and compare the boxes with the true ones. (cam_repro does a little more: it also boxes by a
second box rule, and boxes the true class.)
"""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import libraries
import numpy as np
import ours
import torch
from common import Bench, Found, Network, best_iou
from floors import component_box
from measure import Variant
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import models, transforms

from cam_repro.data.image_set import ImageSet

BATCHES = (8, 32)
"""Batch sizes of torch-cam; cam_repro is compared with the faster one."""

LAYERS = {
    "resnet18": "layer4",
    "resnet50": "layer4",
    "vgg_gap": "cam_conv",
    "googlenet_gap": "cam_conv",
    "alexnet_gap": "cam_conv",
}
"""The module that makes the last maps, by network; users of those packages have to name it."""

PACKAGES = {"torch-cam": "torchcam", "pytorch-grad-cam": "pytorch_grad_cam"}
"""The module to import, by package."""


Maps = Iterator[tuple[np.ndarray, np.ndarray]]
"""For each batch the best classes, (N, R), and their maps, (N, R, h, w)."""


def missing() -> dict[str, str]:
    """List the packages that cannot be imported, and why."""
    reasons = {}
    for package, module in PACKAGES.items():
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            lacking = "" if error.name == module else f" ({error.name} is missing)"
            reasons[package] = f"not installed{lacking}"
    return reasons


@dataclass
class Ingredients:
    """Hold what users of those packages need.

    model: torchvision's own network if it has this one, with the same weights. layer: name of the
    module that makes A. class_layer: name of the linear layer.
    """

    model: nn.Module
    layer: str
    class_layer: str
    transform: transforms.Compose


def ingredients(bench: Bench, network: Network) -> Ingredients:
    """Prepare what users of those packages need."""
    own = network.model
    model: nn.Module = copy.deepcopy(own)
    if network.name in ("resnet18", "resnet50") and network.config["width"] == 1:
        model = models.get_model(network.name, num_classes=own.num_classes)
        state = {k: v for k, v in own.state_dict().items() if not k.startswith("pixel_")}
        model.load_state_dict(state)
    size = network.input_size
    return Ingredients(
        model.eval().to(bench.device),
        LAYERS[network.name],
        own.class_layer_name,
        transforms.Compose(
            [
                transforms.Resize((size, size)),
                transforms.ToTensor(),
                transforms.Normalize(own.pixel_mean.flatten(), own.pixel_std.flatten()),
            ]
        ),
    )


class PilImages(Dataset):
    """Read image files as (normalised tensor, width, height)."""

    def __init__(self, paths: Sequence[Path], transform: transforms.Compose) -> None:
        self.paths = paths
        self.transform = transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int, int]:
        image = Image.open(self.paths[index]).convert("RGB")
        return self.transform(image), *image.size


@dataclass
class Rival:
    """Find the boxes of all images in another way than cam_repro.

    of_batches: takes batches of normalised images on the device, and yields the classes and maps of
    each. found: what the last call found.
    """

    bench: Bench
    ingredients: Ingredients
    images: ImageSet
    batch: int
    workers: int
    of_batches: Callable[[Iterator[torch.Tensor]], Maps]
    found: Found | None = None

    def __call__(self) -> None:
        paths = [self.images[index].path for index in range(len(self.images))]
        loader = DataLoader(
            PilImages(paths, self.ingredients.transform),
            batch_size=self.batch,
            num_workers=self.workers,
            pin_memory=self.bench.on_gpu,
        )
        sizes: list[tuple[int, int]] = []

        def batches() -> Iterator[torch.Tensor]:
            for x_NCHW, widths, heights in loader:
                sizes.extend(zip(widths.tolist(), heights.tolist(), strict=True))
                yield x_NCHW.to(self.bench.device, non_blocking=True)

        found = Found([], [], [])
        for classes_NR, maps_NRhw in self.of_batches(batches()):
            for classes_R, maps_Rhw in zip(classes_NR, maps_NRhw, strict=True):
                index = len(found.classes_NR)
                boxes_R4 = [component_box(map_hw, *sizes[index]) for map_hw in maps_Rhw]
                found.classes_NR.append(classes_R.tolist())
                found.boxes_NR4.append(boxes_R4)
                found.iou_NR.append(best_iou(boxes_R4, self.images[index]))
        self.found = found


def torch_cam(bench: Bench, network: Network, images: ImageSet, batch: int) -> Rival:
    """Use torch-cam's ``CAM``: one forward pass, then one call for each of the five best classes.

    ``normalized=False`` gives the maps of equation 2, which the paper's threshold of 20 % of the
    maximum needs; it saves a little time, too.
    """
    from torchcam.methods import CAM

    own = ingredients(bench, network)

    def of_batches(batches: Iterator[torch.Tensor]) -> Maps:
        with CAM(own.model, own.layer, own.class_layer) as extractor:
            for x_NCHW in batches:
                with torch.inference_mode():
                    classes_NR = own.model(x_NCHW).topk(network.n_best).indices
                    maps = [
                        extractor(class_idx=classes_N.tolist(), normalized=False)[0]
                        for classes_N in classes_NR.T
                    ]
                yield classes_NR.cpu().numpy(), torch.stack(maps, dim=1).cpu().numpy()

    return Rival(bench, own, images, batch, bench.workers, of_batches)


def grad_cam(bench: Bench, network: Network, images: ImageSet, batch: int, frozen: bool) -> Rival:
    """Use pytorch-grad-cam's ``GradCAM``, which on these networks is CAM after a ReLU.

    Its maps have the size of the input and are scaled to 0..1. Each of the five calls is a forward
    and a backward pass; the first also finds the best classes. frozen: no gradients are computed
    for weights before the layer, so that the backward pass ends there. This is faster, though the
    documentation does not mention it.
    """
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    own = ingredients(bench, network)
    layer = own.model.get_submodule(own.layer)
    own.model.requires_grad_(not frozen)
    layer.requires_grad_(True)

    def of_batches(batches: Iterator[torch.Tensor]) -> Maps:
        with GradCAM(model=own.model, target_layers=[layer]) as cam:
            for x_NCHW in batches:
                maps = [cam(input_tensor=x_NCHW, targets=None)]  # of the best class
                classes_NR = cam.outputs.detach().topk(network.n_best).indices.cpu().numpy()
                for classes_N in classes_NR.T[1:]:
                    targets = [ClassifierOutputTarget(c) for c in classes_N.tolist()]
                    maps.append(cam(input_tensor=x_NCHW, targets=targets))
                yield classes_NR, np.stack(maps, axis=1)

    return Rival(bench, own, images, batch, bench.workers, of_batches)


def one_image(bench: Bench, network: Network, images: ImageSet) -> Rival:
    """Use the recipe of the authors' pytorch_CAM.py, from which most people start.

    It takes one image at a time, keeps the last maps by a forward hook, and computes equation 2 by
    numpy.
    """
    own = ingredients(bench, network)
    weights_CK = own.model.get_parameter(f"{own.class_layer}.weight").detach().cpu().numpy()

    def of_batches(batches: Iterator[torch.Tensor]) -> Maps:
        kept: list[np.ndarray] = []
        layer = own.model.get_submodule(own.layer)
        hook = layer.register_forward_hook(lambda _m, _x, A_1Khw: kept.append(A_1Khw.cpu().numpy()))
        try:
            for x_1CHW in batches:
                with torch.no_grad():
                    probabilities_C = own.model(x_1CHW).softmax(1)[0]
                classes_R = probabilities_C.argsort(descending=True)[: network.n_best].cpu().numpy()
                A_Khw = kept.pop()[0]
                K, h, w = A_Khw.shape
                maps = [weights_CK[c].dot(A_Khw.reshape(K, h * w)) for c in classes_R]
                yield classes_R[None], np.stack(maps).reshape(1, -1, h, w)
        finally:
            hook.remove()

    return Rival(bench, own, images, batch=1, workers=0, of_batches=of_batches)


def variants(bench: Bench, network: Network) -> list[Variant]:
    """Make the variants of all packages that are installed; none for a network not in ``LAYERS``.

    pytorch-grad-cam is so slow that it gets only ``few_images``.
    """
    if network.name not in LAYERS:
        return []
    images, lacking = bench.images, missing()

    def variant(name: str, rival: Rival) -> Variant:
        return Variant(name, rival, len(rival.images), rival.batch)

    found = [variant("one image at a time", one_image(bench, network, images))]
    if "torch-cam" not in lacking:
        for batch in BATCHES:
            found.append(variant(f"torch-cam {batch}", torch_cam(bench, network, images, batch)))
    if "pytorch-grad-cam" not in lacking:
        for frozen in (True, False):
            name = "pytorch-grad-cam" + (", frozen" if frozen else "")
            found.append(
                variant(name, grad_cam(bench, network, bench.few_images, BATCHES[0], frozen))
            )
    return found


def methods(bench: Bench, network: Network) -> Iterator[Variant]:
    """Make the variants for the saliency methods of libraries; none for a network not in LAYERS.

    Weights before the layer get no gradients, as an expert would have it.
    """
    if network.name not in LAYERS:
        return
    layer = LAYERS[network.name]
    for theirs in libraries.methods():
        if theirs.maps is None:
            continue
        model = copy.deepcopy(network.model).to(bench.device)
        place = libraries.Place(model, layer, model.class_layer_name, layer)
        place.module.requires_grad_(True)
        x_NCHW, classes_NR = ours.explained(bench, network, theirs.method)

        work = partial(_make_maps, theirs.maps, place, x_NCHW, classes_NR.T.tolist())
        yield Variant(f"{theirs.library} {theirs.name}", work, len(x_NCHW), len(x_NCHW))


def _make_maps(
    maps: libraries.Maps, place: libraries.Place, x_NCHW: torch.Tensor, classes_RN: list[list[int]]
) -> None:
    """Make maps and forget them: what a variant returns would count as its time."""
    maps(place, x_NCHW, classes_RN)
