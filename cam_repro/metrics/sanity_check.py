"""Score how much maps depend on what the network has learned (Adebayo et al., NeurIPS 2018).

The number is the mean over images of Spearman's rank correlation, -1 to 1, of a map with that of
the same network whose layers are random from the class layer down to the one named. Where it stays
near 1 the map does not show what the network has learned. No true box is used.
"""

from __future__ import annotations

from typing import ClassVar

from cam_repro.metrics.intervals import Mean
from cam_repro.metrics.protocol import Needs, Protocol, Scored
from cam_repro.runs.answers import Answers
from cam_repro.truth import Truth


class SanityCheck(Protocol):
    """Score the rank correlation of maps with those of a network that is made random."""

    name: ClassVar[str] = "sanity_check"
    needs: ClassVar[Needs] = Needs.ANSWERS

    def score(self, truth: Truth, given: Answers) -> Scored:
        """Score the answers of a run's network."""
        found = dict(zip(given.labels, Mean.of_each(given.answers_NK), strict=True))
        numbers = {
            "n_images": len(truth),
            "n_asked": len(given.ids),
            "rank_correlation": {layer: mean.value for layer, mean in found.items()},
            "rank_correlation_95": {layer: mean.ends for layer, mean in found.items()},
        }
        width = max(map(len, found), default=0)
        lines = [
            "rank correlation with maps of the network made random from its class layer to",
            *(
                f"  {layer:{width}}  {mean.value:6.3f}   95 %: {mean.low:.3f} to {mean.high:.3f}"
                for layer, mean in found.items()
            ),
            f"near 0: maps show what was learned; {len(given.ids)} of {len(truth)} images",
        ]
        return Scored(numbers, lines, thresholds_are={})
