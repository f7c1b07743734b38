"""What a saliency method is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from cam_repro.models.base import CamNetwork

SelectClasses = Callable[[Tensor], Tensor]
"""logits_NC -> classes_NR, int64: which classes of each image to explain."""


class Saliency(ABC):
    """Maps of how much each place speaks for a class.

    name: as in ``saliency=NAME`` and in the names of output folders.
    needs_gradients: whether it asks torch for gradients.
    """

    name: str
    needs_gradients: bool = True

    @abstractmethod
    def explain(
        self, network: CamNetwork, x_NCHW: Tensor, select: SelectClasses
    ) -> tuple[Tensor, Tensor]:
        """Classify, choose the classes from the logits, and explain them, sharing one forward.

        x_NCHW: normalised input. select: chooses the R classes of each image.
        Returns logits_NC and maps_NRhw, float32, of any size h x w that covers the input evenly.
        """

    def supports(self, network: CamNetwork) -> bool:
        """Whether the method works on this network."""
        return True

    def __call__(self, network: CamNetwork, x_NCHW: Tensor, classes_NR: Tensor) -> Tensor:
        """maps_NRhw of the given classes."""
        return self.explain(network, x_NCHW, lambda logits_NC: classes_NR)[1]


def gradients_of_classes(logits_NC: Tensor, classes_NR: Tensor, wrt: Tensor) -> Tensor:
    """Gradient of each chosen class score with respect to ``wrt`` (N, ...), as (N, R, ...).

    Images do not influence each other's scores (evaluation mode), so one backward pass serves
    the whole batch for each rank.
    """
    scores_NR = logits_NC.gather(1, classes_NR)
    n_ranks = scores_NR.shape[1]
    gradients = [
        torch.autograd.grad(scores_NR[:, rank].sum(), wrt, retain_graph=rank < n_ranks - 1)[0]
        for rank in range(n_ranks)
    ]
    return torch.stack(gradients, 1)
