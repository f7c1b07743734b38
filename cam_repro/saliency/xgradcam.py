"""Make XGrad-CAM maps (Fu et al., BMVC 2020, equations 7 and 8)."""

from __future__ import annotations

import torch
from torch import Tensor

from cam_repro.saliency.layer import LayerSaliency


class XGradCam(LayerSaliency):
    """Compute ReLU(sum_k alpha_k^c A_k), alpha_k^c a mean of gradients weighted by the activations.

    alpha_k^c = sum over (x, y) of A_k / (sum of A_k) * d S_c / d A_k, and 0 where A_k sums to 0.
    Where the head is linear in A after a ReLU it keeps the score: the maps before the ReLU add up
    to S_c without biases. The published code has a small constant in the denominator, and the ReLU.
    """

    def combine(self, A_NKhw: Tensor, gradients_NRKhw: Tensor) -> Tensor:
        """Compute maps_NRhw, as the class says."""
        sums_NK = A_NKhw.sum((2, 3))
        weighted_NRK = torch.einsum("nrkhw,nkhw->nrk", gradients_NRKhw, A_NKhw)
        alpha_NRK = torch.where(sums_NK[:, None] == 0, 0.0, weighted_NRK / sums_NK[:, None])
        return torch.einsum("nrk,nkhw->nrhw", alpha_NRK, A_NKhw).relu()
