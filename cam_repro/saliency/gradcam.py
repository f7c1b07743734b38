"""Make Grad-CAM maps (Selvaraju et al., ICCV 2017, equations 1 and 2)."""

from __future__ import annotations

import torch
from torch import Tensor

from cam_repro.models.base import CamNetwork
from cam_repro.saliency.base import Saliency, SelectClasses, gradients_of_classes


class GradCam(Saliency):
    """Compute ReLU(sum_k alpha_k^c A_k) with alpha_k^c = mean over (x, y) of d S_c / d A_k.

    Works on every network, fully connected heads included; on a GAP network it equals
    ReLU(CAM) / (h w).
    """

    def explain(
        self, network: CamNetwork, x_NCHW: Tensor, select: SelectClasses
    ) -> tuple[Tensor, Tensor]:
        """Classify and explain, as the base class says."""
        with torch.no_grad():
            A_NKhw = network.forward_features(x_NCHW)
        with torch.enable_grad():
            A_NKhw = A_NKhw.detach().requires_grad_()
            logits_NC = network.forward_head(A_NKhw)
            classes_NR = select(logits_NC.detach())
            gradients_NRKhw = gradients_of_classes(logits_NC, classes_NR, A_NKhw)
        # The maps stay in float32, whatever the network computes in.
        with torch.no_grad(), torch.autocast(x_NCHW.device.type, enabled=False):
            alpha_NRK = gradients_NRKhw.float().mean((3, 4))
            maps_NRhw = torch.einsum("nrk,nkhw->nrhw", alpha_NRK, A_NKhw.float()).relu()
        return logits_NC.detach().float(), maps_NRhw
