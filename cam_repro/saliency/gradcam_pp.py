"""Make Grad-CAM++ maps (Chattopadhyay et al., WACV 2018, equations 10, 13 and 19)."""

from __future__ import annotations

import torch
from torch import Tensor

from cam_repro.saliency.layer import LayerSaliency


class GradCamPlusPlus(LayerSaliency):
    """Compute ReLU(sum_k w_k^c A_k) with w_k^c = sum over (x, y) of alpha * ReLU(d S_c / d A_k).

    Place by place, with g = d S_c / d A_k, alpha = g^2 / (2 g^2 + g^3 * sum over (x, y) of A_k),
    and 0 where that is 0/0, as where g is 0. The paper differentiates Y_c = exp(S_c); its
    derivatives are exp(S_c) times powers of g. The factor exp(S_c) in w_k^c is the same for all k,
    and left out here.
    """

    def combine(self, A_NKhw: Tensor, gradients_NRKhw: Tensor) -> Tensor:
        """Compute maps_NRhw, as the class says."""
        g = gradients_NRKhw
        sums_NRK11 = A_NKhw.sum((2, 3), keepdim=True)[:, None]
        # alpha * ReLU(g), with one g cancelled: where g is over 0, g / (2 + g * sum of A).
        below = 2 + g * sums_NRK11
        parts = torch.where((g > 0) & (below != 0), g / below, 0.0)
        w_NRK = parts.sum((3, 4))
        return torch.einsum("nrk,nkhw->nrhw", w_NRK, A_NKhw).relu()
