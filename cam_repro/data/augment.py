"""Augment training images: what is done to an image before the network sees it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from cam_repro.config import build_named
from cam_repro.data.views import Center, Squash, View, resampling_of, squash


class Augmentation(ABC):
    """Augment an image in two steps: one that never changes, then a random one.

    Constructed with the network's ``input_size`` and ``resize_size``, in pixels, and the settings
    of its YAML in ``configs/augment``.

    A mask of the image goes the same way (masks.py): both steps get it in place of the image, with
    ``resampling`` nearest and the same random numbers. So they only move pixels, as they are.

    resampling: how images are squashed; ``build_augmentation`` sets what the network's settings
        say.
    """

    resampling: Image.Resampling = Image.Resampling.BILINEAR

    def __init__(self, input_size: int, resize_size: int) -> None:
        self.input_size = input_size
        self.resize_size = resize_size

    def squash(self, image: Image.Image, size: int) -> np.ndarray:
        """Squash an RGB image to ``size`` x ``size`` as the network needs it: uint8, RGB."""
        return squash(image, size, self.resampling)

    @abstractmethod
    def prepare(self, image: Image.Image) -> np.ndarray:
        """Do the step that never changes; give uint8 (H, W, 3), which may be kept in memory."""

    @abstractmethod
    def vary(self, pixels_HW3: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Do the random step; give uint8 (input_size, input_size, 3)."""

    def validation_view(self) -> View:
        """Give the view for validation: images as in training, but without the random step."""
        return self._view(Squash)

    def _view(self, kind: type[View]) -> View:
        """Make a view that squashes images in the same way."""
        view = kind(self.input_size, self.resize_size)
        view.resampling = self.resampling
        return view


def build_augmentation(settings: Mapping[str, Any], model: Mapping[str, Any]) -> Augmentation:
    """Build the augmentation that the keys of a ``configs/augment/NAME.yaml`` describe.

    model: settings of the network, whose ``input_size``, ``resize_size`` and ``interpolation`` it
        works with.
    Raises UserError where the YAML states no name, or a class that is not an ``Augmentation``.
    """
    sizes = {key: model[key] for key in ("input_size", "resize_size")}
    augmentation = build_named(Augmentation, "augment", settings, **sizes)[1]  # type: ignore[type-abstract]
    augmentation.resampling = resampling_of(model)
    return augmentation


class SquashCrop(Augmentation):
    """Squash to ``resize_size``, crop ``input_size`` at random, mirror with probability 1/2.

    Caffe's data layer did this for the paper's networks (256, then 224 or 227).
    """

    def prepare(self, image: Image.Image) -> np.ndarray:
        return self.squash(image, self.resize_size)

    def vary(self, pixels_HW3: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        y, x = rng.integers(0, self.resize_size - self.input_size + 1, 2)
        crop = pixels_HW3[y : y + self.input_size, x : x + self.input_size]
        return crop[:, ::-1] if rng.random() < 0.5 else crop

    def validation_view(self) -> View:
        return self._view(Center)


class RandomResizedCrop(Augmentation):
    """Cut out a part of random area and shape, squash it to the input, mirror with probability 1/2.

    Szegedy et al. 2015 ("Going deeper with convolutions", section 6): area 8 to 100 % of the
    image, aspect ratio 3/4 to 4/3.
    """

    area = (0.08, 1.0)
    log_ratio = (float(np.log(3 / 4)), float(np.log(4 / 3)))

    def prepare(self, image: Image.Image) -> np.ndarray:
        return np.asarray(image)

    def vary(self, pixels_HW3: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        height, width = pixels_HW3.shape[:2]
        x, y, w, h = 0, 0, width, height
        for _ in range(10):
            area = rng.uniform(*self.area) * width * height
            ratio = np.exp(rng.uniform(*self.log_ratio))
            w, h = round(np.sqrt(area * ratio)), round(np.sqrt(area / ratio))
            if 0 < w <= width and 0 < h <= height:
                x = int(rng.integers(0, width - w + 1))
                y = int(rng.integers(0, height - h + 1))
                break
        else:  # ten tries found no part that fits a very long image: take the whole
            x, y, w, h = 0, 0, width, height
        crop = self.squash(Image.fromarray(pixels_HW3[y : y + h, x : x + w]), self.input_size)
        return crop[:, ::-1] if rng.random() < 0.5 else crop
