"""Build the network that a file of ``configs/model`` describes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from cam_repro.config import import_target, refuse_unknown_keys
from cam_repro.errors import UserError
from cam_repro.models.base import CamNetwork
from cam_repro.models.layers import check_count

TARGET = "_target_"

ABOUT = (
    *("name", "row", "plain", "input_size", "resize_size", "interpolation"),
    *("weights", "pretrained"),
)
"""Keys of a network's YAML that are not passed to its class; commands and tables use them."""


def complete(config: Mapping[str, Any] | DictConfig) -> dict[str, Any]:
    """Fill in settings that a network's YAML leaves to its class by null, such as its input size.

    Errors: ``UserError`` for what the class refuses, and if ``_target_`` names none.
    """
    settings = _plain(config)
    return _network_class(settings.get(TARGET)).complete(settings)


def build_network(config: Mapping[str, Any] | DictConfig, num_classes: int) -> CamNetwork:
    """Build a network with random weights from its settings.

    config: what ``model=NAME`` composes to. ``_target_`` names the class; all other keys except
    those in ``ABOUT`` are passed to it. Weights are drawn from torch's global generator: call
    ``torch.manual_seed`` before to fix them.
    Errors: ``UserError`` naming ``model.<key>`` for a key that the class does not have, a value
    that it cannot use, an ``input_size`` below the network's ``minimum_input``, or a
    ``resize_size`` below ``input_size``.
    """
    settings = complete(config)
    network_class = _network_class(settings.pop(TARGET))
    about = {key: settings.pop(key) for key in ABOUT if key in settings}
    refuse_unknown_keys(
        "model",
        network_class,
        settings,
        not_settings=["num_classes"],
        remedy=" (if a recipe sets it, choose another: recipe=ilsvrc)",
    )
    network = network_class(num_classes=num_classes, **settings)
    check_sizes(about, network)
    return network


def _plain(config: Mapping[str, Any] | DictConfig) -> dict[str, Any]:
    """Make a plain dict, with interpolations resolved."""
    if isinstance(config, DictConfig):
        container = OmegaConf.to_container(config, resolve=True)
        assert isinstance(container, dict)
        return {str(key): value for key, value in container.items()}
    return dict(config)


def _network_class(target: object) -> type[CamNetwork]:
    """Import the class that ``_target_`` names."""
    found = import_target("model", target)
    if not (isinstance(found, type) and issubclass(found, CamNetwork)):
        raise UserError(f"model.{TARGET}={target}: is not a CamNetwork")
    return found


def check_sizes(about: Mapping[str, Any], network: CamNetwork) -> None:
    """Refuse an ``input_size`` or ``resize_size`` that is given but too small."""
    smallest = network.minimum_input
    for key in ("input_size", "resize_size"):
        if key not in about:
            continue
        if check_count(key, about[key]) < smallest:
            raise UserError(
                f"model.{key}={about[key]} is too small: it takes {smallest} pixels or more"
            )
        smallest = about[key]  # crops of input_size have to fit into resize_size
