"""Make maps by back-propagation (Simonyan, Vedaldi, Zisserman, arXiv 1312.6034, section 3)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

from cam_repro.errors import UserError
from cam_repro.models.base import CamNetwork
from cam_repro.saliency.base import Saliency, SelectClasses, gradients_of_classes


class Backprop(Saliency):
    """Compute the maximum of |d S_c / d input| over the colours, at the input's own size.

    S_c is the class score before the softmax, as in the source.

    blur: standard deviation of a Gaussian that smooths the map, as a share of the input's side;
        0: no smoothing. Raw gradients are speckled, and a threshold then finds single specks.
        The paper does not say how it made boxes of these maps.
    """

    def __init__(self, blur: float = 0.03) -> None:
        self.blur = check_blur(blur)

    def refusal(self, network: CamNetwork) -> None:
        """Return None: class scores are enough."""

    def explain(
        self, network: CamNetwork, x_NCHW: Tensor, select: SelectClasses
    ) -> tuple[Tensor, Tensor]:
        """Classify and explain, as the base class says."""
        with torch.enable_grad():
            x_NCHW = x_NCHW.detach().requires_grad_()
            logits_NC = network(x_NCHW)
            classes_NR = select(logits_NC.detach())
            gradients_NRCHW = gradients_of_classes(logits_NC, classes_NR, x_NCHW)
        maps_NRHW = smooth(gradients_NRCHW.abs().amax(2).float(), self.blur)
        return logits_NC.detach().float(), maps_NRHW


def check_blur(blur: float) -> float:
    """Return ``blur`` if it is a share of the input's side; raise UserError if not."""
    if not 0 <= blur < 0.5:
        raise UserError(f"saliency.blur={blur}: must be at least 0 and under 0.5")
    return blur


def smooth(maps_NRHW: Tensor, blur: float) -> Tensor:
    """Smooth maps by a Gaussian that ends at three sigma, with the border mirrored.

    Two products with matrices are ten times as fast on a CPU as a convolution with the kernel.

    blur: sigma, as a share of the maps' width; 0: the maps as they are.
    """
    if not blur:
        return maps_NRHW
    height, width = maps_NRHW.shape[-2:]
    sigma = blur * width
    radius = min(max(1, round(3 * sigma)), min(height, width) - 1)
    rows_HH = torch.from_numpy(_gaussian(height, sigma, radius)).to(maps_NRHW.device)
    columns_WW = torch.from_numpy(_gaussian(width, sigma, radius)).to(maps_NRHW.device)
    with torch.autocast(maps_NRHW.device.type, enabled=False):  # the maps stay in float32
        return rows_HH @ maps_NRHW @ columns_WW.T


@lru_cache(maxsize=8)
def _gaussian(length: int, sigma: float, radius: int) -> np.ndarray:
    """Give the matrix (length, length) that smooths ``length`` values."""
    identity = np.eye(length)
    smoothed = gaussian_filter1d(identity, sigma, axis=0, mode="mirror", radius=radius)
    return smoothed.astype(np.float32)
