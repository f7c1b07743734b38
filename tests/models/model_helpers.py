"""What the tests of the networks share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from cam_repro.models import CamNetwork, build_network

ROOT = Path(__file__).resolve().parents[2]
# Those that name a network: ``none`` stands for having none.
MODEL_CONFIGS = sorted(
    path for path in (ROOT / "configs" / "model").glob("*.yaml") if "_target_:" in path.read_text()
)
NAMES = [path.stem for path in MODEL_CONFIGS]


def config(name: str, **settings: Any) -> DictConfig:
    """The YAML of a network with some settings changed."""
    cfg = OmegaConf.load(ROOT / "configs" / "model" / f"{name}.yaml")
    merged = OmegaConf.merge(cfg, settings)
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
