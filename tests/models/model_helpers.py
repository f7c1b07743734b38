"""What the tests of the networks share."""

from __future__ import annotations

from functools import cache
from typing import Any

import hydra
import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from cam_repro.config import config_dir
from cam_repro.models import CamNetwork, build_network
from cam_repro.runs.folders import NO_MODEL

# Networks whose code is here, without those from elsewhere (``adapted.py``). ``none`` stands for
# having no network; what begins with _ is a base of other files.
NAMES = sorted(
    {path.stem for path in (config_dir() / "model").glob("[!_]*.yaml")}
    - {NO_MODEL, "timm", "efficientnet_lite0"}
)


@cache
def _composed(name: str) -> DictConfig:
    with hydra.initialize_config_dir(str(config_dir()), version_base="1.3"):
        composed = hydra.compose(overrides=[f"+model={name}"]).model
    return OmegaConf.create(OmegaConf.to_container(composed))  # one that takes unknown keys too


def config(name: str, **settings: Any) -> DictConfig:
    """The composed settings of a network, with some changed."""
    merged = OmegaConf.merge(_composed(name), settings)
    assert isinstance(merged, DictConfig)
    return merged


def build(name: str, num_classes: int = 5, seed: int = 0, **settings: Any) -> CamNetwork:
    """A network in evaluation mode, narrow unless told otherwise."""
    torch.manual_seed(seed)
    return build_network(config(name, **{"width": 0.125, **settings}), num_classes).eval()


def randomise_norms(module: nn.Module, seed: int = 0) -> None:
    """Give every batch norm statistics and weights unlike its initial ones."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, nn.BatchNorm2d):
                for tensor in (layer.weight, layer.running_var):
                    tensor.uniform_(0.5, 1.5, generator=generator)
                for tensor in (layer.bias, layer.running_mean):
                    tensor.normal_(0, 0.2, generator=generator)
