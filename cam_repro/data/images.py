"""Reading one image, the same way everywhere: from a file of its own, or through a store.

A data set's pixels come from one place, its ``ImageStore``: a folder of files here, shards in
``packed.py``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
from PIL import Image

from cam_repro.errors import UserError

Size = tuple[int, int]
"""Width and height in pixels."""

Result = TypeVar("Result")


class UnreadableImage(UserError):
    """An image file that is missing, truncated, or no image."""


def read_image(source: Path | BinaryIO, place: str | None = None) -> Image.Image:
    """Decode an image to RGB, whatever it holds: grey, CMYK, palette, a PNG named .JPEG.

    EXIF rotation is ignored: the boxes of ILSVRC refer to the pixels as stored.
    Of 16 bits the high 8 are kept.

    place: what messages call it; a file's path needs none. Raises UnreadableImage, naming it.
    """
    return _open(source, place, _to_rgb)


def read_size(source: Path | BinaryIO, place: str | None = None) -> Size:
    """Width and height of an image as stored, from its header alone. Raises UnreadableImage."""
    return _open(source, place, lambda image: image.size)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey, which convert() would clip to white
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    return image.convert("RGB")


def _open(
    source: Path | BinaryIO, place: str | None, take: Callable[[Image.Image], Result]
) -> Result:
    try:
        with Image.open(source) as image:
            return take(image)
    except FileNotFoundError:
        raise UnreadableImage(f"{place or source}: the image is listed but missing") from None
    except Exception as error:  # Pillow raises many kinds for files cut short or not images
        raise UnreadableImage(f"{place or source}: not a readable image ({error})") from None


def at_size(image: Image.Image, size: Size) -> Image.Image:
    """An image stretched to a size, bilinear; itself where it has it."""
    return image if image.size == size else image.resize(size, Image.Resampling.BILINEAR)


class ImageStore(ABC):
    """Where the pixels of a split are read from, by the images' places in it.

    An image may be stored smaller than its original. Sizes and boxes are always the original's.
    Stores go to other processes, forked or spawned, with what loads images there.
    """

    @abstractmethod
    def path(self, index: int) -> Path:
        """The file that holds an image."""

    @abstractmethod
    def size(self, index: int) -> Size:
        """Width and height of the original, without decoding. Raises UnreadableImage."""

    @abstractmethod
    def read(self, index: int) -> tuple[Image.Image, Size]:
        """The image as stored, RGB, and the size of its original. Raises UnreadableImage."""


@dataclass(frozen=True, eq=False)
class ImageFiles(ImageStore):
    """Originals, each in a file of its own.

    files: paths below ``folder``.
    """

    folder: Path
    files: Sequence[str]

    def path(self, index: int) -> Path:
        return self.folder / self.files[index]

    def size(self, index: int) -> Size:
        return read_size(self.path(index))

    def read(self, index: int) -> tuple[Image.Image, Size]:
        image = read_image(self.path(index))
        return image, image.size
