"""Define what a saliency method is: a network, an image and classes in, maps out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from cam_repro.errors import UserError
from cam_repro.models.base import CamNetwork

SelectClasses = Callable[[Tensor], Tensor]
"""logits_NC -> classes_NR, int64: which classes of each image to explain."""


class Saliency(ABC):
    """Make maps of how much each place of an image speaks for a class.

    To add a method, write a subclass with ``explain`` and a YAML in ``configs/saliency/`` (or in
    your own ``--config-dir``) whose ``_target_`` names it; the arguments of ``__init__`` are the
    keys of the YAML. The network does not change: ask it for ``forward_features``,
    ``forward_head`` and ``class_weights``.

    name: the NAME of ``saliency=NAME``, by which folders of results are called too. Its YAML states
        it, and ``saliency_of`` sets it: two files may use one class with other settings.
    needs_gradients: whether it asks torch for gradients.
    compiles: whether it works on a network that torch.compile has compiled, which has no layers.
    """

    name: str = "maps"
    needs_gradients: bool = True
    compiles: bool = True

    @abstractmethod
    def explain(
        self, network: CamNetwork, x_NCHW: Tensor, select: SelectClasses
    ) -> tuple[Tensor, Tensor]:
        """Classify images, choose classes by the logits, and explain these, in one forward pass.

        x_NCHW: normalised input. select: chooses the R classes of each image, given logits_NC.
        Returns logits_NC and maps_NRhw, float32. The maps may have any size h x w: each is
        stretched over the whole input later. They are raw: not rectified and not normalised, unless
        the method's own equation says so.
        """

    def refusal(self, network: CamNetwork) -> str | None:
        """Say why the method does not work on this network; None if it does.

        By default it needs maps A.
        """
        return network.no_maps

    def __call__(self, network: CamNetwork, x_NCHW: Tensor, classes_NR: Tensor) -> Tensor:
        """Make maps_NRhw of the given classes."""
        return self.explain(network, x_NCHW, lambda logits_NC: classes_NR)[1]


def check_maps(layer: str, output: object) -> None:
    """Raise UserError where the output of the layer that ``saliency.layer`` names is no maps."""
    if not isinstance(output, Tensor) or output.ndim != 4:
        shape = f" of shape {tuple(output.shape)}" if isinstance(output, Tensor) else ""
        raise UserError(
            f"saliency.layer={layer}: its output{shape} is no maps (N,K,h,w): name a convolution,"
            " or a layer between convolutions"
        )


def gradients_of_classes(
    logits_NC: Tensor, classes_NR: Tensor, wrt: Tensor, *, at_once: bool = False
) -> Tensor:
    """Compute gradients (N, R, ...) of the chosen class scores with respect to ``wrt`` (N, ...).

    Images do not influence each other's scores (evaluation mode), so one backward pass serves
    the whole batch for each rank.

    at_once: one backward pass for all ranks together. It reads the weights of fully connected
        layers once, and so takes a third to a half of the time behind A. Through a whole network it
        takes 5 to 25 % longer on a CPU than a pass for each rank.
    """
    scores_NR = logits_NC.gather(1, classes_NR)
    n_ranks = scores_NR.shape[1]
    if at_once:
        each_RNR = torch.eye(n_ranks).to(scores_NR)[:, None].expand(-1, len(scores_NR), -1)
        (of_each,) = torch.autograd.grad(scores_NR, wrt, each_RNR, is_grads_batched=True)
        return of_each.transpose(0, 1)
    gradients = [
        torch.autograd.grad(scores_NR[:, rank].sum(), wrt, retain_graph=rank < n_ranks - 1)[0]
        for rank in range(n_ranks)
    ]
    return torch.stack(gradients, 1)
