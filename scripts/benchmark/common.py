"""Provide the images and networks that everything is measured on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra import initialize_config_dir
from omegaconf import OmegaConf

from cam_repro.config import config_dir
from cam_repro.data.image_set import ImageSet
from cam_repro.data.images import ImageFiles
from cam_repro.errors import UserError
from cam_repro.geometry import iou
from cam_repro.models.base import CamNetwork
from cam_repro.models.build import build_network
from cam_repro.models.weights import load_weights
from cam_repro.types import MAX_GUESSES, Box, Guess, Sample
from cam_repro.words import compose

INT8 = "int8"
"""A precision that only ``--check`` knows: see ``int8.py``."""


@dataclass(frozen=True)
class Mode:
    """Hold how a network is run: its precision, and whether it is compiled."""

    precision: str
    compile: bool

    def __str__(self) -> str:
        return f"{self.precision} compiled" if self.compile else self.precision


@dataclass(frozen=True)
class Bench:
    """Hold the settings of the benchmark, from the command line.

    source: the whole data set. n_images: how many of its images are used. usual: the one of
    ``modes`` that cam-eval chooses by default, or the first if that is not among them. train_steps:
    training steps that count in a round, after ``train_skip`` steps that do not. boxed: images for
    timing box rules. scored: images for timing cam-score. rivals: whether other programs are
    measured too. folder: a temporary one.
    """

    source: ImageSet
    n_images: int
    device: torch.device
    rounds: int
    batch: int
    train_batch: int
    train_steps: int
    train_skip: int
    workers: int
    modes: tuple[Mode, ...]
    usual: Mode
    rivals: bool
    overrides: tuple[str, ...]
    weights: str | None
    boxed: int
    scored: int
    folder: Path

    @property
    def on_gpu(self) -> bool:
        """Tell whether a GPU is measured."""
        return self.device.type == "cuda"

    @cached_property
    def images(self) -> ImageSet:
        """Give the images that are measured."""
        return take(self.source, self.n_images)

    @cached_property
    def few_images(self) -> ImageSet:
        """Give an eighth of the images, to measure what takes about ten times as long."""
        return take(self.source, -(-self.n_images // 8))

    def network(self, name: str) -> Network:
        """Build the network ``model=name``; random weights are the same every time."""
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            composed = compose("eval", [f"model={name}", *self.overrides])
        config: Any = OmegaConf.to_container(composed.model, resolve=True)
        torch.manual_seed(0)
        model = build_network(config, len(self.source.classes))
        load_weights(model, self.weights, name=name, strict=True)
        return Network(config, model.eval().requires_grad_(False))


@dataclass(frozen=True)
class Network:
    """Hold a network and its settings.

    config: as in configs/model/*.yaml. model: the module, on the CPU in evaluation mode; make a
    copy before you change it.
    """

    config: dict[str, Any]
    model: CamNetwork

    @property
    def name(self) -> str:
        """Give the NAME of ``model=NAME``."""
        return str(self.config["name"])

    @property
    def input_size(self) -> int:
        """Give the side of the input, pixels."""
        return int(self.config["input_size"])

    @property
    def n_best(self) -> int:
        """Give the number of best classes that are explained: five, or all if there are fewer."""
        return min(MAX_GUESSES, self.model.num_classes)


@dataclass
class Found:
    """Hold the classes and boxes that a program found, in the order of images, best class first.

    classes_NR: class indices. boxes_NR4: boxes as in cam_repro/types.py. iou_NR: IoU of each box
    with the true box that fits best; 0 if the image has no true box.
    """

    classes_NR: list[list[int]]
    boxes_NR4: list[list[Box]]
    iou_NR: list[np.ndarray]

    @property
    def guesses(self) -> list[Guess]:
        """List the guesses of all images, one after another."""
        images = zip(self.classes_NR, self.boxes_NR4, strict=True)
        return [guess for image in images for guess in zip(*image, strict=True)]

    def same_as(self, other: Found) -> float:
        """Give the share of guesses that have the class and box of the other's; 0 to 1.

        The other may have more images; they are left out.
        """
        others = other.guesses[: len(self.guesses)]
        return float(np.mean([a == b for a, b in zip(self.guesses, others, strict=True)]))


def best_iou(boxes_R4: Sequence[Box], sample: Sample) -> np.ndarray:
    """Compute the IoU of each box with the true box that it fits best, float64 (R,)."""
    if not len(sample.boxes_M4):
        return np.zeros(len(boxes_R4))
    return np.asarray(iou(np.array(boxes_R4), sample.boxes_M4).max(axis=1))


def take(images: ImageSet, count: int) -> ImageSet:
    """Take the first ``count`` images; a smaller set is repeated, with other ids."""
    store = images.store
    if not isinstance(store, ImageFiles):
        raise UserError(f"{images.folder}: a data set with a file an image is needed")
    again_N, rows_N = np.divmod(np.arange(count), len(images))
    samples = [images[row] for row in rows_N.tolist()]
    names = zip(samples, again_N.tolist(), strict=True)
    return replace(
        images,
        store=replace(store, files=[store.files[row] for row in rows_N.tolist()]),
        ids=[f"{sample.id}-{again}" if again else sample.id for sample, again in names],
        labels_N=images.labels_N[rows_N],
        boxes=images.boxes.select(rows_N),
        sizes_N2=None if images.sizes_N2 is None else images.sizes_N2[rows_N],
        is_ilsvrc=False,
        blacklisted_N=None if images.blacklisted_N is None else images.blacklisted_N[rows_N],
    )
