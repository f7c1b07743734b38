"""Make class activation maps that reach from 0 to 1."""

from __future__ import annotations

import torch
from torch import Tensor

from cam_repro.models.base import CamNetwork
from cam_repro.saliency.base import SelectClasses
from cam_repro.saliency.cam import Cam


class MinMaxCam(Cam):
    """Compute (M_c - min M_c) / (max M_c - min M_c), and 0 for a map that is the same everywhere.

    Many programs show CAM so. What speaks most against a class is then 0, and what says nothing may
    be any value: a box at 20 % of the maximum is another than ``Cam``'s.
    """

    def explain(
        self, network: CamNetwork, x_NCHW: Tensor, select: SelectClasses
    ) -> tuple[Tensor, Tensor]:
        """Classify and explain, as the base class says."""
        logits_NC, maps_NRhw = super().explain(network, x_NCHW, select)
        low_NR11, high_NR11 = maps_NRhw.amin((2, 3), True), maps_NRhw.amax((2, 3), True)
        range_NR11 = high_NR11 - low_NR11
        return logits_NC, torch.where(range_NR11 > 0, (maps_NRhw - low_NR11) / range_NR11, 0.0)
