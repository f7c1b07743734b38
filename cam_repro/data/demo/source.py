"""Define ``data=demo``: the built-in data set, made on first use and kept in the cache folder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cam_repro.data.demo.tree import demo_root
from cam_repro.data.ilsvrc.source import Ilsvrc
from cam_repro.data.image_set import ImageSet
from cam_repro.data.images import ImageStore, read_image
from cam_repro.truth import Masks


@dataclass(frozen=True, eq=False)
class DemoMasks(Masks):
    """Read the masks of the built-in set, in which all objects are of the image's class.

    root: the folder of the set. images: of a split. labels_N: their classes.
    """

    root: Path
    images: ImageStore
    labels_N: np.ndarray

    def of(self, index: int) -> np.ndarray:
        image = self.images.path(index).relative_to(self.root / "Data")
        mask_HW3 = np.asarray(read_image((self.root / "Masks" / image).with_suffix(".png")))
        return np.where(mask_HW3[..., 0] > 0, self.labels_N[index] + 1, 0).astype(np.uint8)


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
        if split == "test":  # has no annotation
            return images
        assert images.store is not None
        return replace(images, masks=DemoMasks(self.folder(), images.store, images.labels_N))

    def make(self) -> Path:
        return self.folder()
