"""What a data set is to the commands: ``data=NAME`` names a class by configs/data/NAME.yaml."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate

from cam_repro.data.check import TreeReport, check_image_sets
from cam_repro.data.image_set import SPLITS, ImageSet
from cam_repro.errors import UserError


class DataSource(ABC):
    """A data set, by its settings.

    The keys of its YAML, but for ``_target_``, are the arguments of its constructor, which reads
    nothing yet. A new data set writes ``open``; what else ``cam-data`` does has a default.
    """

    @abstractmethod
    def open(self, split: str, with_boxes: bool = True) -> ImageSet:
        """Index one split: ids, labels, boxes, classes, and where its pixels are read from.

        split: one of ``SPLITS``. with_boxes: find the true boxes too, which training does without.
        Raises UserError where the split is not there, or contradicts itself.
        """

    def splits(self) -> list[str]:
        """Name the splits that there are; UserError where there is none."""
        there, errors = [], []
        for split in SPLITS:
            try:
                self.open(split, with_boxes=False)
            except UserError as error:
                errors.append(error)
            else:
                there.append(split)
        if not there:
            raise errors[0]
        return there

    def make(self) -> Path:
        """Make the data set, where it is one that is made; give its folder."""
        raise UserError("cam-data make: makes the built-in set alone (data=demo)")

    def check(self, decode: bool) -> TreeReport:
        """Look at all splits. decode: read every pixel, to find broken files."""
        name = type(self).__name__
        return check_image_sets(name, name, self.open, decode, "the data set")


def open_source(data: Mapping[str, Any]) -> DataSource:
    """Make the data set that the keys of a configs/data/NAME.yaml describe.

    Raises UserError where ``_target_`` names no data set, and what its constructor raises.
    """
    try:
        source = instantiate(dict(data))
    except InstantiationException as error:
        if isinstance(error.__cause__, UserError):  # Hydra wraps what a constructor raises
            raise error.__cause__ from None
        raise
    if not isinstance(source, DataSource):
        raise UserError(f"data._target_={data.get('_target_')}: is not a DataSource")
    return source


def open_image_set(data: Mapping[str, Any], split: str, with_boxes: bool) -> ImageSet:
    """Open one split of the data set that the keys of a configs/data/NAME.yaml describe."""
    return open_source(data).open(split, with_boxes)
