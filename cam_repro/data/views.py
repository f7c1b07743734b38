"""Show images to the network in crops, and merge the maps of the crops to one of the image.

Every view starts from the whole image squashed to a square (aspect ratio not kept), as the
authors' networks were fed. ``crops`` cuts out what the network sees. ``merge`` puts the maps of
those crops on a frame that covers the whole squashed image; resized to the image's own size, the
frame is the map of the image. Where no crop lies the frame is 0: no evidence.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from cam_repro.config import build_named
from cam_repro.errors import one_of
from cam_repro.resample import check_interpolation, enlarge

RESAMPLING = {name: Image.Resampling[name.upper()] for name in ("bilinear", "bicubic", "lanczos")}
"""How an image may be squashed, by the value of ``model.interpolation``."""


def squash(
    image: Image.Image, size: int, resampling: Image.Resampling = Image.Resampling.BILINEAR
) -> np.ndarray:
    """Resize to ``size`` x ``size``, with antialiasing; uint8 (size, size, 3), RGB."""
    if image.size != (size, size):
        image = image.resize((size, size), resampling)
    return np.asarray(image)


def resampling_of(model: Mapping[str, Any]) -> Image.Resampling:
    """Give how images are squashed for a network, by its settings.

    Raises UserError for an ``interpolation`` that is none of ``RESAMPLING``.
    """
    name = model.get("interpolation", "bilinear")  # older checkpoints do not say
    one_of("model.interpolation", name, RESAMPLING)
    return RESAMPLING[name]


class View(ABC):
    """Show an image to the network as one or more crops, and merge their maps.

    input_size: side of a crop in pixels, which is the network's input.
    resize_size: side in pixels of the squashed image that crops are cut from.
    n_crops: V, the number of crops.
    covered: share of the image that lies in a crop, 0 to 1.
    interpolation: how maps are resized, to the frame and then to the image.
    resampling: how the image is squashed; ``build_view`` sets what the network's settings say.
    name: the NAME of ``view=NAME``, by which folders of results are called too. Its YAML states it,
        and ``build_view`` sets it.
    shown: what the network is shown, in words for messages; empty: the name says it.
    """

    name: str = "view"
    shown: str = ""
    n_crops: int = 1
    interpolation: str = "linear"
    resampling: Image.Resampling = Image.Resampling.BILINEAR

    def __init__(self, input_size: int, resize_size: int) -> None:
        self.input_size = input_size
        self.resize_size = resize_size

    @property
    def covered(self) -> float:
        return 1.0

    @property
    def words(self) -> str:
        """Say for a message what the network is shown."""
        return self.shown or f"view {self.name}"

    def squash(self, image: Image.Image, size: int) -> np.ndarray:
        """Squash an RGB image to ``size`` x ``size`` as the network needs it: uint8, RGB."""
        return squash(image, size, self.resampling)

    @abstractmethod
    def crops(self, image: Image.Image) -> np.ndarray:
        """Cut the crops of an RGB image: uint8 (V, input_size, input_size, 3)."""

    @abstractmethod
    def merge(self, maps_VRhw: np.ndarray) -> np.ndarray:
        """Merge the maps of the V crops into frames over the whole image, float32 (R, H, W)."""


def build_view(settings: Mapping[str, Any], model: Mapping[str, Any]) -> View:
    """Build the view that the keys of a ``configs/view/NAME.yaml`` describe.

    model: settings of the network, whose ``input_size``, ``resize_size`` and ``interpolation`` it
        works with.
    Raises UserError where the YAML states no name, or a class that is not a ``View``.
    """
    sizes = {key: model[key] for key in ("input_size", "resize_size")}
    name, view = build_named(View, "view", settings, **sizes)  # type: ignore[type-abstract]
    view.name = name
    view.resampling = resampling_of(model)
    return view


class Squash(View):
    """Show the whole image, squashed to the input size, as one crop; its map is the frame."""

    shown = "whole image squashed"

    def crops(self, image: Image.Image) -> np.ndarray:
        return self.squash(image, self.input_size)[None]

    def merge(self, maps_VRhw: np.ndarray) -> np.ndarray:
        return maps_VRhw[0]


class Center(View):
    """Show the centre crop of the squashed image; the frame is 0 outside the crop."""

    shown = "centre crop"

    @property
    def covered(self) -> float:
        return (self.input_size / self.resize_size) ** 2

    def crops(self, image: Image.Image) -> np.ndarray:
        frame = self.squash(image, self.resize_size)
        start = (self.resize_size - self.input_size) // 2
        end = start + self.input_size
        return frame[None, start:end, start:end]

    def merge(self, maps_VRhw: np.ndarray) -> np.ndarray:
        start = (self.resize_size - self.input_size) // 2
        end = start + self.input_size
        frames = np.zeros((maps_VRhw.shape[1], self.resize_size, self.resize_size), np.float32)
        frames[:, start:end, start:end] = enlarge(maps_VRhw[0], self.input_size, self.interpolation)
        return frames


class Ten(View):
    """Show ten crops: the four corners and the centre of the squashed image, and their mirrors.

    Maps are merged as in the authors' released code: each is enlarged to the crop by bicubic
    interpolation, mirrored ones are flipped back, their absolute values are summed on the frame,
    and the frame is divided by its maximum. Pixels in the middle lie in more crops, and so get
    larger sums.

    divide_by_coverage: divide each sum by the number of crops that cover the pixel, which the
    authors do not.
    """

    n_crops = 10
    shown = "ten crops"

    def __init__(
        self,
        input_size: int,
        resize_size: int,
        divide_by_coverage: bool = False,
        interpolation: str = "cubic",
    ) -> None:
        super().__init__(input_size, resize_size)
        self.interpolation = check_interpolation("view.interpolation", interpolation)
        self.divide_by_coverage = divide_by_coverage
        far = resize_size - input_size
        middle = far // 2
        self.corners_yx = [(0, 0), (0, far), (far, 0), (far, far), (middle, middle)]

    @property
    def covered(self) -> float:
        return float((self._times_seen() > 0).mean())

    def _times_seen(self) -> np.ndarray:
        """Count the crops that cover each pixel of the frame, float32 (H, W)."""
        seen = np.zeros((self.resize_size, self.resize_size), np.float32)
        for y, x in self.corners_yx:
            seen[y : y + self.input_size, x : x + self.input_size] += 2
        return seen

    def crops(self, image: Image.Image) -> np.ndarray:
        frame = self.squash(image, self.resize_size)
        size = self.input_size
        five = np.stack([frame[y : y + size, x : x + size] for y, x in self.corners_yx])
        return np.concatenate([five, five[:, :, ::-1]])

    def merge(self, maps_VRhw: np.ndarray) -> np.ndarray:
        size = self.input_size
        frames = np.zeros((maps_VRhw.shape[1], self.resize_size, self.resize_size), np.float32)
        divisor_HW = np.maximum(self._times_seen(), 1) if self.divide_by_coverage else 1
        # One class at a time: its ten maps fit into a processor's cache, those of all do not.
        for r, frame_HW in enumerate(frames):
            crops_VHW = enlarge(maps_VRhw[:, r], size, self.interpolation)
            np.abs(crops_VHW, out=crops_VHW)
            for (y, x), crop_HW, mirrored_HW in zip(
                self.corners_yx, crops_VHW[:5], crops_VHW[5:], strict=True
            ):
                crop_HW += mirrored_HW[:, ::-1]
                frame_HW[y : y + size, x : x + size] += crop_HW
            frame_HW /= divisor_HW
            peak = frame_HW.max()
            if peak > 0:
                frame_HW /= peak
        return frames
