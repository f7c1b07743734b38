"""Guess by the paper's heuristic for Table 3: loose and tight boxes (section 3.2)."""

from __future__ import annotations

from cam_repro.boxes.base import BoxRule, RankedMaps
from cam_repro.boxes.threshold import box_at, check_threshold
from cam_repro.errors import UserError
from cam_repro.types import Guess


class HeuristicBoxes(BoxRule):
    """Guess class 1 loose, class 1 tight, class 2 loose, class 2 tight, class 3 loose.

    loose, tight: shares of the map's maximum, loose < tight. The paper gives neither; loose is
    its 20 %, and tight by default the middle threshold of the authors' program, 100 of 255.
    """

    def __init__(self, loose: float = 0.2, tight: float = 0.392) -> None:
        self.loose = check_threshold("loose", loose)
        self.tight = check_threshold("tight", tight)
        if loose >= tight:
            raise UserError(f"loose={loose}: must be under tight={tight}")
        self.order = [(0, loose), (0, tight), (1, loose), (1, tight), (2, loose)]

    def __call__(self, maps: RankedMaps) -> list[Guess]:
        return [
            (maps.classes[rank], box_at(maps, rank, threshold))
            for rank, threshold in self.order
            if rank < len(maps)
        ]
