"""Make maps by back-propagation (Simonyan, Vedaldi, Zisserman, arXiv 1312.6034, section 3)."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

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
        if not 0 <= blur < 0.5:
            raise UserError(f"saliency.blur={blur}: must be at least 0 and under 0.5")
        self.blur = blur

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
        maps_NRHW = gradients_NRCHW.abs().amax(2).float()
        if self.blur:
            sigma = self.blur * x_NCHW.shape[-1]
            radius = min(max(1, round(3 * sigma)), min(x_NCHW.shape[-2:]) - 1)
            with torch.autocast(x_NCHW.device.type, enabled=False):  # the maps stay in float32
                maps_NRHW = gaussian_blur(maps_NRHW, [2 * radius + 1] * 2, [sigma, sigma])
        return logits_NC.detach().float(), maps_NRHW
