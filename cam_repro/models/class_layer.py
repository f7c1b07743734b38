"""Find a network's class layer, and let the network put out what that layer takes.

The class layer makes the class scores: a linear layer, or a 1x1 convolution and then an average.
What it takes are the features of an image: in a network with GAP the means F_k of the maps, in
AlexNet and VGG-16 the units of fc7.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import nn

from cam_repro.errors import UserError
from cam_repro.models.base import CamNetwork
from cam_repro.models.modes import evaluation_mode
from cam_repro.models.trial import TOLERANCE, class_weights_of, random_weights


def class_layer_of(network: CamNetwork, name: str, input_size: int) -> nn.Module:
    """Give the layer that makes a network's class scores; what its class says is tried.

    ``trial.class_weights_of`` gives its weights w_CK. name: of the network, for messages.
    input_size: side of its input, pixels.
    Raises UserError where the class scores are not w F plus a bias, for one vector F an image, or
    are no numbers.
    """
    layers = dict(network.named_modules())
    layer = layers.get(network.class_layer_name) if network.class_layer_name else None
    generator = torch.Generator().manual_seed(0)
    x_NCHW = torch.randn(1, 3, input_size, input_size, generator=generator)
    if isinstance(layer, nn.Linear | nn.Conv2d):
        with torch.no_grad(), evaluation_mode(network), random_weights([layer]):
            logits_NC = network(x_NCHW)
            with without_class_layer(network):
                F_NK = network(x_NCHW)
            if not bool(F_NK.isfinite().all()):
                raise UserError(
                    f"model={name}: the network's features of a random image are NaN or infinite: "
                    "its weights are broken"
                )
            w_CK = class_weights_of(layer)
            if w_CK is not None and F_NK.shape == (1, w_CK.shape[1]):
                scores_NC = F_NK @ w_CK.T + (0 if layer.bias is None else layer.bias)
                if torch.allclose(scores_NC, logits_NC, TOLERANCE, TOLERANCE):
                    return layer
    raise UserError(
        f"model={name}: its class scores are not those of a linear layer over one vector for each "
        "image, so there are no features to take: choose a network that ends in such a layer, as "
        "googlenet_gap does"
    )


@contextlib.contextmanager
def without_class_layer(network: CamNetwork) -> Iterator[None]:
    """Let a network put out, within a ``with`` block, what its class layer takes: (N, K)."""
    place, _, name = network.class_layer_name.rpartition(".")
    parent, layer = network.get_submodule(place), network.get_submodule(network.class_layer_name)
    setattr(parent, name, nn.Identity())
    try:
        yield
    finally:
        setattr(parent, name, layer)
