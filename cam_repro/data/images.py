"""Read one image, the same way everywhere: from a file, or through a data set's store.

A data set reads all its pixels through its ``ImageStore``: a folder of files (below), or shards
(packed/read.py).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
from PIL import Image, ImageOps
from PIL.ExifTags import Base

from cam_repro.errors import UserError

Size = tuple[int, int]
"""Width and height in pixels."""

Result = TypeVar("Result")


class UnreadableImage(UserError):
    """Report an image file that is missing, truncated, or not an image."""


def read_image(source: Path | BinaryIO, place: str | None = None) -> Image.Image:
    """Decode an image to RGB, whatever it holds: grey, CMYK, palette, a PNG named .JPEG.

    EXIF rotation is ignored: the boxes of ILSVRC refer to the pixels as stored. Of 16-bit values
    the upper 8 bits are kept.

    place: what messages call the image; None: the path ``source``. Raises UnreadableImage.
    """
    return _open(source, place, _to_rgb)


def read_upright(source: Path) -> Image.Image:
    """Decode a photograph as ``read_image`` does, and turn it upright by its EXIF data.

    For looking at one's own photographs. Where boxes are scored, ``read_image`` is used.
    """
    if not source.is_file():
        raise UnreadableImage(f"{source}: there is no such file")
    return _open(source, None, upright)


def upright(image: Image.Image) -> Image.Image:
    """Turn an image upright by its EXIF data, if it has any; RGB. Raises UnreadableImage."""
    try:
        return _to_rgb(ImageOps.exif_transpose(image))
    except OSError as error:  # Pillow decodes late: a file cut short is found out here
        raise UnreadableImage(f"not a readable image ({error})") from None


def is_turned(source: Path) -> bool:
    """Tell whether ``read_upright`` turns an image: its EXIF orientation is not the usual 1."""
    return _open(source, None, lambda image: image.getexif().get(Base.Orientation, 1) != 1)


def read_size(source: Path | BinaryIO, place: str | None = None) -> Size:
    """Read width and height of an image as stored, from its header. Raises UnreadableImage."""
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
    """Stretch an image to a size, bilinear; give it unchanged if it has that size."""
    return image if image.size == size else image.resize(size, Image.Resampling.BILINEAR)


class ImageStore(ABC):
    """Read the pixels of a split's images, by the index of an image in the split.

    An image may be stored smaller than its original; sizes and boxes always refer to the original.
    A store must be picklable and work after a fork, because worker processes load the images.
    """

    @abstractmethod
    def path(self, index: int) -> Path:
        """Give the path of the file that holds an image."""

    @abstractmethod
    def size(self, index: int) -> Size:
        """Give the size of an image's original, without decoding. Raises UnreadableImage."""

    @abstractmethod
    def read(self, index: int) -> tuple[Image.Image, Size]:
        """Decode an image as stored, RGB, and give its original's size. Raises UnreadableImage."""


@dataclass(frozen=True, eq=False)
class ImageFiles(ImageStore):
    """Read originals, each from a file of its own.

    files: paths of the images below ``folder``.
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
