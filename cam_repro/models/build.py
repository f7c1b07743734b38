"""From a ``configs/model`` file to a network."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from cam_repro.errors import UserError
from cam_repro.models.base import CamNetwork
from cam_repro.models.layers import check_count

TARGET = "_target_"

ABOUT = ("name", "row", "plain", "input_size", "resize_size", "weights")
"""Keys that speak of the network and are no argument of it."""


def build_model(cfg_model: Mapping[str, Any] | DictConfig, num_classes: int) -> CamNetwork:
    """The network that ``cfg_model`` describes, with random weights.

    ``_target_`` names its class and every other key, but those in ``ABOUT``, is an argument.
    Weights are drawn from torch's global generator: ``torch.manual_seed`` before decides them.
    Errors: ``UserError`` naming ``model.<key>`` for a key that the class does not take, a value
    that it cannot use, an ``input_size`` below what it takes or a ``resize_size`` below that.
    """
    settings = _plain(cfg_model)
    network = _network_class(settings.pop(TARGET, None))
    about = {key: settings.pop(key) for key in ABOUT if key in settings}
    known = [key for key in inspect.signature(network).parameters if key != "num_classes"]
    for key in settings:
        if key not in known:
            raise UserError(
                f"model.{key}: {network.__name__} has no such setting; it has {', '.join(known)}"
            )
    model = network(num_classes=num_classes, **settings)
    _check_sizes(about, model)
    return model


def _plain(cfg_model: Mapping[str, Any] | DictConfig) -> dict[str, Any]:
    """A plain dict with interpolations resolved."""
    if isinstance(cfg_model, DictConfig):
        container = OmegaConf.to_container(cfg_model, resolve=True)
        assert isinstance(container, dict)
        return {str(key): value for key, value in container.items()}
    return dict(cfg_model)


def _network_class(target: object) -> type[CamNetwork]:
    if not isinstance(target, str):
        raise UserError(f"model.{TARGET}={target!r}: give the dotted name of a network's class")
    module, _, name = target.rpartition(".")
    try:
        network = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"model.{TARGET}={target}: cannot be imported ({error})") from error
    if not (isinstance(network, type) and issubclass(network, CamNetwork)):
        raise UserError(f"model.{TARGET}={target}: is not a CamNetwork")
    return network


def _check_sizes(about: Mapping[str, Any], model: CamNetwork) -> None:
    """``input_size`` and ``resize_size``, where given."""
    smallest = model.minimum_input
    for key in ("input_size", "resize_size"):
        if key not in about:
            continue
        if check_count(key, about[key]) < smallest:
            raise UserError(
                f"model.{key}={about[key]} is too small: it takes {smallest} pixels or more"
            )
        smallest = about[key]  # crops of input_size have to fit into resize_size
