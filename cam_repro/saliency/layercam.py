"""Make LayerCAM maps (Jiang et al., IEEE TIP 2021, equations 6 and 7)."""

from __future__ import annotations

import torch
from torch import Tensor

from cam_repro.saliency.layer import LayerSaliency


class LayerCam(LayerSaliency):
    """Compute ReLU(sum_k ReLU(d S_c / d A_k) * A_k), place by place.

    Made for layers before the last, whose maps are finer: ``layer=NAME``.
    """

    def combine(self, A_NKhw: Tensor, gradients_NRKhw: Tensor) -> Tensor:
        """Compute maps_NRhw, as the class says."""
        weighted_NRhw = torch.einsum("nrkhw,nkhw->nrhw", gradients_NRKhw.relu(), A_NKhw)
        return weighted_NRhw.relu()
