"""Define ``data=demo``: the built-in data set, made on first use and kept in the cache folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cam_repro.data.check import TreeReport
from cam_repro.data.demo.tree import MASKS, demo_root
from cam_repro.data.ilsvrc.check import check_tree
from cam_repro.data.ilsvrc.source import Ilsvrc
from cam_repro.data.image_set import ImageSet
from cam_repro.data.images import ImageFiles
from cam_repro.data.mask_files import ObjectMasks
from cam_repro.truth import Names


class Demo(Ilsvrc):
    """Open, make and check the built-in set, which has Kaggle's layout of ILSVRC.

    seed: random seed of all pictures. n_train, n_val: number of images in these splits.
    """

    def __init__(self, seed: int = 0, n_train: int = 2000, n_val: int = 500) -> None:
        super().__init__(name="demo")
        self.seed, self.n_train, self.n_val = seed, n_train, n_val

    def folder(self) -> Path:
        """Give the folder of the set; make the set if it is not there yet."""
        return demo_root(seed=self.seed, n_train=self.n_train, n_val=self.n_val)

    def open(self, split: str, with_boxes: bool = True) -> ImageSet:
        images = super().open(split, with_boxes)
        if split == "test":
            return images
        assert isinstance(images.store, ImageFiles), "the tree has files"
        files = [f"{Path(file).with_suffix('.png')}" for file in images.store.files]
        masks = ObjectMasks(self.folder() / MASKS / split, Names(files), images.labels_N)
        return replace(images, masks=masks)

    def check(self, decode: bool) -> TreeReport:
        return check_tree(self.layout(), self.classes, decode, self.cache, self.open)

    def make(self) -> Path:
        return self.folder()
