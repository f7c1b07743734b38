"""Define what a measure is: it asks a network about changed images, or about its own maps.

A box tells whether a map finds an object. A measure asks whether a map shows what the network looks
at, so it runs the network again. Its answers are kept in the run; the protocol of the same name
(``cam_repro/metrics``) makes numbers of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from cam_repro.errors import UserError
from cam_repro.models.base import CamNetwork


@dataclass(frozen=True)
class ExplainedImages:
    """Hold a batch of images as the network saw them, and the map of each one's best class.

    network: in evaluation mode, its parameters frozen. crops_NHW3: uint8 RGB. classes_N: the class
    that the network guesses first. maps_Nhw: its raw map, float32, stretched over the crop.
    probabilities: gives the probability (X,) of a class for images (X, H, W, 3), uint8.
    maps_by: gives the maps of the same images and classes by another network.
    """

    network: CamNetwork
    crops_NHW3: np.ndarray
    classes_N: np.ndarray
    maps_Nhw: np.ndarray
    probabilities: Callable[[np.ndarray, int], np.ndarray]
    maps_by: Callable[[CamNetwork], np.ndarray]


class Measure(ABC):
    """Ask the network K questions about each image and its map.

    To add a measure, write a subclass and a YAML in ``configs/quality/`` (or in your own
    ``--config-dir``) whose ``_target_`` names it, and a protocol of the same name that scores its
    answers (``Needs.ANSWERS``).

    images: how many images of the split are asked about, spread evenly; None: all.
    """

    def __init__(self, images: int | None) -> None:
        self.images = None if images is None else whole_number("images", images, 1)

    @abstractmethod
    def labels(self, network: CamNetwork) -> list[str]:
        """Name the K answers."""

    @abstractmethod
    def answers(self, batch: ExplainedImages) -> np.ndarray:
        """Give the answers for each image of a batch, float (N, K)."""


def whole_number(key: str, value: object, least: int) -> int:
    """Return ``value``; raise UserError, naming ``key``, unless it is whole and not too small."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UserError(f"{key}={value}: must be a whole number, {least} or more")
    return value
