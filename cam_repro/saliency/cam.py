"""Make class activation maps (the paper, equation 2)."""

from __future__ import annotations

import torch
from torch import Tensor

from cam_repro.errors import UserError
from cam_repro.models.base import CamNetwork
from cam_repro.saliency.base import Saliency, SelectClasses


def class_activation_maps(A_NKhw: Tensor, w_CK: Tensor, classes_NR: Tensor) -> Tensor:
    """Compute M_c(x, y) = sum_k w_k^c f_k(x, y) of the chosen classes, in one batched product.

    Not rectified, not normalised: the mean of M_c over (x, y) is the class score S_c.
    Returns maps_NRhw, float32.
    """
    N, K, h, w = A_NKhw.shape
    w_NRK = w_CK.float()[classes_NR]
    return torch.bmm(w_NRK, A_NKhw.float().reshape(N, K, h * w)).reshape(N, -1, h, w)


class Cam(Saliency):
    """Make CAMs by one forward pass and one product, however many classes are asked for."""

    needs_gradients = False

    def refusal(self, network: CamNetwork) -> str | None:
        """Say why the network has no CAM: its head is not one linear layer over pooled maps."""
        return network.no_cam

    @torch.no_grad()
    def explain(
        self, network: CamNetwork, x_NCHW: Tensor, select: SelectClasses
    ) -> tuple[Tensor, Tensor]:
        """Classify and explain, as the base class says."""
        w_CK = network.class_weights()
        if w_CK is None:
            raise UserError(
                f"saliency=cam does not work on {type(network).__name__}: {network.no_cam}; use "
                "saliency=backprop"
            )
        A_NKhw = network.forward_features(x_NCHW)
        logits_NC = network.forward_head(A_NKhw)
        with torch.autocast(x_NCHW.device.type, enabled=False):  # the maps stay in float32
            maps_NRhw = class_activation_maps(A_NKhw, w_CK, select(logits_NC))
        return logits_NC.float(), maps_NRhw
