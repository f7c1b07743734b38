"""Make Eigen-CAM maps (Muhammad and Yeasin, IJCNN 2020)."""

from __future__ import annotations

import torch
from torch import Tensor

from cam_repro.saliency.layer import LayerSaliency


class EigenCam(LayerSaliency):
    """Project the activations on their first principal direction: A v_1, with A = U S V^T.

    A is taken as a matrix with a row for each place and a column for each of the K units, not
    centred, as the paper writes it. The map is the same for every class: it says where the layer
    is active, not for what. The sign of a principal direction is arbitrary: here the map's sum is
    not negative. Activations that are NaN or infinite give a map of NaN.
    """

    def combine(self, A_NKhw: Tensor, gradients_NRKhw: Tensor) -> Tensor:
        """Compute maps_NRhw, as the class says."""
        h, w = A_NKhw.shape[2:]
        A_NPK = A_NKhw.flatten(2).transpose(1, 2)
        is_finite_N11 = A_NPK.isfinite().all(2, True).all(1, True)
        A_NPK = A_NPK.where(is_finite_N11, 0.0)  # the decomposition would fail
        v_NK = torch.linalg.svd(A_NPK, full_matrices=False).Vh[:, 0]
        maps_NP = torch.einsum("npk,nk->np", A_NPK, v_NK)
        maps_NP = maps_NP * torch.where(maps_NP.sum(1, keepdim=True) < 0, -1.0, 1.0)
        maps_NP = maps_NP.where(is_finite_N11[..., 0], torch.nan)
        n_ranks = gradients_NRKhw.shape[1]
        return maps_NP.unflatten(1, (h, w))[:, None].expand(-1, n_ranks, -1, -1)
