"""Define ``data=demo``: the built-in data set, made on first use and kept in the cache folder."""

from __future__ import annotations

from pathlib import Path

from cam_repro.data.demo.tree import demo_root
from cam_repro.data.ilsvrc.source import Ilsvrc


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

    def make(self) -> Path:
        return self.folder()
