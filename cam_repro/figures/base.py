"""Define what a figure of runs is, and what the user wants to see in it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from matplotlib.figure import Figure

from cam_repro.errors import UserError
from cam_repro.figures.shown import Shown, ShownRun, read_run
from cam_repro.runs.folders import labels_of
from cam_repro.runs.manifest import EvalManifest

CHOSEN = {
    "even": "spread evenly over the split",
    "best": "those of the highest IoU of the first guess, by the run's first box rule",
    "typical": "those in the middle by IoU of the first guess, by the run's first box rule",
    "worst": "those of the lowest IoU of the first guess, by the run's first box rule",
}
"""How images of each kind (``runs.examples.KINDS``) were chosen, in words."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Hold what the user wants to see: settings of ``cam-figures`` that all figures share.

    names: the runs, as the user named them. folders: theirs, in this order.
    box: a box rule; None: each run's first. images: ids of images; empty: chosen by ``sort``
    (``runs.examples.KINDS``), ``count`` of them; None: as many as the figure likes.
    """

    names: str
    folders: Sequence[Path]
    box: str | None = None
    images: Sequence[str] = ()
    sort: str = "even"
    count: int | None = None

    @property
    def chosen(self) -> str:
        """Say how the images were chosen, for the figure."""
        return "images: " + ("named by hand" if self.images else CHOSEN[self.sort])

    def runs(self) -> list[ShownRun]:
        """Read the examples of all runs."""
        return [read_run(folder, self.box) for folder in self.folders]

    def one_folder(self) -> Path:
        """Give the folder of the only run; raises UserError where there are several."""
        if len(self.folders) != 1:
            raise UserError(
                f"runs={self.names}: {len(self.folders)} runs, and this figure shows one: name "
                f"one of {', '.join(map(str, self.folders[:3]))}"
            )
        return self.folders[0]

    def one_run(self) -> ShownRun:
        """Read the examples of the only run; raises UserError where there are several."""
        return read_run(self.one_folder(), self.box)

    def images_of(self, run: ShownRun, default: int) -> list[Shown]:
        """Give the images wanted of a run. default: how many, where no number was given."""
        if self.images:
            return run.named(self.images)
        return run.pick(self.sort, self.count or default)

    def images_of_all(self, runs: Sequence[ShownRun], default: int) -> list[list[Shown]]:
        """Give the images wanted, the same of every run: a list for each run.

        They are chosen among those that all runs have, by the first run's kinds and IoU.
        Raises UserError where runs are of different images, or have no example in common.
        """
        first = runs[0]
        check_same_images({run.folder: run.manifest for run in runs})
        if self.images:
            return [run.named(self.images) for run in runs]
        common = set.intersection(*({one.example.id for one in run.images} for run in runs))
        shared = [one for one in first.images if one.example.id in common]
        if not any(self.sort in one.example.why for one in shared):
            raise UserError(
                f"sort={self.sort}: no such example of {first.folder} is among those of all runs: "
                "use sort=even, or keep more of each kind with cam-eval examples=N"
            )
        chosen = ShownRun(first.folder, first.manifest, first.rule, shared).pick(
            self.sort, self.count or default
        )
        ids = [one.example.id for one in chosen]
        return [run.named(ids) for run in runs]


def check_same_images(manifests: Mapping[Path, EvalManifest]) -> None:
    """Raise UserError where runs, by their folders, are not over one split of one data set."""
    (first, of_first), *others = manifests.items()
    for folder, manifest in others:
        if manifest.data.fingerprint != of_first.data.fingerprint or (
            manifest.split != of_first.split
        ):
            raise UserError(
                f"{folder} and {first} are not of the same images: name runs over one split of "
                "one data set"
            )


def labels_of_runs(runs: Sequence[ShownRun]) -> list[str]:
    """Name each run, with its folder where two would have the same name."""
    return labels_of([run.manifest for run in runs], [str(run.folder) for run in runs])


class RunFigure(ABC):
    """Draw a figure of one or several runs.

    To add one, write a subclass and a YAML in ``configs/figure/`` (or in your own
    ``--config-dir``) whose ``_target_`` names it; the arguments of ``__init__`` are the keys of
    the YAML.

    of_training: whether it is drawn of training runs, not of scored ones. uses: which settings of
    ``cam-figures`` besides ``runs`` and ``output`` make a difference to it; others are refused.
    """

    of_training: ClassVar[bool] = False
    uses: ClassVar[tuple[str, ...]] = ("box", "images", "sort", "count")

    @abstractmethod
    def draw(self, wanted: Wanted) -> Figure:
        """Draw it. Raises UserError for runs that it cannot be drawn of."""

    @staticmethod
    def at_least_one(key: str, value: int) -> int:
        """Give a number of ``figure.KEY``; raises UserError where it is no whole one above 0."""
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise UserError(f"figure.{key}={value}: must be a whole number, 1 or more")
        return value
