"""Score maps by the box of the paper's rule at a fixed threshold: GT-known localization of maps."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import ClassVar

import numpy as np

from cam_repro.boxes.threshold import check_threshold, largest_component_box
from cam_repro.metrics.gt_known import IOU_THRESHOLDS, GtKnown
from cam_repro.metrics.official import need_boxes
from cam_repro.metrics.protocol import FIXED, Needs, Scored, measured
from cam_repro.truth import Truth


class Localization(GtKnown):
    """Box the largest component of each map above a share of its maximum, and score the boxes.

    Of a run that used ``box=threshold`` with this threshold, it gives what ``gt_known`` gives.

    threshold: share of the maximum, 20 % in the paper. ious: as for ``GtKnown``.
    """

    name: ClassVar[str] = "localization"
    needs: ClassVar[Needs] = Needs.IMAGE_MAPS
    odd_maps: ClassVar[str] = "where the maximum is not a number, the box is the whole image"
    flat_maps: ClassVar[str | None] = "the box of each is the whole image"

    def __init__(self, threshold: float = 0.2, ious: Sequence[float] = IOU_THRESHOLDS) -> None:
        super().__init__(ious)
        self.threshold = check_threshold("protocol.threshold", threshold)

    def score(self, truth: Truth, given: Iterable[np.ndarray]) -> Scored:
        """Score the map of each image's true class."""
        need_boxes(truth, self.name)
        boxes = list(
            measured(given, lambda _, map_HW: largest_component_box(map_HW, self.threshold))
        )
        scored = super().score(truth, np.array(boxes, np.int64).reshape(-1, 4))
        return dataclasses.replace(
            scored,
            numbers={**scored.numbers, "threshold": self.threshold},
            lines=[*scored.lines, f"boxes above {self.threshold:g} of the map's maximum, fixed"],
            thresholds_are={**scored.thresholds_are, "threshold": FIXED},
        )
