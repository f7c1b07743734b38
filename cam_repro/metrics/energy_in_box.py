"""Score maps by how much of them lies in the true boxes (Wang et al., Score-CAM, CVPRW 2020).

The source calls it the energy-based pointing game: the sum of the map within the boxes, divided by
its sum over the image. It leaves out images whose object covers more than half of them; here all
images count, and what a map of one value everywhere would get is given beside.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import numpy as np

from cam_repro.errors import UserError
from cam_repro.geometry import inside_boxes
from cam_repro.metrics.intervals import Mean
from cam_repro.metrics.official import need_boxes, warn_about_boxes
from cam_repro.metrics.protocol import Needs, Protocol, Scored, known_sizes, measured
from cam_repro.truth import Truth


def energy_share(map_HW: np.ndarray, inside_HW: np.ndarray) -> float | None:
    """Compute the share of a map's sum that lies inside, 0 to 1; negative values count as 0.

    inside_HW: bool. None where the map has no sum: nothing is over 0, or not all are numbers.
    """
    positive_HW = np.maximum(map_HW, 0, dtype=np.float64)
    total = float(positive_HW.sum())
    if not (np.isfinite(total) and total > 0):
        return None
    return float(positive_HW[inside_HW].sum()) / total


class EnergyInBox(Protocol):
    """Score maps by the mean share of their energy that lies in the true boxes."""

    name: ClassVar[str] = "energy_in_box"
    needs: ClassVar[Needs] = Needs.IMAGE_MAPS
    odd_maps: ClassVar[str] = "each counts as 0 %"

    def score(self, truth: Truth, given: Iterable[np.ndarray]) -> Scored:
        """Score the map of each image's true class; without a true box it gets 0 %."""
        need_boxes(truth, self.name)
        sizes_N2 = known_sizes(truth, self.name)
        warn_about_boxes(truth)

        def share_and_cover(row: int, map_HW: np.ndarray) -> tuple[float | None, float]:
            inside_HW = inside_boxes(truth.boxes.of(row), *sizes_N2[row].tolist())
            return energy_share(map_HW, inside_HW), float(inside_HW.mean())

        found = list(measured(given, share_and_cover))
        if not found:
            raise UserError("no image to score: no map was given")
        n_empty = sum(share is None for share, _ in found)
        energy = Mean.of(100 * np.array([share or 0.0 for share, _ in found]))
        cover = 100 * float(np.mean([covered for _, covered in found]))
        numbers = {
            "n_images": len(truth),
            "n_without_energy": n_empty,
            "energy_in_box": energy.value,
            "energy_in_box_95": energy.ends,
            "boxes_cover": cover,
        }
        lines = [
            f"{'energy in the boxes %':26}{energy.value:8.2f}   95 %: {energy.low:.2f} to "
            f"{energy.high:.2f}",
            f"{'a constant map would get %':26}{cover:8.2f}",
            f"{n_empty} maps have nothing over 0, or are no numbers: each counts as 0 %",
        ]
        return Scored(numbers, lines, thresholds_are={})
