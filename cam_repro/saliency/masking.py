"""Provide what methods share that hide parts of an image and look at the class scores."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from cam_repro.errors import UserError
from cam_repro.models.base import CamNetwork
from cam_repro.saliency.base import Saliency, SelectClasses


class MaskingSaliency(Saliency):
    """Make maps from the scores of many copies of an image, each with other parts hidden.

    A hidden part has the value 0 of the normalised input: the mean colour. It takes as many forward
    passes as there are copies, and no gradients. A subclass writes ``of_image``.

    at_a_time: copies in a batch.
    """

    needs_gradients = False

    def __init__(self, at_a_time: int = 32) -> None:
        self.at_a_time = at_least("at_a_time", at_a_time, 1)

    def refusal(self, network: CamNetwork) -> str | None:
        """Return None: class scores are enough."""
        return None

    @abstractmethod
    def of_image(self, network: CamNetwork, x_CHW: Tensor, classes_R: Tensor) -> Tensor:
        """Compute maps_Rhw, float32, of one normalised image."""

    @torch.no_grad()
    def explain(
        self, network: CamNetwork, x_NCHW: Tensor, select: SelectClasses
    ) -> tuple[Tensor, Tensor]:
        """Classify and explain, as the base class says."""
        logits_NC = network(x_NCHW)
        maps = [
            self.of_image(network, x_CHW, classes_R)
            for x_CHW, classes_R in zip(x_NCHW, select(logits_NC), strict=True)
        ]
        return logits_NC.float(), torch.stack(maps)

    def logits_of(self, network: CamNetwork, x_CHW: Tensor, masks_BHW: Tensor) -> Tensor:
        """Compute logits_BC of an image under each of these masks, which are 0 where it is hidden.

        The copies are made a few at a time: all of them would take gigabytes.
        """
        parts = [
            network(x_CHW * masks_B1HW).float()
            for masks_B1HW in masks_BHW[:, None].split(self.at_a_time)
        ]
        return torch.cat(parts)


def weighted_sum(weights_BR: Tensor, masks_BHW: Tensor) -> Tensor:
    """Add up masks, each times its weight for each class: (R, H, W), in float32 always."""
    with torch.autocast(masks_BHW.device.type, enabled=False):
        return torch.einsum("br,bhw->rhw", weights_BR.float(), masks_BHW.float())


def at_least(key: str, value: int, low: int) -> int:
    """Return ``value`` if it is a whole number from ``low`` on; raise UserError if not."""
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise UserError(f"saliency.{key}={value}: must be a whole number, {low} or more")
    return value


def share(key: str, value: float) -> float:
    """Return ``value`` if it is a number over 0, at most 1; raise UserError if not."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
        raise UserError(f"saliency.{key}={value}: must be over 0, at most 1")
    return float(value)
