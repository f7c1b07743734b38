"""Define what commands ask of a data set, and make it from the settings ``data=NAME``.

NAME is a file in configs/data, whose ``_target_`` is a class derived from ``DataSource``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cam_repro.config import TARGET, build, choices, compose_choice
from cam_repro.data.check import TreeReport, check_image_sets
from cam_repro.data.image_set import SPLITS, ImageSet
from cam_repro.errors import UserError
from cam_repro.words import composed_from


class DataSource(ABC):
    """Open, make and check one data set.

    The constructor takes the keys of the data set's YAML, except ``_target_``, and reads no files
    yet. A new data set must define ``open``; the other methods, for ``cam-data``, have defaults.
    """

    @abstractmethod
    def open(self, split: str, with_boxes: bool = True) -> ImageSet:
        """Index one split: ids, labels, boxes, classes, and where its pixels are read from.

        split: one of ``SPLITS``. with_boxes: read the true boxes too, which training does not need.
        Raises UserError where the split is missing or contradicts itself.
        """

    def splits(self) -> list[str]:
        """List the splits that exist; UserError where none does."""
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
        """Make the files of a data set that this package makes itself, and give their folder.

        Raises UserError for all other data sets.
        """
        raise UserError("cam-data make: makes the built-in set alone (data=demo)")

    def check(self, decode: bool) -> TreeReport:
        """Check all splits. decode: read every pixel, to find broken files."""
        name = type(self).__name__
        return check_image_sets(name, name, self.open, decode, "the data set")


def open_source(data: Mapping[str, Any]) -> DataSource:
    """Make the data set that the keys of a configs/data/NAME.yaml describe.

    Raises UserError where ``_target_`` is not a ``DataSource`` or its constructor raises one.
    """
    return build(DataSource, "data", data)  # type: ignore[type-abstract]


def check_stored_source(data: Mapping[str, Any], path: Path | str) -> None:
    """Refuse settings of a data set in a file at ``path`` whose class no ``data=NAME`` has.

    A file does not say which code is run: only the YAML files of this package and the user's do.
    """
    known = {compose_choice("data", name).get(TARGET) for name in choices("data", composed_from())}
    if data.get(TARGET) not in known:
        raise UserError(
            f"{path}: its data set is of the class {data.get(TARGET)}, which no data=NAME has: it "
            "is not loaded; name the folder of a YAML of your own by --config-dir"
        )


def open_image_set(data: Mapping[str, Any], split: str, with_boxes: bool) -> ImageSet:
    """Open one split of the data set that the keys of a configs/data/NAME.yaml describe."""
    return open_source(data).open(split, with_boxes)
