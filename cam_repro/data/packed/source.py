"""Define ``data=packed``: a folder that ``cam-data pack`` wrote."""

from __future__ import annotations

from pathlib import Path

from cam_repro.data.check import TreeReport, check_image_sets, conclude
from cam_repro.data.image_set import SPLITS, ImageSet
from cam_repro.data.packed.read import (
    INDEX,
    SHARD_SUMS,
    changed_shards,
    load_packed_set,
    read_pack_manifest,
)
from cam_repro.data.sources import DataSource
from cam_repro.errors import UserError
from cam_repro.files import at_home


class Packed(DataSource):
    """Open and check a packed data set.

    root: the folder that cam-data pack wrote. name: of the data set in output paths; None: the
    name under which it was packed.
    """

    def __init__(self, root: str | None = None, name: str | None = None) -> None:
        self.root, self.name = root, name

    def folder(self) -> Path:
        """Give the root; UserError where none is named."""
        if self.root is None:
            raise UserError("data.root is not given: add data.root=DIR, what cam-data pack wrote")
        return at_home(self.root)

    def open(self, split: str, with_boxes: bool = True) -> ImageSet:
        return load_packed_set(self.folder(), split, name=self.name, with_boxes=with_boxes)

    def splits(self) -> list[str]:
        packed = read_pack_manifest(self.folder())["splits"]
        return [split for split in SPLITS if split in packed]

    def check(self, decode: bool) -> TreeReport:
        root = self.folder()
        # First: one error for a folder without packed data, not one a split.
        packed = read_pack_manifest(root)["splits"]
        report = check_image_sets("packed", str(root), self.open, decode, INDEX)
        for split in report.splits.values():
            changed = [] if split.problem else changed_shards(root, split.split)
            if changed:
                split.faults["changed"] = changed
            if not split.problem and (others := packed[split.split].get("other_size")):
                split.notes["other_size"] = others
            if not split.problem and SHARD_SUMS not in packed[split.split]:
                split.notes["without_checksums"] = [str(root / split.split)]
        conclude(report)
        return report
