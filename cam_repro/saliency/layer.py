"""Provide what methods share that combine a layer's activations with their gradients."""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cam_repro.errors import UserError, did_you_mean
from cam_repro.models.base import CamNetwork
from cam_repro.saliency.base import (
    Saliency,
    SelectClasses,
    check_maps,
    gradients_of_classes,
)


class Explained(NamedTuple):
    """Hold what the network computed at a layer.

    logits_NC: class scores. A_NKhw: activations of the layer. gradients_NRKhw: of the chosen class
    scores with respect to A. All are detached.
    """

    logits_NC: Tensor
    A_NKhw: Tensor
    gradients_NRKhw: Tensor


class LayerSaliency(Saliency):
    """Make maps of the activations of one layer, and of the gradients of class scores there.

    A subclass writes ``combine``, which is the equation of its method.

    layer: name of the layer, as ``network.named_modules()`` has it; its output must be maps
        (N,K,h,w). Of a layer that runs several times the last output counts. None: the last
        convolution after its ReLU, for which only the layers behind it compute gradients.
    """

    def __init__(self, layer: str | None = None) -> None:
        self.layer = layer
        self.compiles = layer is None

    @abstractmethod
    def combine(self, A_NKhw: Tensor, gradients_NRKhw: Tensor) -> Tensor:
        """Compute maps_NRhw of activations and gradients, all float32."""

    def refusal(self, network: CamNetwork) -> str | None:
        """Say why the method does not work: the network has no maps A, or no such layer."""
        if self.layer is None:
            return network.no_maps
        names = [name for name, _ in network.named_modules() if name]
        if self.layer in names:
            return None
        return f"it has no layer {self.layer}{did_you_mean(self.layer, names)}"

    def explain(
        self, network: CamNetwork, x_NCHW: Tensor, select: SelectClasses
    ) -> tuple[Tensor, Tensor]:
        """Classify and explain, as the base class says."""
        found = self.at_layer(network, x_NCHW, select)
        # The maps stay in float32, whatever the network computes in.
        with torch.no_grad(), torch.autocast(x_NCHW.device.type, enabled=False):
            maps_NRhw = self.combine(found.A_NKhw.float(), found.gradients_NRKhw.float())
        return found.logits_NC.float(), maps_NRhw

    def at_layer(self, network: CamNetwork, x_NCHW: Tensor, select: SelectClasses) -> Explained:
        """Compute scores, activations and gradients in one forward pass."""
        if self.layer is None:
            with torch.no_grad():
                A_NKhw = network.forward_features(x_NCHW)
            with torch.enable_grad():
                A_NKhw = A_NKhw.detach().requires_grad_()
                logits_NC = network.forward_head(A_NKhw)
                classes_NR = select(logits_NC.detach())
                gradients_NRKhw = gradients_of_classes(logits_NC, classes_NR, A_NKhw, at_once=True)
            return Explained(logits_NC.detach(), A_NKhw.detach(), gradients_NRKhw)
        with torch.enable_grad(), _leaf_at(network, self.layer) as leaves:
            logits_NC = network(x_NCHW)
            if not leaves:
                raise UserError(f"saliency.layer={self.layer}: the network does not run it")
            gradients_NRKhw = gradients_of_classes(
                logits_NC, select(logits_NC.detach()), leaves[-1]
            )
        return Explained(logits_NC.detach(), leaves[-1].detach(), gradients_NRKhw)


@contextlib.contextmanager
def _leaf_at(network: nn.Module, layer: str) -> Iterator[list[Tensor]]:
    """Cut the graph of gradients behind a layer within a ``with`` block; yield its outputs.

    Raises UserError within the block where these are no maps. The layers before it compute no
    gradients. What follows gets a copy of the output, because a ReLU that works in place would
    change the activations.
    """
    leaves: list[Tensor] = []

    def cut(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
        check_maps(layer, output)
        leaves.append(output.detach().requires_grad_())
        return leaves[-1].clone()

    handle = network.get_submodule(layer).register_forward_hook(cut)
    try:
        yield leaves
    finally:
        handle.remove()
