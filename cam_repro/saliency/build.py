"""Build a saliency method by its name."""

from __future__ import annotations

from hydra.utils import instantiate

from cam_repro.config import compose_choice
from cam_repro.models.base import CamNetwork
from cam_repro.saliency.base import Saliency

DEFAULTS = ("cam", "backprop")
"""The methods of the paper's Table 2, by preference; the last works on every network."""


def build_saliency(name: str) -> Saliency:
    """Build the method that ``saliency=NAME`` stands for, with the settings of its YAML."""
    method: Saliency = instantiate(compose_choice("saliency", name))
    return method


def default_saliency(network: CamNetwork) -> Saliency:
    """Build the first of ``DEFAULTS`` that works on a network: used where the user names none."""
    methods = (build_saliency(name) for name in DEFAULTS)
    return next(method for method in methods if method.supports(network))
