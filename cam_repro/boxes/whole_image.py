"""Guess the box of the whole image for every class: what any localization method has to beat."""

from __future__ import annotations

from typing import ClassVar

from cam_repro.boxes.base import BoxRule, RankedMaps
from cam_repro.geometry import whole_image
from cam_repro.types import MAX_GUESSES, Guess


class WholeImage(BoxRule):
    """Guess the same box for each of the five best classes, whatever the maps say."""

    needs_maps: ClassVar[bool] = False

    def __call__(self, maps: RankedMaps) -> list[Guess]:
        box = whole_image(maps.width, maps.height)
        return [(class_index, box) for class_index in maps.classes[:MAX_GUESSES]]
