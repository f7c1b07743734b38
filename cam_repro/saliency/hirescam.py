"""Make HiResCAM maps (Draelos and Carin, arXiv 2011.08891)."""

from __future__ import annotations

import torch
from torch import Tensor

from cam_repro.saliency.layer import LayerSaliency


class HiResCam(LayerSaliency):
    """Compute sum_k d S_c / d A_k * A_k, place by place, without averaging the gradients.

    On a GAP network it equals CAM / (h w), and so Grad-CAM before its ReLU. Where the layers behind
    A are linear the map adds up to the class score without biases (section 3). Raw: the paper shows
    it without a ReLU.
    """

    def combine(self, A_NKhw: Tensor, gradients_NRKhw: Tensor) -> Tensor:
        """Compute maps_NRhw, as the class says."""
        return torch.einsum("nrkhw,nkhw->nrhw", gradients_NRKhw, A_NKhw)
