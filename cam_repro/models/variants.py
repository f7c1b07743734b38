"""Describe the variants of a network: as torchvision builds it, or as Caffe ran it.

Each family of networks (AlexNet and its GAP networks, say) has one table of its variants,
``CamNetwork.variants``. If they differ in more than ``Variant`` describes, the family adds fields
in a subclass. A network's constructor reads these fields and never asks for the variant's name.
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

    layers: our name of each layer by Caffe's name. The first entry is the layer that takes the
        image. One table serves the whole family, so a network may lack some of these layers.
    pixel_mean: the red, green and blue, 0 to 255, that Caffe subtracted from an image.
    order: names of layers without weights, in the order in which the file lists them, if only this
        order tells the variant from another one; else empty.
    """

    layers: Mapping[str, str]
    pixel_mean: tuple[float, float, float]
    order: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Variant:
    """Describe one way of building a family of networks.

    name: the value of ``model.variant``.
    torchvision_name: torchvision's network that has the same layers under the same names, whose
        ImageNet weights ``model.weights=torchvision`` loads; None if there is none.
    caffe: the Caffe files that fit; None if none does.
    cam_groups: groups of the added convolutions, unless the settings give a number.
    cam_bias: whether the added linear layer has a bias.
    """

    name: str = TORCHVISION
    torchvision_name: str | None = None
    caffe: CaffeWeights | None = field(default=None, repr=False)
    cam_groups: int = 1
    cam_bias: bool = False

    @property
    def is_caffe(self) -> bool:
        """Tell whether this is a Caffe network: no batch norm, colours normalised as in Caffe."""
        return self.name != TORCHVISION


def by_name(*variants: V) -> dict[str, V]:
    """Make the table of a family: its variants by name."""
    return {variant.name: variant for variant in variants}
