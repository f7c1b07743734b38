"""Count what is odd about guesses, so that a submission written in a wrong form is noticed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from cam_repro.types import PAD

if TYPE_CHECKING:
    from cam_repro.runs.guesses import Guesses
    from cam_repro.truth import Truth


@dataclass(frozen=True)
class Oddities:
    """Count odd guesses.

    outside: boxes that leave their image; None where no size is known. inverted: boxes with
    x1 < x0 or y1 < y0, which overlap nothing. beyond_five: guesses after the fifth of their image,
    which do not count. unknown_label: guesses whose label no class has; None where the ground truth
    does not say which classes there are.
    """

    outside: int | None
    inverted: int
    beyond_five: int
    unknown_label: int | None

    def as_json(self) -> dict[str, int | None]:
        """Give the counts by name."""
        return asdict(self)

    @property
    def line(self) -> str:
        """Say it in one line; what cannot be known is left out."""
        known = {
            "outside their image": self.outside,
            "inverted": self.inverted,
            "after the fifth": self.beyond_five,
            "of unknown label": self.unknown_label,
        }
        return "odd guesses: " + ", ".join(
            f"{count} {what}" for what, count in known.items() if count is not None
        )


def count_oddities(truth: Truth, guesses: Guesses) -> Oddities:
    """Count what is odd about guesses that are in the truth's order."""
    x0_NG, y0_NG, x1_NG, y1_NG = np.moveaxis(guesses.boxes_N54, -1, 0)
    outside = None
    if truth.sizes_N2 is not None:
        width_N1, height_N1 = truth.sizes_N2[:, :1], truth.sizes_N2[:, 1:]
        low_NG = np.minimum(np.minimum(x0_NG, x1_NG), np.minimum(y0_NG, y1_NG))
        leaves_NG = low_NG < 0
        leaves_NG |= np.maximum(x0_NG, x1_NG) >= width_N1
        leaves_NG |= np.maximum(y0_NG, y1_NG) >= height_N1
        is_made_NG = (guesses.boxes_N54 != PAD).any(axis=-1)
        outside = int(np.count_nonzero(leaves_NG & is_made_NG & (width_N1 > 0)))
    return Oddities(
        outside=outside,
        inverted=int(np.count_nonzero((x1_NG < x0_NG) | (y1_NG < y0_NG))),
        beyond_five=guesses.n_beyond,
        unknown_label=None if truth.classes is None else guesses.n_unknown,
    )
