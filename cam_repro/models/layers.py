"""What the families share: checked settings, the width multiplier, convolution blocks."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from numbers import Real

import torch
from torch import nn

from cam_repro.errors import UserError

NORMS = ("none", "batch")
POOLS = ("avg", "max")
TORCHVISION = "torchvision"
CAFFE = "caffe"
VARIANTS = (TORCHVISION, CAFFE)
"""Whose construction of a network: torchvision's, or that which Caffe's released weights want."""

BLOCK_EPS = 0.001
"""Epsilon of the batch norm in a ``ConvBlock``: torchvision's GoogLeNet has this one."""


def check_number(key: str, value: object, low: float, high: float = math.inf) -> float:
    """``value`` if it is a number in [low, high), else ``UserError`` naming ``model.<key>``."""
    if isinstance(value, bool) or not isinstance(value, Real) or not low <= float(value) < high:
        span = f"at least {low:g}" + (f" and below {high:g}" if high < math.inf else "")
        raise UserError(f"model.{key}={value!r}: give a number {span}")
    return float(value)


def check_count(key: str, value: object) -> int:
    """``value`` if it is a whole number of 1 or more, else ``UserError`` naming ``model.<key>``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UserError(f"model.{key}={value!r}: give a whole number of 1 or more")
    return value


def check_choice(key: str, value: object, choices: Collection[str]) -> str:
    """``value`` if it is one of ``choices``, else ``UserError`` naming ``model.<key>``."""
    if not isinstance(value, str) or value not in choices:
        raise UserError(f"model.{key}={value!r}: choose one of {', '.join(choices)}")
    return value


def scale_channels(channels: int, width: float) -> int:
    """``channels`` times ``width``, to the nearest multiple of 8, at least 8."""
    return max(8, round(channels * width / 8) * 8)


def check_groups(groups: object, channels: Sequence[int]) -> int:
    """``groups`` of an added convolution: it has to divide all of its channel counts."""
    count = check_count("groups", groups)
    if any(c % count for c in channels):
        counts = " and ".join(str(c) for c in dict.fromkeys(channels))
        raise UserError(f"model.groups={count}: it has to divide the {counts} channels it joins")
    return count


def activation(channels: int, norm: str) -> nn.Module:
    """ReLU, behind a batch norm where ``norm`` is ``batch``.

    One module in either case, so that the convolutions of a ``Sequential`` keep torchvision's
    numbers. Never in place: a map that somebody holds must not change under them.
    """
    if norm == "batch":
        return nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU())
    return nn.ReLU()


class ConvBlock(nn.Module):
    """Convolution, batch norm or bias, ReLU; padding keeps the size at stride 1.

    With batch norm the convolution has no bias, as in torchvision's GoogLeNet, whose names
    (``conv``, ``bn``) it has; so a block trained with batch norm can be folded into one without.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        *,
        stride: int = 1,
        groups: int = 1,
        norm: str = "none",
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels,
            out_channels,
            kernel,
            stride=stride,
            padding=kernel // 2,
            groups=groups,
            bias=norm == "none",
        )
        self.bn = nn.BatchNorm2d(out_channels, eps=BLOCK_EPS) if norm == "batch" else nn.Identity()
        self.relu = nn.ReLU()

    def forward(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        """(N,C,H,W) to (N,K,h,w), not negative."""
        y_NKhw: torch.Tensor = self.relu(self.bn(self.conv(x_NCHW)))
        return y_NKhw


def ceil_max_pool(kernel: int = 3) -> nn.MaxPool2d:
    """Max pool of stride 2 that rounds sizes up, as Caffe does."""
    return nn.MaxPool2d(kernel, stride=2, ceil_mode=True)


def caffe_lrn() -> nn.LocalResponseNorm:
    """Local response normalisation as all of Caffe's networks here have it.

    y_c = x_c / (1 + alpha / 5 * sum of x_d^2 over the channels d from c - 2 to c + 2) ^ beta with
    alpha 0.0001, beta 0.75; channels beyond the ends count as 0. Both programs divide alpha by 5.
    """
    return nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)


class Dropout(nn.Dropout):
    """Dropout whose mask belongs to an image's place in the whole batch of an iteration.

    Processes and parts that share a batch draw the same mask for all of it from the same seed, and
    each takes the rows of its own images: what an image loses does not depend on who computes it.
    """

    batch_size: int | None = None
    rows_N: torch.Tensor | None = None

    def forward(self, x_NX: torch.Tensor) -> torch.Tensor:
        if not self.training or self.p == 0 or self.batch_size is None or self.rows_N is None:
            return super().forward(x_NX)
        keep_BX = x_NX.new_empty(self.batch_size, *x_NX.shape[1:]).bernoulli_(1 - self.p)
        return x_NX * keep_BX[self.rows_N] / (1 - self.p)


def place_in_batch(model: nn.Module, batch_size: int, rows_N: torch.Tensor) -> None:
    """Tell the network's dropout which rows of a batch of ``batch_size`` its next images are."""
    for module in model.modules():
        if isinstance(module, Dropout):
            module.batch_size, module.rows_N = batch_size, rows_N
