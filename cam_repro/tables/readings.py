"""What the paper's text says and what the authors' released code does: two readings of a row.

Zhou et al. (CVPR 2016) describe one way from an image to a box, the code that they released
takes another. Which runs fill a row of the tables therefore depends on whom one reads.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from cam_repro.runs.folders import DEFAULT_VARIANT, run_name
from cam_repro.tables.paper import Row, Source


@dataclass(frozen=True)
class Reading:
    """How the rows of the tables are made.

    view: how the image is shown to the networks. rules: what stands for each box rule
    that paper.py names. variants: of a network (``model.variant``), best first; a later one
    stands in where the first was not run.
    """

    name: str
    view: str
    rules: dict[str, str]
    variants: tuple[str, ...]

    def sources(self, row: Row) -> list[Source]:
        """What may fill a row under this reading, best first."""
        return [
            replace(source, variant=variant, rule=self._own(source.rule))
            for variant in self.variants
            for source in row.sources
        ]

    def _own(self, rule: str | None) -> str | None:
        return None if rule is None else self.rules[rule]


TEXT = Reading(
    name="text",
    view="squash",
    rules={"threshold": "threshold", "heuristic": "heuristic"},
    variants=(DEFAULT_VARIANT,),
)
"""Section 3: the whole image, 20 % of the maximum, largest component; convolutions not grouped."""

CODE = Reading(
    name="code",
    view="ten",
    rules={"threshold": "dt_box", "heuristic": "dt_box_heuristic"},
    variants=("caffe", DEFAULT_VARIANT),
)
"""Ten crops merged, boxes by the dt_box program, Caffe's networks with grouped convolutions."""

READINGS = {reading.name: reading for reading in (TEXT, CODE)}


def run_of(source: Source) -> str:
    """The name of the runs of a source's network, as manifests and folders have it."""
    return run_name({"name": source.model, "variant": source.variant})
