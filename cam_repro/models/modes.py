"""Put a network into a state for the length of a ``with`` block."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from torch import nn


@contextlib.contextmanager
def evaluation_mode(network: nn.Module) -> Iterator[None]:
    """Keep the network in evaluation mode within a ``with`` block; restore its mode afterwards."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, was_training in modes:
            module.training = was_training


@contextlib.contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Compute no gradients of parameters within a ``with`` block; restore that afterwards."""
    wanted = [parameter.requires_grad for parameter in network.parameters()]
    network.requires_grad_(False)
    try:
        yield
    finally:
        for parameter, flag in zip(network.parameters(), wanted, strict=True):
            parameter.requires_grad_(flag)
