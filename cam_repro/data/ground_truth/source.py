"""Define ``data=ground_truth``: any file or folder that ``cam-score`` takes, without images."""

from __future__ import annotations

from pathlib import Path

from cam_repro.data.check import NO_IMAGES, TreeReport
from cam_repro.data.ground_truth.image_set import ground_truth_set
from cam_repro.data.ground_truth.read import read_truth
from cam_repro.data.image_set import ImageSet
from cam_repro.data.sources import DataSource
from cam_repro.errors import UserError
from cam_repro.files import at_home


class GroundTruth(DataSource):
    """Open a truth without images, for ``model=none`` and cam-score.

    file: whatever ``read_truth`` takes. name: of the data set in output paths; None: as of
    ``ground_truth_set``. cache: folder in which the table of an XML folder is kept, or None.
    """

    def __init__(
        self, file: str | None = None, name: str | None = None, cache: str | None = None
    ) -> None:
        self.file, self.name = file, name
        self.cache = None if cache is None else Path(cache)

    def open(self, split: str, with_boxes: bool = True) -> ImageSet:
        if self.file is None:
            raise UserError("data.file is not given: add data.file=F, the labels, sizes and boxes")
        path = at_home(self.file)
        truth = read_truth(path, self.cache)
        if truth.sizes_N2 is None:
            raise UserError(
                f"{self.file}: does not say how large the images are; give one that does"
            )
        return ground_truth_set(truth, path, split, self.name)

    def splits(self) -> list[str]:
        raise UserError(NO_IMAGES)

    def check(self, decode: bool) -> TreeReport:
        raise UserError(NO_IMAGES)
