"""Make Score-CAM maps (Wang et al., CVPR 2020 Workshops, equations 5 to 8)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from cam_repro.models.base import CamNetwork
from cam_repro.saliency.masking import MaskingSaliency, weighted_sum


class ScoreCam(MaskingSaliency):
    """Compute ReLU(sum_k alpha_k^c A_k), alpha^c the softmax over k of how well A_k shows class c.

    A_k is enlarged to the input (bilinear, by pixel centres), brought to 0 to 1 by its own minimum
    and maximum, and multiplied with the input; alpha^c is the softmax over k of the logits S_c of
    these K copies. Subtracting the score of a baseline image first (equation 5) changes nothing
    after the softmax. A constant A_k shows nothing: its mask is 0.
    """

    def refusal(self, network: CamNetwork) -> str | None:
        """Say why the network has no maps A to hide the image with."""
        return network.no_maps

    def of_image(self, network: CamNetwork, x_CHW: Tensor, classes_R: Tensor) -> Tensor:
        """Compute maps_Rhw, as the class says."""
        A_Khw = network.forward_features(x_CHW[None])[0].float()
        masks_KHW = interpolate(A_Khw[None], x_CHW.shape[1:], mode="bilinear")[0]
        low_K11, high_K11 = masks_KHW.amin((1, 2), True), masks_KHW.amax((1, 2), True)
        range_K11 = high_K11 - low_K11
        masks_KHW = torch.where(range_K11 > 0, (masks_KHW - low_K11) / range_K11, 0.0)
        scores_KR = self.logits_of(network, x_CHW, masks_KHW)[:, classes_R]
        return weighted_sum(scores_KR.softmax(0), A_Khw).relu()
