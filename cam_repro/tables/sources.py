"""Define the two sources for a row of the tables: the paper, and its authors' code.

Zhou et al. (CVPR 2016) describe one way from an image to a box; the code that they released takes
another. So it depends on the source which runs fill a row.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from cam_repro.runs.folders import DEFAULT_VARIANT
from cam_repro.tables.paper import Row, WantedRun


@dataclass(frozen=True)
class Source:
    """Say how the rows of the tables are made by one source.

    view: how the image is shown to the networks. rules: for each box rule of Tables 2 and 3, the
    rule that this source uses; others are the same by both. variants: of a network
    (``model.variant``), best first; a later one is used where the first was not run.
    """

    name: str
    view: str
    rules: dict[str, str]
    variants: tuple[str, ...]

    def wanted_runs(self, row: Row) -> list[WantedRun]:
        """List the runs that may fill a row by this source, best first."""
        return [
            replace(run, variant=variant, rule=run.rule and self.rules.get(run.rule, run.rule))
            for variant in self.variants
            for run in row.wanted
        ]


PAPER = Source(
    name="paper",
    view="squash",
    rules={"threshold": "threshold", "heuristic": "heuristic"},
    variants=(DEFAULT_VARIANT,),
)
"""Section 3: the whole image, 20 % of the maximum, largest component; convolutions not grouped."""

AUTHORS = Source(
    name="authors",
    view="ten",
    rules={"threshold": "dt_box", "heuristic": "dt_box_heuristic"},
    variants=("caffe", DEFAULT_VARIANT),
)
"""Ten crops merged, boxes by the dt_box program, Caffe's networks with grouped convolutions."""

SOURCES = {source.name: source for source in (PAPER, AUTHORS)}
