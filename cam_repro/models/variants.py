"""Describe the variants of a network: as torchvision builds it, or as Caffe ran it.

Each family of networks has one table of its variants, ``CamNetwork.variants``. A family whose
variants differ in more than what stands here adds fields in a subclass of ``Variant``; its
constructor reads the numbers from the record and never asks which variant it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

TORCHVISION = "torchvision"
CAFFE = "caffe"

V = TypeVar("V", bound="Variant")


@dataclass(frozen=True)
class CaffeWeights:
    """Describe the ``.caffemodel`` files that fit a variant.

    layers: Caffe's names of layers to ours, the layer that sees the colours first. One table serves
        the whole family, so ours may be a layer that only another network of the family has.
    pixel_mean: red, green and blue, 0 to 255, that Caffe subtracted from an image.
    order: layers without weights in the order in which the file lists them, where nothing but this
        order tells the variant from another one; empty elsewhere.
    """

    layers: Mapping[str, str]
    pixel_mean: tuple[float, float, float]
    order: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Variant:
    """Describe one way of building a family of networks.

    name: the value of ``model.variant``.
    torchvision_name: torchvision's network that has the same layers under the same names, whose
        ImageNet weights ``model.weights=torchvision`` loads; None where there is none.
    caffe: the Caffe files that fit; None where none does.
    cam_groups: groups of the added convolutions, where the settings give no number.
    cam_bias: whether the added linear layer has a bias.
    """

    name: str = TORCHVISION
    torchvision_name: str | None = None
    caffe: CaffeWeights | None = field(default=None, repr=False)
    cam_groups: int = 1
    cam_bias: bool = False

    @property
    def is_caffe(self) -> bool:
        """Tell whether the network is built as Caffe's: without batch norm, for Caffe's colours."""
        return self.name != TORCHVISION


def by_name(*variants: V) -> dict[str, V]:
    """Make the table of a family: its variants by name."""
    return {variant.name: variant for variant in variants}
