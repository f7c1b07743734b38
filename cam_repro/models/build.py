"""Build the network that a file of ``configs/model`` describes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from cam_repro.config import (
    TARGET,
    choices,
    compose_choice,
    construct,
    import_class,
    refuse_inner_targets,
    refuse_unknown_keys,
)
from cam_repro.errors import UserError
from cam_repro.models.base import CamNetwork
from cam_repro.models.layers import check_count
from cam_repro.models.trial import TRIAL_SIDE, check_promises, smallest_input
from cam_repro.words import composed_from

ABOUT = (
    *("name", "row", "plain", "input_size", "resize_size", "interpolation"),
    *("weights", "take_classes", "pretrained", "pixel_mean", "pixel_std", "class_layer_bias"),
    "svm",
)
"""Keys that are not passed to the class of a network; commands and tables use them.

All but one are of its YAML: ``svm`` is noted in a checkpoint whose class layer is an SVM.
"""


def complete(config: Mapping[str, Any] | DictConfig) -> dict[str, Any]:
    """Fill in settings that a network's YAML leaves to its class by null, such as its input size.

    Errors: ``UserError`` for what the class refuses, and if ``_target_`` names none.
    """
    settings = _plain(config)
    network_class: type[CamNetwork] = import_class(CamNetwork, "model", settings.get(TARGET))
    return network_class.complete(settings)


def build_network(config: Mapping[str, Any] | DictConfig, num_classes: int) -> CamNetwork:
    """Build a network with random weights from its settings.

    config: what ``model=NAME`` composes to. ``_target_`` names the class; all other keys except
    those in ``ABOUT`` are passed to it. Weights are drawn from torch's global generator: call
    ``torch.manual_seed`` before to fix them. What its class says of CAM is tried (trial.py).
    Errors: ``UserError`` naming ``model.<key>`` for a key that the class does not have, a value
    that it cannot use, an ``input_size`` below the network's ``minimum_input``, or a
    ``resize_size`` below ``input_size``.
    """
    settings = complete(config)
    network_class = import_class(CamNetwork, "model", settings.pop(TARGET))
    about = {key: settings.pop(key) for key in ABOUT if key in settings}
    refuse_inner_targets("model", settings)
    refuse_unknown_keys(
        "model",
        network_class,
        settings,
        not_settings=["num_classes"],
        remedy=" (if a recipe sets it, choose another: recipe=ilsvrc)",
    )
    network = construct(network_class, "model", {"num_classes": num_classes, **settings})
    check_sizes(about, network)
    if about.get("class_layer_bias"):
        _add_bias(network)
    network.state_colours(**{key: about.get(key) for key in ("pixel_mean", "pixel_std")})
    check_promises(network, about.get("input_size", TRIAL_SIDE))
    return network


def check_stored_class(
    stored: Mapping[str, Any], path: Path | str, composed: Mapping[str, Any] | None = None
) -> None:
    """Refuse a checkpoint whose network is of another class than ``model=NAME`` of its name.

    A file does not say which code is run: only the YAML files of this package and the user's do.
    stored: the settings of the network in the checkpoint at ``path``. composed: those of
    ``model=NAME``; None: composed here. Errors: ``UserError``.
    """
    name, target = stored["name"], stored[TARGET]
    if composed is None:
        if name not in choices("model", composed_from()):
            raise UserError(
                f"{path} holds the network {name}, of which there is no YAML: name the folder of"
                " your own by --config-dir, or in Python give model="
                f'{{"name": "{name}", "{TARGET}": "{target}"}}'
            )
        composed = compose_choice("model", name)
    if composed.get(TARGET) != target:
        raise UserError(
            f"{path} holds a network of the class {target}, and model={name} is"
            f" {composed.get(TARGET)}: it is not loaded"
        )


def _add_bias(network: CamNetwork) -> None:
    """Give the class layer a bias, 0, where it has none: that of an SVM needs one."""
    layer = network.get_submodule(network.class_layer_name)
    if isinstance(layer, nn.Linear) and layer.bias is None:
        layer.bias = nn.Parameter(torch.zeros(layer.out_features))


def _plain(config: Mapping[str, Any] | DictConfig) -> dict[str, Any]:
    """Make a plain dict, with interpolations resolved."""
    if isinstance(config, DictConfig):
        container = OmegaConf.to_container(config, resolve=True)
        assert isinstance(container, dict)
        return {str(key): value for key, value in container.items()}
    return dict(config)


def check_sizes(about: Mapping[str, Any], network: CamNetwork) -> None:
    """Refuse an ``input_size`` or ``resize_size`` that is given but too small."""
    smallest = smallest_input(network)
    for key in ("input_size", "resize_size"):
        if key not in about:
            continue
        if check_count(key, about[key]) < smallest:
            raise UserError(
                f"model.{key}={about[key]} is too small: it takes {smallest} pixels or more"
            )
        smallest = about[key]  # crops of input_size have to fit into resize_size
