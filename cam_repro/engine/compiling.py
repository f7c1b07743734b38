"""Compile networks by torch.compile, which computes the same with less traffic to memory."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from cam_repro.errors import UserError
from cam_repro.models.base import CamNetwork


@contextlib.contextmanager
def compiled(network: CamNetwork, gradients: bool) -> Iterator[None]:
    """Compile the layers that make A, within a ``with`` block, for inputs of one shape.

    gradients: whether the block computes gradients. If not, the weights become constants of the
    compiled code: batch norm is folded into them, and they are stored in the order that is fastest
    for the processor. Values differ from the uncompiled ones by float rounding.

    Raises UserError within the block, at the first image, if no C++ compiler is found.
    """
    from torch._inductor import config  # slow to import

    # Not given as an option of torch.compile: that is read only after the graph is captured.
    frozen_weights = config.patch(freezing=not gradients)
    compiled_layers = torch.compile(network._extract, dynamic=False)
    network.__dict__["_extract"] = _with_plain_errors(compiled_layers)
    try:
        with frozen_weights:
            yield
    finally:
        del network.__dict__["_extract"]


def _with_plain_errors(function: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Turn a failed compilation into a UserError that says what to do."""
    from torch._dynamo.exc import BackendCompilerFailed

    def call(x_NCHW: Tensor) -> Tensor:
        try:
            return function(x_NCHW)
        except BackendCompilerFailed as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(
                f"compile=true: torch.compile failed ({reason}); install a C++ compiler (g++), or "
                "go on without by compile=false"
            ) from error

    return call


def pad_batch(x_NCHW: Tensor, size: int) -> Tensor:
    """Add images of zeros up to ``size``, so that the network is compiled for one shape only."""
    missing = size - len(x_NCHW)
    if missing <= 0:
        return x_NCHW
    return torch.cat([x_NCHW, x_NCHW.new_zeros(missing, *x_NCHW.shape[1:])])
