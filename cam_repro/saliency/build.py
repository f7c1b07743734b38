"""Build a saliency method, by its name or from its settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omegaconf import OmegaConf

from cam_repro.config import build_named, choices, compose_choice
from cam_repro.errors import UserError
from cam_repro.models.base import CamNetwork
from cam_repro.saliency.base import Saliency

DEFAULTS = ("cam", "backprop")
"""The methods of the paper's Table 2, by preference; the last works on every network."""


def build_saliency(name: str) -> Saliency:
    """Build the method that ``saliency=NAME`` stands for, with the settings of its YAML."""
    settings = OmegaConf.to_container(compose_choice("saliency", name), resolve=True)
    assert isinstance(settings, dict)
    return saliency_of({str(key): value for key, value in settings.items()})


def saliency_of(settings: Mapping[str, Any]) -> Saliency:
    """Build the method that the keys of a ``configs/saliency/NAME.yaml`` describe.

    Raises UserError where they state no name, or a class that is not a ``Saliency``.
    """
    name, method = build_named(Saliency, "saliency", settings)  # type: ignore[type-abstract]
    method.name = name
    return method


def default_saliency(network: CamNetwork) -> Saliency:
    """Build the first of ``DEFAULTS`` that works on a network: used where the user names none."""
    methods = (build_saliency(name) for name in DEFAULTS)
    return next(method for method in methods if method.refusal(network) is None)


def refuse_unfit(method: Saliency, network: CamNetwork, name: str) -> None:
    """Raise UserError, naming the methods that do work, where a method does not work on a network.

    name: the network's name in messages.
    """
    reason = method.refusal(network)
    if reason is None:
        return
    others = [
        other
        for other in choices("saliency")
        if other != method.name and build_saliency(other).refusal(network) is None
    ]
    raise UserError(
        f"saliency={method.name} does not work on model={name}: {reason}; use "
        f"saliency={others[0]}, or one of {', '.join(others[1:])}"
    )
