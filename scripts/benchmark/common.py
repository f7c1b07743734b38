"""The images and networks that everything is measured on."""

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

from cam_repro.config import compose, config_dir
from cam_repro.data.image_set import ImageSet
from cam_repro.data.images import ImageFiles
from cam_repro.errors import UserError
from cam_repro.geometry import iou
from cam_repro.models.base import CamNetwork
from cam_repro.models.build import build_network
from cam_repro.models.weights import load_weights
from cam_repro.types import MAX_GUESSES, Box, Guess, Sample


@dataclass(frozen=True)
class Mode:
    """How a network is run."""

    precision: str
    compile: bool

    def __str__(self) -> str:
        return f"{self.precision} compiled" if self.compile else self.precision


@dataclass(frozen=True)
class Bench:
    """What the command line says.

    source: the whole data set; n_images: how many of it are measured. usual: of ``modes``, the one
    that cam-eval chooses by itself, where it is among them. train_steps: that are
    counted in a round, after train_skip that are not. boxed: images of the box rules; scored:
    images that are scored. folder: a temporary one.
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
    overrides: tuple[str, ...]
    weights: str | None
    boxed: int
    scored: int
    folder: Path

    @property
    def on_gpu(self) -> bool:
        return self.device.type == "cuda"

    @cached_property
    def images(self) -> ImageSet:
        return take(self.source, self.n_images)

    @cached_property
    def few_images(self) -> ImageSet:
        """An eighth of them, for what takes ten times as long."""
        return take(self.source, -(-self.n_images // 8))

    def network(self, name: str) -> Network:
        """The network of that name, the same weights every time."""
        with initialize_config_dir(str(config_dir()), version_base="1.3"):
            composed = compose("eval", [f"model={name}", *self.overrides])
        config: Any = OmegaConf.to_container(composed.model, resolve=True)
        torch.manual_seed(0)
        model = build_network(config, len(self.source.classes))
        load_weights(model, self.weights, name=name, strict=True)
        return Network(config, model.eval().requires_grad_(False))


@dataclass(frozen=True)
class Network:
    """config: as in configs/model/*.yaml. model: for evaluation, as torch makes it; whoever
    changes it takes a copy."""

    config: dict[str, Any]
    model: CamNetwork

    @property
    def name(self) -> str:
        return str(self.config["name"])

    @property
    def input_size(self) -> int:
        return int(self.config["input_size"])

    @property
    def n_best(self) -> int:
        """How many classes are asked for: five, or all of fewer."""
        return min(MAX_GUESSES, self.model.num_classes)


@dataclass
class Found:
    """What a program says of the images, in their order: classes and boxes, best class first.

    classes_NR: class indices; boxes_NR4: as everywhere in cam_repro (types.py); iou_NR: with the
    best fitting true box, 0 where there is none.
    """

    classes_NR: list[list[int]]
    boxes_NR4: list[list[Box]]
    iou_NR: list[np.ndarray]

    @property
    def guesses(self) -> list[Guess]:
        """Of all images one after another."""
        images = zip(self.classes_NR, self.boxes_NR4, strict=True)
        return [guess for image in images for guess in zip(*image, strict=True)]

    def same_as(self, other: Found) -> float:
        """Share of guesses with the class and the box of the other's, which may go on longer."""
        others = other.guesses[: len(self.guesses)]
        return float(np.mean([a == b for a, b in zip(self.guesses, others, strict=True)]))


def best_iou(boxes_R4: Sequence[Box], sample: Sample) -> np.ndarray:
    """IoU of each box with the true box that it fits best, float64 (R,)."""
    if not len(sample.boxes_M4):
        return np.zeros(len(boxes_R4))
    return np.asarray(iou(np.array(boxes_R4), sample.boxes_M4).max(axis=1))


def take(images: ImageSet, count: int) -> ImageSet:
    """The first ``count`` images; where there are fewer, from the first on again by other ids."""
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
