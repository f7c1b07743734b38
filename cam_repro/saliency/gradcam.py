"""Make Grad-CAM maps (Selvaraju et al., ICCV 2017, equations 1 and 2)."""

from __future__ import annotations

import torch
from torch import Tensor

from cam_repro.saliency.layer import LayerSaliency


class GradCam(LayerSaliency):
    """Compute ReLU(sum_k alpha_k^c A_k) with alpha_k^c = mean over (x, y) of d S_c / d A_k.

    Works on every network, fully connected heads included; on a GAP network it equals
    ReLU(CAM) / (h w).
    """

    def combine(self, A_NKhw: Tensor, gradients_NRKhw: Tensor) -> Tensor:
        """Compute maps_NRhw, as the class says."""
        alpha_NRK = gradients_NRKhw.mean((3, 4))
        return torch.einsum("nrk,nkhw->nrhw", alpha_NRK, A_NKhw).relu()
