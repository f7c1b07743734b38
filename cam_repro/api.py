"""Explain images from Python: ``cam_repro.explain`` and ``cam_repro.load_network``.

Networks, saliency methods, views and box rules are those of the commands: the names of the files in
``configs/``, with the same settings. The boxes of an image are those that ``cam-eval`` finds in it.
Only photographs that carry an EXIF rotation differ: here they are turned upright, while scoring
ignores the rotation, because true boxes refer to the pixels as stored.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from omegaconf import OmegaConf
from PIL import Image
from torch import nn

from cam_repro.boxes.base import BoxRule, RankedMaps
from cam_repro.boxes.build import build_rules
from cam_repro.classes import classes_of, find_class, ilsvrc_classes
from cam_repro.config import choices, compose_choice
from cam_repro.data.images import read_upright, upright
from cam_repro.data.views import build_view
from cam_repro.engine.checkpoint import load_if_ours
from cam_repro.engine.compute import Compute
from cam_repro.engine.evaluate import Explainer, Pass
from cam_repro.engine.hardware import pick_device, pick_precision
from cam_repro.errors import UserError, one_of
from cam_repro.figures.explained import draw_overlay, draw_sheet, png_of
from cam_repro.figures.pictures import say_percent
from cam_repro.figures.style import save
from cam_repro.models.adapted import ModuleNetwork
from cam_repro.models.base import CamNetwork
from cam_repro.models.build import build_network, check_sizes, check_stored_class, complete
from cam_repro.models.layers import check_count
from cam_repro.models.trial import check_promises
from cam_repro.models.weights import load_weights
from cam_repro.runs.folders import NO_MODEL, network_name, run_name
from cam_repro.saliency.base import Saliency
from cam_repro.saliency.build import default_saliency, refuse_unfit, saliency_of
from cam_repro.types import MAX_GUESSES, Box, Guess
from cam_repro.words import composed_from

DEFAULT_NETWORK = "efficientnet_lite0"
"""The network that explains photographs when none is named: its weights come with a package."""

log = logging.getLogger(__name__)

Picture = str | Path | Image.Image | np.ndarray
"""An image: a path, a Pillow image, or an array of uint8, (H, W, 3) RGB or (H, W) grey."""

Choice = str | Mapping[str, Any]
"""A name, as in ``view="ten"``; or a name and settings: ``{"name": "backprop", "blur": 0.0}``."""

AT_A_TIME = 8
"""Photographs in memory at a time, each with some tens of megabytes."""

ABOUT_MODULES = ("input_size", "resize_size", "interpolation")
"""Settings of a module from elsewhere, besides its normalisation."""

Classes = Sequence[str | int] | str | int | None
"""Names, WordNet ids or indices of classes; None: the best ones."""


@dataclass(eq=False)
class Explanation:
    """Hold what a network says about one image: classes, a map of each, boxes.

    image: the image, upright, RGB.
    classes: class indices, best first; or those that were asked for, in the order asked.
    names, scores: name and probability (0 to 1) of each of these classes.
    maps: the map of each, float32 (R, h, w), over the whole image. They are raw, that is not
        rectified and not normalised, unless the saliency method or the view does so itself.
    boxes: for each box rule a list of (class index, (x0, y0, x1, y1)). Both ends are included,
        counted from 0, in pixels of ``image``.
    network, saliency: by which it was made.
    interpolation: how maps are enlarged, ``linear`` or ``cubic``.
    """

    image: Image.Image
    classes: list[int]
    names: list[str]
    scores: list[float]
    maps: np.ndarray
    boxes: dict[str, list[Guess]]
    network: str
    saliency: str
    interpolation: str

    def map(self, rank: int = 0) -> np.ndarray:
        """Give the map of a class at the image's size, float32 (height, width), raw.

        rank: the place of the class in ``classes``.
        """
        maps = RankedMaps(self.classes, self.maps, *self.image.size, None, self.interpolation)
        return maps.at_image_size(range(len(self.classes))[rank])

    def box(self, rank: int = 0, rule: str | None = None) -> Box | None:
        """Give the first box of a class; None if the rule guesses none for it.

        rank: the place of the class in ``classes``. rule: None: the first one.
        """
        if not self.boxes:
            return None
        if rule is not None:
            one_of("rule", rule, self.boxes)
        guesses = self.boxes[next(iter(self.boxes)) if rule is None else rule]
        return next((box for index, box in guesses if index == self.classes[rank]), None)

    def save(self, path: str | Path, rank: int = 0, rule: str | None = None) -> None:
        """Draw the map of a class over the image, with its box, to a PNG, PDF or SVG.

        rank: the place of the class in ``classes``. rule: whose box; None: the first rule's. The
        picture is as large as the image, within 480 and 3,000 pixels on its longer side. Raises
        UserError for another suffix.
        """
        save(draw_overlay(self, rank, rule), path)

    def save_sheet(self, path: str | Path) -> None:
        """Draw the image and beside it the map of each class: the paper's Figure 4."""
        save(draw_sheet([self]), path)

    def _repr_png_(self) -> bytes:
        """Show the image and the map of each class in a notebook."""
        return png_of(draw_sheet([self]))

    def __repr__(self) -> str:
        width, height = self.image.size
        lines = [f"{self.saliency} of {self.network}, image of {width}x{height} pixels"]
        lines.append(f"{'class':>6}  {'prob.':>6}  {'name':24} boxes (x0, y0, x1, y1)")
        for rank, (name, score) in enumerate(zip(self.names, self.scores, strict=True)):
            boxes = [f"{rule} {self.box(rank, rule)}" for rule in self.boxes]
            first = f"{self.classes[rank]:>6}  {say_percent(score, 1):>6}  {name:24}"
            lines.append(f"{first} {'  '.join(boxes)}")
        return "\n".join(lines)


@dataclass(eq=False)
class LoadedNetwork:
    """Hold a network with its weights, ready to explain images; ``load_network`` makes it.

    network: the network itself. names: of its classes, by class index. settings: those of its YAML
    file, such as ``input_size``. compute: device and precision. wnids: WordNet ids of its classes;
    empty if they have none.
    """

    network: CamNetwork
    names: Sequence[str]
    settings: dict[str, Any]
    compute: Compute
    wnids: Sequence[str] = ()

    @property
    def name(self) -> str:
        """The network's name."""
        return run_name(self.settings)

    def __repr__(self) -> str:
        size = self.settings["input_size"]
        return (
            f"LoadedNetwork({self.name}, {len(self.names):,} classes, input of {size}x{size} "
            f"pixels, {self.compute.device})"
        )

    def explain(
        self,
        image: Picture,
        *,
        classes: Classes = None,
        saliency: Choice | None = None,
        view: Choice = "squash",
        box: Choice | Sequence[Choice] = "threshold",
        top: int = 5,
    ) -> Explanation:
        """Explain one image; see ``cam_repro.explain``."""
        if isinstance(image, (list, tuple)) or getattr(image, "ndim", 0) == 4:
            raise UserError("explain takes one image; explain_each takes several")
        images = self.explain_each(
            [image], classes=classes, saliency=saliency, view=view, box=box, top=top
        )
        return next(images)

    def explain_each(
        self,
        images: Iterable[Picture],
        *,
        classes: Classes = None,
        saliency: Choice | None = None,
        view: Choice = "squash",
        box: Choice | Sequence[Choice] = "threshold",
        top: int = 5,
    ) -> Iterator[Explanation]:
        """Explain images one after another, a few at a time; see ``cam_repro.explain``."""
        method = self._saliency(saliency)
        rules = [box] if isinstance(box, (str, Mapping)) else list(box)
        named_rules = {_name("box", rule): _settings("box", rule) for rule in rules}
        this_pass = Pass(
            self.network,
            method,
            build_view(_settings("view", view), self.settings),
            build_rules(named_rules),
        )
        asked = None if classes is None else self._indices(classes)
        if not isinstance(top, int) or top < 1:
            raise UserError(f"top={top}: give a whole number, 1 or more")
        if isinstance(images, (str, Path)):
            raise UserError(f"{images}: explain_each takes several images; explain takes one")
        explainer = Explainer(this_pass, self.compute, 0 if asked is not None else top)
        at_a_time = min(AT_A_TIME, this_pass.images_at_a_time(self.compute))
        remaining = iter(images)
        while some := list(islice(remaining, at_a_time)):
            names = [str(image) if isinstance(image, (str, Path)) else "image" for image in some]
            pictures = [_read(image) for image in some]
            yield from self._of_batch(explainer, names, pictures, asked)

    def _of_batch(
        self,
        explainer: Explainer,
        names: list[str],
        pictures: list[Image.Image],
        asked: list[int] | None,
    ) -> Iterator[Explanation]:
        """Explain a few images by one forward pass. names: theirs, for messages."""
        view, rules = explainer.this_pass.view, explainer.this_pass.rules
        crops = np.stack([view.crops(picture) for picture in pictures])
        asked_NA = torch.tensor([asked or []] * len(pictures), dtype=torch.int64)
        with explainer.ready():
            explained = explainer(torch.from_numpy(crops).permute(0, 1, 4, 2, 3), asked_NA)
        for picture, found in zip(pictures, explained.of_images(names), strict=True):
            classes = found.classes_R.tolist()
            pixels = np.asarray(picture) if any(r.needs_image for r in rules.values()) else None
            frames = view.merge(found.maps_VRhw)
            maps = RankedMaps(classes, frames, *picture.size, pixels, view.interpolation)
            yield Explanation(
                image=picture,
                classes=classes,
                names=[self.names[index] for index in classes],
                scores=found.probabilities_R.tolist(),
                maps=frames,
                boxes={name: _guesses(rule, maps, asked is None) for name, rule in rules.items()},
                network=str(self.settings["row"]),
                saliency=explainer.this_pass.saliency.name,
                interpolation=view.interpolation,
            )

    def _saliency(self, wanted: Choice | None) -> Saliency:
        """Build the saliency method; refuse one that does not work on the network."""
        if wanted is None:
            method = default_saliency(self.network)
            if (reason := self.network.no_cam) is not None:
                log.warning(
                    "%s has no CAM (%s): saliency=%s is used", self.name, reason, method.name
                )
            return method
        method = saliency_of(_settings("saliency", wanted))
        refuse_unfit(method, self.network, self.name)
        return method

    def _indices(self, classes: Sequence[str | int] | str | int) -> list[int]:
        """Give the class indices of names, WordNet ids or indices."""
        given: Any = classes
        wanted = (
            list(given) if isinstance(given, Iterable) and not isinstance(given, str) else [given]
        )
        if not wanted:
            raise UserError("classes is empty: name some, or leave it out for the best ones")
        return [find_class(one, self.names, self.wnids) for one in wanted]


def load_network(
    model: str | Mapping[str, Any] | nn.Module | None = None,
    *,
    weights: str | Path | None = None,
    layer: str | None = None,
    class_names: Sequence[str] | None = None,
    device: str = "auto",
    precision: str = "auto",
    **settings: Any,
) -> LoadedNetwork:
    """Build a network and load its weights, to explain many images with it.

    model: the NAME of ``model=NAME`` (configs/model), or any ``nn.Module``. None: that of the
        checkpoint given by ``weights``, or else EfficientNet-Lite0.
    weights: ``torchvision``, ``timm``, ``package``, or a file: a run's checkpoint, a state dict, a
        .safetensors, a .caffemodel. None: pretrained ImageNet weights, if there are any.
    layer: of an ``nn.Module``, the name of its last convolutional layer, or of the group of layers
        that ends with it (``layer4``).
    class_names: of the classes, by class index; None: those of the checkpoint, or else ILSVRC's.
    device, precision: as for ``cam-eval``.
    settings: other keys of the network's YAML, such as ``timm="resnet50.a1_in1k"``. For an
        ``nn.Module``: ``input_size`` (224), ``resize_size`` (8/7 of it), ``interpolation``
        (bilinear), ``pixel_mean`` and ``pixel_std`` (ImageNet's, for colours in [0, 1]).
    Errors: ``UserError`` with the remedy for all that cannot be built, found or read.
    """
    place = pick_device(device)
    compute = Compute(place, pick_precision(precision, place))
    if isinstance(model, nn.Module):
        if weights is not None:
            raise UserError(
                f"weights={weights}: is for the networks of configs/model; load it into the module"
            )
        return _adapt(model, layer, class_names, settings, compute)
    if layer is not None:
        raise UserError(
            f"layer={layer} is for an nn.Module; the networks of configs/model have one"
        )
    choice = {"name": model} if isinstance(model, str) else dict(model or {})
    weights = choice.pop("weights", None) if weights is None else weights
    stored = load_if_ours(weights)
    given = {key: value for key, value in {**choice, **settings}.items() if key != "name"}
    named = _settings("model", {"name": DEFAULT_NETWORK, **choice, **settings})
    if named.get("name") == NO_MODEL:
        raise UserError(f"model={NO_MODEL} is no network: leave model out, or name one")
    config = named if stored is None else {**stored["model_config"], **given}
    if given.get("take_classes"):
        raise UserError("model.take_classes is for the classes of a data set: leave it out")
    if stored is not None:
        if choice and run_name(named) != network_name(config):
            raise UserError(
                f"{weights} holds the network {network_name(config)}, not {run_name(named)}: leave "
                "out model"
            )
        check_stored_class(stored["model_config"], str(weights), named if choice else None)
    config = complete(config)
    weights = config.get("pretrained") if weights is None else weights
    if weights is None:
        raise UserError(
            f"model={run_name(config)} has no pretrained weights: give model.weights=FILE "
            "(in Python weights=FILE), such as the checkpoint of a run of cam-train "
            "(runs/.../train/last.pt)"
        )
    names, wnids = _class_names(stored, class_names)
    network = build_network(config, len(names))
    load_weights(
        network,
        str(weights),
        name=run_name(config),
        strict=True,
        input_size=config.get("input_size"),
    )
    return LoadedNetwork(network, names, config, compute, wnids)


@overload
def explain(
    image: Picture,
    *,
    classes: Classes = ...,
    model: str | Mapping[str, Any] | nn.Module | LoadedNetwork | None = ...,
    weights: str | Path | None = ...,
    saliency: Choice | None = ...,
    view: Choice = ...,
    box: Choice | Sequence[Choice] = ...,
    top: int = ...,
    device: str = ...,
) -> Explanation: ...


@overload
def explain(
    image: list[Picture] | tuple[Picture, ...],
    *,
    classes: Classes = ...,
    model: str | Mapping[str, Any] | nn.Module | LoadedNetwork | None = ...,
    weights: str | Path | None = ...,
    saliency: Choice | None = ...,
    view: Choice = ...,
    box: Choice | Sequence[Choice] = ...,
    top: int = ...,
    device: str = ...,
) -> list[Explanation]: ...


def explain(
    image: Picture | list[Picture] | tuple[Picture, ...],
    *,
    classes: Classes = None,
    model: str | Mapping[str, Any] | nn.Module | LoadedNetwork | None = None,
    weights: str | Path | None = None,
    saliency: Choice | None = None,
    view: Choice = "squash",
    box: Choice | Sequence[Choice] = "threshold",
    top: int = 5,
    device: str = "auto",
) -> Explanation | list[Explanation]:
    """Say what a network sees in an image: its best classes, a map and boxes for each.

    image: a path, a Pillow image, an array (H, W, 3) or (H, W) of uint8; or a batch, as a list of
        these or an array (N, H, W, 3). A photograph is turned upright by its EXIF data.
    classes: which classes to explain, as names, WordNet ids or class indices: ``["tabby", 282]``.
        None: the best ``top``.
    model, weights: see ``load_network``, which may have made the network already.
    saliency: how maps are made (configs/saliency); None: CAM, or Backprop if the network has none.
    view: how the image is shown to the network (configs/view): ``squash``, ``center``, ``ten``.
    box: box rule or rules (configs/box); those of the paper are ``threshold`` and ``heuristic``.
    Returns an ``Explanation``; a list of them for a batch.
    Errors: ``UserError``, in one line with the remedy.
    """
    if isinstance(model, LoadedNetwork):
        if weights is not None or device != "auto":
            raise UserError("weights and device are those of the loaded network: leave them out")
        loaded = model
    elif isinstance(model, nn.Module) and not isinstance(model, CamNetwork):
        raise UserError("a module needs its last layer's name: load_network(module, layer=NAME)")
    else:
        loaded = load_network(model, weights=weights, device=device)
    is_batch = isinstance(image, (list, tuple)) or getattr(image, "ndim", 0) == 4
    images: Any = image if is_batch else [image]
    explained = loaded.explain_each(
        images, classes=classes, saliency=saliency, view=view, box=box, top=top
    )
    return list(explained) if is_batch else next(explained)


def _class_names(
    stored: dict[str, Any] | None, class_names: Sequence[str] | None
) -> tuple[Sequence[str], Sequence[str]]:
    """Give names and WordNet ids of the classes: those given, or the checkpoint's, or ILSVRC's."""
    if class_names is not None:
        return [str(name) for name in class_names], ()
    if stored is None:
        return ilsvrc_classes().names, ilsvrc_classes().wnids
    wnids = stored["classes"]  # in the order of the network's outputs
    table = classes_of(wnids)
    return tuple(table.names[table.index_of(wnid)] for wnid in wnids), tuple(wnids)


def _adapt(
    module: nn.Module,
    layer: str | None,
    class_names: Sequence[str] | None,
    settings: dict[str, Any],
    compute: Compute,
) -> LoadedNetwork:
    """Take a copy of a module from elsewhere, whose last convolutional layer's name is known.

    A copy, so that the module stays on its device and in its mode.
    """
    kind = type(module).__name__
    about: dict[str, Any] = {"name": kind, "row": kind, "input_size": 224}
    about |= {"interpolation": "bilinear", **settings}
    colours = {key: about.pop(key) for key in ("pixel_mean", "pixel_std") if key in about}
    about.setdefault("resize_size", round(check_count("input_size", about["input_size"]) * 8 / 7))
    unknown = sorted(about.keys() - {"name", "row", *ABOUT_MODULES})
    if unknown:
        raise UserError(
            f"{unknown[0]}: no setting of a module; these are {', '.join(ABOUT_MODULES)}, "
            "pixel_mean and pixel_std"
        )
    if isinstance(module, CamNetwork):
        if layer is not None or colours:
            raise UserError(f"{kind} is a CamNetwork, which has its own layer, mean and std")
        network = copy.deepcopy(module)
        check_promises(network.cpu(), about["input_size"])
    elif layer is None:
        raise UserError("layer is not given: name the module's last convolutional layer")
    else:
        network = ModuleNetwork(
            copy.deepcopy(module).cpu().float(), layer, input_size=about["input_size"], **colours
        )
    check_sizes(about, network)
    count = network.num_classes
    names: Sequence[str] = class_names or ()
    wnids: Sequence[str] = ()
    if class_names is None:
        is_ilsvrc = count == len(ilsvrc_classes())
        names = ilsvrc_classes().names if is_ilsvrc else [f"class {i}" for i in range(count)]
        wnids = ilsvrc_classes().wnids if is_ilsvrc else ()
    if len(names) != count:
        raise UserError(f"class_names has {len(names)} names, the network {count} classes")
    return LoadedNetwork(network, names, about, compute, wnids)


def _guesses(rule: BoxRule, maps: RankedMaps, are_best: bool) -> list[Guess]:
    """Let a rule guess the boxes of an image.

    are_best: whether the classes are the best ones. Then the rule sees the best five together, as
    in scoring. Each other class, and each that was asked for, it sees alone.
    """
    together = MAX_GUESSES if are_best else 0
    guesses = rule(maps.first(together)) if together else []
    for rank in range(together, len(maps)):
        guesses = [*guesses, *rule(maps.only(rank))]
    return guesses


def _name(group: str, choice: Choice) -> str:
    """Give the name of a choice. Raises UserError where it has none."""
    name = choice if isinstance(choice, str) else None
    if isinstance(choice, Mapping):
        name = choice.get("name")
    if not isinstance(name, str):
        raise UserError(f"{group}={choice}: give a name, or settings with a name")
    return name


def _settings(group: str, choice: Choice) -> dict[str, Any]:
    """Give the settings of a choice: those of its YAML, and what was given with its name.

    What names a class by ``_target_`` is complete, and returned as it is.
    """
    name = _name(group, choice)
    given = {} if isinstance(choice, str) else {k: v for k, v in choice.items() if k != "name"}
    if "_target_" in given:
        return {"name": name, **given} if group != "box" else given
    merged = OmegaConf.create({**_of_yaml(group, name), **given})
    settings = OmegaConf.to_container(merged, resolve=True)
    assert isinstance(settings, dict)
    return {str(key): value for key, value in settings.items()}


def _of_yaml(group: str, name: str) -> dict[str, Any]:
    """Read the settings of ``configs/<group>/<name>.yaml``, or of the user's own file.

    Raises UserError, with the nearest names, if there is no such file.
    """
    folders = composed_from()
    one_of(group, name, choices(group, folders))
    return dict(_composed(group, name, tuple(folders)))


@cache
def _composed(group: str, name: str, folders: tuple[Path, ...]) -> dict[str, Any]:
    """Compose a choice once; folders: where its YAML files are, by which results are kept apart."""
    settings = OmegaConf.to_container(compose_choice(group, name), resolve=False)
    assert isinstance(settings, dict)
    return {str(key): value for key, value in settings.items()}


def _read(image: Picture) -> Image.Image:
    """Read an image as upright RGB. Raises UserError for what is none."""
    if isinstance(image, (str, Path)):
        return read_upright(Path(image))
    if isinstance(image, Image.Image):
        return upright(image)
    array = np.asarray(image)
    is_image = array.ndim in (2, 3) and array.shape[2:] in ((), (3,)) and array.size > 0
    if array.dtype != np.uint8 or not is_image:
        raise UserError(
            f"an array of {array.dtype} {array.shape} is no image: give uint8 (height, width, 3)"
        )
    return Image.fromarray(array).convert("RGB")
