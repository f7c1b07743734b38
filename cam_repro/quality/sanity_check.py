"""Compare maps with those of the same network with random layers (Adebayo et al., NeurIPS 2018).

A map that stays as it is when the network forgets what it has learned does not show what the
network has learned. Layers are made random one after another, from the class layer down (the
source's cascading randomisation), and after each of some steps the maps are made again.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator

import numpy as np
import torch
from scipy.stats import rankdata
from torch import nn

from cam_repro.models.base import CamNetwork
from cam_repro.quality.base import ExplainedImages, Measure, whole_number


class SanityCheck(Measure):
    """Ask for Spearman's rank correlation of each map with that of the network made random.

    steps: how often the maps are made again; the first time only the class layer is random, the
    last time all layers are, and between them their number grows evenly. seed: of the random
    weights. images: as for ``Measure``.
    """

    def __init__(self, steps: int = 8, seed: int = 0, images: int | None = 100) -> None:
        super().__init__(images)
        self.steps = whole_number("steps", steps, 2)
        self.seed = whole_number("seed", seed, 0)

    def labels(self, network: CamNetwork) -> list[str]:
        """Name each answer by the lowest layer that is random."""
        layers = layers_from_the_top(network)
        return [layers[count - 1][-1] for count in self._counts(len(layers))]

    def answers(self, batch: ExplainedImages) -> np.ndarray:
        """Give the rank correlations for each image of a batch, float64 (N, K)."""
        found_KN = [
            rank_correlation(batch.maps_Nhw, batch.maps_by(network))
            for network in self._made_random(batch.network)
        ]
        return np.stack(found_KN, axis=1)

    def _counts(self, n_layers: int) -> list[int]:
        """List how many layers are random at each step; fewer steps where there are few layers."""
        return sorted({round(count) for count in np.linspace(1, n_layers, self.steps).tolist()})

    def _made_random(self, network: CamNetwork) -> Iterator[CamNetwork]:
        """Yield a copy of the network at each step; it is the same copy, changed further."""
        changed = copy.deepcopy(network)
        modules = dict(changed.named_modules())
        layers = layers_from_the_top(changed)
        counts = self._counts(len(layers))
        random = torch.Generator().manual_seed(self.seed)
        for number, names in enumerate(layers, 1):
            for name in names:
                _make_random(modules[name], random)
            if number in counts:
                yield changed


def layers_from_the_top(network: nn.Module) -> list[list[str]]:
    """List the layers with weights by name, the class layer first, then from the last to the first.

    A layer is a convolution or a linear layer, after the norms that follow it, whose weights are
    made random together with its own; so each list ends with the layer itself. Their order is that
    in which the network defines them, which is that of its forward pass in all networks here.
    """
    layers: list[list[str]] = []
    norms: list[str] = []
    for name, module in reversed(list(network.named_modules())):
        if not list(module.parameters(recurse=False)):
            continue
        if isinstance(module, nn.Linear | nn.modules.conv._ConvNd):
            layers.append([*norms, name])
            norms = []
        else:
            norms.append(name)
    if norms:  # before the first convolution
        layers.append(norms)
    top = getattr(network, "class_layer_name", None)
    return sorted(layers, key=lambda names: names[-1] != top)


@torch.no_grad()
def _make_random(layer: nn.Module, random: torch.Generator) -> None:
    """Give a layer the weights of an untrained one.

    He's normal distribution keeps the size of activations from layer to layer, so that maps of many
    random layers still have values to rank. Biases become 0; a norm no longer changes anything.
    """
    if isinstance(layer, nn.Linear | nn.modules.conv._ConvNd):
        values = torch.randn(layer.weight.shape, generator=random)
        layer.weight.copy_(values * math.sqrt(2 / values[0].numel()))  # to its device and type
        if layer.bias is not None:
            layer.bias.zero_()
    else:
        layer.reset_parameters()  # type: ignore[operator]


def rank_correlation(a_Nhw: np.ndarray, b_Nhw: np.ndarray) -> np.ndarray:
    """Compute Spearman's rank correlation of each pair of maps, (N,), from -1 to 1.

    Equal values share the mean of their ranks. A constant map ranks nothing: its correlation is 0.
    """
    ranks = []
    for maps in (a_Nhw, b_Nhw):
        of_maps_NP = rankdata(maps.reshape(len(maps), -1), axis=1)
        ranks.append(of_maps_NP - of_maps_NP.mean(axis=1, keepdims=True))
    a_NP, b_NP = ranks
    norms_N = np.sqrt((a_NP**2).sum(1) * (b_NP**2).sum(1))
    products_N = (a_NP * b_NP).sum(1)
    return np.divide(products_N, norms_N, out=np.zeros(len(norms_N)), where=norms_N > 0)
