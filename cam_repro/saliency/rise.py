"""Make RISE maps (Petsiuk, Das, Saenko, BMVC 2018, equations 4 to 6)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from cam_repro.models.base import CamNetwork
from cam_repro.saliency.masking import MaskingSaliency, at_least, share, weighted_sum


class Rise(MaskingSaliency):
    """Compute sum_i P_c(I * M_i) M_i / (N keep): the mean random mask, weighted by the probability.

    Each of the N masks is a grid of cells x cells that are seen (1) with probability ``keep``, else
    hidden (0), enlarged bilinearly and moved by a random part of a cell (section 3.2). The masks
    are drawn from ``seed``, the same for every image of one size.

    masks: N. The paper takes 4,000 for VGG-16 and 8,000 for ResNet-50; fewer give noisier maps.
    at_a_time: copies in a batch.
    """

    def __init__(
        self,
        masks: int = 1000,
        cells: int = 7,
        keep: float = 0.5,
        seed: int = 0,
        at_a_time: int = 32,
    ) -> None:
        super().__init__(at_a_time)
        self.masks, self.cells = at_least("masks", masks, 1), at_least("cells", cells, 1)
        self.keep, self.seed = share("keep", keep), at_least("seed", seed, 0)

    def of_image(self, network: CamNetwork, x_CHW: Tensor, classes_R: Tensor) -> Tensor:
        """Compute maps_Rhw, as the class says."""
        height, width = x_CHW.shape[1:]
        generator = torch.Generator().manual_seed(self.seed)
        total_RHW = x_CHW.new_zeros((len(classes_R), height, width), dtype=torch.float32)
        left = self.masks
        while left:  # a few at a time: all masks would take gigabytes
            masks_BHW = self._draw(min(left, self.at_a_time), height, width, generator)
            masks_BHW = masks_BHW.to(x_CHW.device)
            seen_BR = self.logits_of(network, x_CHW, masks_BHW).softmax(1)[:, classes_R]
            total_RHW += weighted_sum(seen_BR, masks_BHW)
            left -= len(masks_BHW)
        return total_RHW / (self.masks * self.keep)

    def _draw(self, count: int, height: int, width: int, generator: torch.Generator) -> Tensor:
        """Draw masks, float32 (B, H, W), 0 to 1."""
        cells = self.cells
        high, wide = math.ceil(height / cells), math.ceil(width / cells)  # of a cell, pixels
        grid_B1hw = torch.rand(count, 1, cells + 1, cells + 1, generator=generator)
        large_BHW = interpolate(
            (grid_B1hw < self.keep).float(),
            (high * (cells + 1), wide * (cells + 1)),
            mode="bilinear",
        )[:, 0]
        y_B = torch.randint(high, (count,), generator=generator).tolist()
        x_B = torch.randint(wide, (count,), generator=generator).tolist()
        return torch.stack(
            [
                mask_HW[y : y + height, x : x + width]
                for mask_HW, y, x in zip(large_BHW, y_B, x_B, strict=True)
            ]
        )
