"""Provide what all networks share: checks of settings, the width multiplier, common layers."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from numbers import Real

import torch
from torch import nn

from cam_repro.errors import UserError, choose

NORMS = ("none", "batch")
POOLS = ("avg", "max")

CAFFE_MEAN_IMAGE = (122.67892, 116.66877, 104.00699)
"""The mean red, green and blue, 0 to 255, of Caffe's mean image of ILSVRC 2012."""

BLOCK_EPS = 0.001
"""Epsilon of the batch norm in a ``ConvBlock``, as in torchvision's GoogLeNet."""


def check_number(key: str, value: object, low: float, high: float = math.inf) -> float:
    """Return ``value`` if it is a number in [low, high), else raise ``UserError`` with ``key``."""
    if isinstance(value, bool) or not isinstance(value, Real) or not low <= float(value) < high:
        span = f"at least {low:g}" + (f" and below {high:g}" if high < math.inf else "")
        raise UserError(f"model.{key}={value!r}: give a number {span}")
    return float(value)


def check_count(key: str, value: object) -> int:
    """Return ``value`` if it is a whole number above 0, else raise ``UserError`` with ``key``."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UserError(f"model.{key}={value!r}: give a whole number of 1 or more")
    return value


def check_flag(key: str, value: object) -> bool:
    """Return ``value`` if it is true or false, else raise ``UserError`` with ``key``."""
    if not isinstance(value, bool):
        raise UserError(f"model.{key}={value!r}: give true or false")
    return value


def check_choice(key: str, value: object, choices: Collection[str]) -> str:
    """Return ``value`` if it is one of ``choices``, else raise ``UserError`` with ``key``."""
    if not isinstance(value, str) or value not in choices:
        raise UserError(f"model.{key}={value!r}: {choose(str(value), choices)}")
    return value


def check_colours(key: str, value: object) -> torch.Tensor:
    """Make a tensor (3,1,1) of a number for each colour, of colours in [0, 1].

    Raises ``UserError`` if these are not three, or can only be of colours of 0 to 255.
    """
    try:
        colours_311 = torch.tensor([float(each) for each in value], dtype=torch.float32)  # type: ignore[attr-defined]
        colours_311 = colours_311.view(3, 1, 1)
    except (RuntimeError, TypeError, ValueError):
        raise UserError(f"model.{key}={value}: give three numbers, as [0.5,0.5,0.5]") from None
    if not bool(colours_311.isfinite().all()) or (key == "pixel_std" and colours_311.min() <= 0):
        raise UserError(
            f"model.{key}={value}: must be numbers" + (" above 0" if key == "pixel_std" else "")
        )
    if colours_311.max() > 1:
        raise UserError(
            f"model.{key}={value}: is of colours of 0 to 255, and here they are in [0, 1]: divide "
            "pixel_mean and pixel_std by 255"
        )
    return colours_311


def some_layers(names: Iterable[str], most: int = 12) -> str:
    """List the names of the outer layers for a message, at most ``most`` of them."""
    outer = [name for name in names if name and name.count(".") == 0]
    more = f" and {len(outer) - most} more" if len(outer) > most else ""
    return ", ".join(outer[:most]) + more + ", and layers within these (such as NAME.0)"


def scale_channels(channels: int, width: float) -> int:
    """Multiply ``channels`` by ``width`` and round to a multiple of 8, at least 8."""
    return max(8, round(channels * width / 8) * 8)


def check_groups(groups: object, channels: Sequence[int]) -> int:
    """Return ``groups`` if it divides all of ``channels``, else raise ``UserError``."""
    count = check_count("groups", groups)
    if any(c % count for c in channels):
        counts = " and ".join(str(c) for c in dict.fromkeys(channels))
        raise UserError(f"model.groups={count}: it has to divide the {counts} channels it joins")
    return count


def activation(channels: int, norm: str) -> nn.Module:
    """Make a ReLU, with a batch norm before it if ``norm`` is ``batch``.

    Both come as one module, so that the convolutions of a ``Sequential`` keep torchvision's
    numbers. The ReLU never works in place: a saliency method may still need its input.
    """
    if norm == "batch":
        return nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU())
    return nn.ReLU()


class ConvBlock(nn.Module):
    """Run a convolution, batch norm if wanted, and ReLU.

    kernel: height and width, one number for both. padding: on each side; None: what keeps the size
    at stride 1.

    Layers are named ``conv`` and ``bn``, as in torchvision's GoogLeNet. With batch norm the
    convolution has no bias. Weights trained with batch norm can be folded for a block without it
    (see weights.py).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int | tuple[int, int],
        *,
        stride: int = 1,
        padding: int | None = None,
        groups: int = 1,
        norm: str = "none",
    ) -> None:
        super().__init__()
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        self.conv = nn.Conv2d(
            in_channels,
            out_channels,
            (height, width),
            stride=stride,
            padding=(height // 2, width // 2) if padding is None else padding,
            groups=groups,
            bias=norm == "none",
        )
        self.bn = nn.BatchNorm2d(out_channels, eps=BLOCK_EPS) if norm == "batch" else nn.Identity()
        self.relu = nn.ReLU()

    def forward(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        """Turn (N,C,H,W) into (N,K,h,w), 0 or more."""
        y_NKhw: torch.Tensor = self.relu(self.bn(self.conv(x_NCHW)))
        return y_NKhw


def ceil_max_pool(kernel: int = 3) -> nn.MaxPool2d:
    """Make a max pool of stride 2 that rounds sizes up, as Caffe does."""
    return nn.MaxPool2d(kernel, stride=2, ceil_mode=True)


def caffe_lrn() -> nn.LocalResponseNorm:
    """Make local response normalisation with the numbers that all Caffe networks here have.

    y_c = x_c / (1 + alpha / 5 * sum of x_d^2 over the channels d from c - 2 to c + 2) ^ beta with
    alpha 0.0001, beta 0.75; channels beyond the ends count as 0. Caffe and torch both divide alpha
    by 5.
    """
    return nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)


def pool_then_norm() -> nn.Module:
    """Make a max pool followed by local response normalisation, as in CaffeNet."""
    return nn.Sequential(ceil_max_pool(), caffe_lrn())


def norm_then_pool() -> nn.Module:
    """Make local response normalisation followed by a max pool, as in ``bvlc_alexnet``."""
    return nn.Sequential(caffe_lrn(), ceil_max_pool())


class Dropout(nn.Dropout):
    """Drop the same units of an image, whichever process and part of a batch computes it.

    A batch may be shared by several processes, or computed in several parts. Each draws the same
    mask for the whole batch, from the same seed, and uses the rows of its own images.

    batch_size: images of the whole batch. rows_N: places of the next images in it. Both are set by
    ``place_in_batch``; while one is None this is torch's dropout.
    """

    batch_size: int | None = None
    rows_N: torch.Tensor | None = None

    def forward(self, x_NX: torch.Tensor) -> torch.Tensor:
        """Set random units to 0 and divide the others by 1 - p, in training; else return x."""
        if not self.training or self.p == 0 or self.batch_size is None or self.rows_N is None:
            return super().forward(x_NX)
        keep_BX = x_NX.new_empty(self.batch_size, *x_NX.shape[1:]).bernoulli_(1 - self.p)
        return x_NX * keep_BX[self.rows_N] / (1 - self.p)


def place_in_batch(network: nn.Module, batch_size: int, rows_N: torch.Tensor) -> None:
    """Tell the network's dropout which rows of the whole batch the next images are."""
    for module in network.modules():
        if isinstance(module, Dropout):
            module.batch_size, module.rows_N = batch_size, rows_N
