"""Turn a network's convolutions into int8, to tell what that would change: no command does it."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import ours
import torch
from common import Bench, Network
from torch import Tensor, nn
from torch.ao.quantization import get_default_qconfig_mapping
from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx
from torch.fx.proxy import TraceError

from cam_repro.errors import UserError
from cam_repro.models.base import CamNetwork

SEEN = 128
"""Images by which the range of each layer's values is found, the first ones of the data set."""


class _Maps(nn.Module):
    """Compute a network's last maps; what torch quantises must be a module."""

    def __init__(self, network: CamNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, x_NCHW: Tensor) -> Tensor:
        return self.network._extract(x_NCHW)


def quantised(bench: Bench, network: Network) -> Network:
    """Give the network with its maps computed in int8, by torch's static quantisation for x86.

    The class layer stays in fp32: it takes no time. Raises UserError for a network of which torch
    cannot write the layers down, such as EfficientNet-Lite0, whose padding depends on the input.
    """
    model = copy.deepcopy(network.model)
    squash, images = ours.view(network), bench.images
    crops = [squash.crops(images.read(i)[0])[0] for i in range(min(SEEN, len(images)))]
    x_NCHW = model.normalize(torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch announces a successor in another package
        try:
            watched = prepare_fx(_Maps(model), get_default_qconfig_mapping("x86"), (x_NCHW[:1],))
        except TraceError as error:
            raise UserError(f"--precisions int8: not for {network.name}: {error}") from None
        with torch.no_grad():
            for few_NCHW in x_NCHW.split(bench.batch):
                watched(few_NCHW)
        int8 = convert_fx(watched)
    vars(model)["_extract"] = int8  # before the method of the class, and no layer of the network
    return Network(network.config, model)
