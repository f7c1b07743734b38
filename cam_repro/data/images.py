"""Read one image, the same way everywhere: from a file, or through a data set's store.

A data set reads all its pixels through its ``ImageStore``: a folder of files (below), or shards
(packed/read.py).
"""

from __future__ import annotations

import logging
import math
import os
import re
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

import numpy as np
from PIL import Image, ImageOps
from PIL.ExifTags import Base
from PIL.TiffImagePlugin import TiffImageFile

from cam_repro.errors import UserError
from cam_repro.files import refuse_special
from cam_repro.threads import thread_pool

log = logging.getLogger(__name__)

Size = tuple[int, int]
"""Width and height in pixels."""

Result = TypeVar("Result")


MAX_MEGAPIXELS = "CAM_REPRO_MAX_MEGAPIXELS"
"""The environment variable with the most pixels, in millions, that an image may have: without it,
as many as Pillow thinks safe, 89. A file of some kilobytes may unpack to gigabytes."""


class UnreadableImage(UserError):
    """Report an image file that is missing, truncated, not an image, or too large."""


class ErrorPolicy:
    """Stop at the first unreadable image (``stop``), or leave them out and count (``skip``)."""

    def __init__(self, on_error: str) -> None:
        self.on_error = on_error
        self.skipped: list[str] = []

    def handle(self, unreadable: list[UnreadableImage]) -> None:
        """Raise the first error if the policy is ``stop``; else log each file once."""
        for error in unreadable:
            if self.on_error == "stop":
                raise UserError(
                    f"{error}; mend the file, or go on without it: loader.on_error=skip"
                )
            message = str(error)
            if message not in self.skipped:
                self.skipped.append(message)
                log.warning("skipped (%d so far): %s", len(self.skipped), message)


def read_image(source: Path | BinaryIO, place: str | None = None) -> Image.Image:
    """Decode an image to RGB, whatever it holds: grey, CMYK, palette, a PNG named .JPEG.

    EXIF rotation is ignored: the boxes of ILSVRC refer to the pixels as stored. Of 16-bit values
    the upper 8 bits are kept. Transparency is dropped. An image of fractions, or of whole numbers
    of 32 bits, is refused, because nothing says which of them is white.

    place: what messages call the image; None: the path ``source``. Raises UnreadableImage.
    """
    return _open(source, place, lambda image: _to_rgb(image, image))


def read_upright(source: Path) -> Image.Image:
    """Decode a photograph as ``read_image`` does, and turn it upright by its EXIF data.

    For looking at one's own photographs. Where boxes are scored, ``read_image`` is used.
    """
    if not source.is_file():
        raise UnreadableImage(f"{source}: there is no such file")
    return _open(source, None, _turned)


def upright(image: Image.Image) -> Image.Image:
    """Turn an image upright by its EXIF data, if it has any; RGB. Raises UnreadableImage."""
    try:
        return _turned(image)
    except OSError as error:  # Pillow decodes late: a file cut short is found out here
        raise UnreadableImage(f"not a readable image ({error})") from None


def _turned(image: Image.Image) -> Image.Image:
    return _to_rgb(ImageOps.exif_transpose(image), image)


def is_turned(source: Path) -> bool:
    """Tell whether ``read_upright`` turns an image: its EXIF orientation is not the usual 1."""
    return _open(source, None, lambda image: image.getexif().get(Base.Orientation, 1) != 1)


def read_size(source: Path | BinaryIO, place: str | None = None) -> Size:
    """Read width and height of an image as stored, from its header. Raises UnreadableImage."""
    return _open(source, place, lambda image: image.size)


def read_sizes(folder: Path, files: Sequence[str]) -> np.ndarray:
    """Read width and height of many images as stored, int32 (N, 2); 0 where one is unreadable.

    files: paths of the images below ``folder``.
    """

    def size(file: str) -> Size:
        try:
            return read_size(folder / file)
        except UnreadableImage:
            return 0, 0

    with thread_pool() as pool:
        return np.array(list(pool.map(size, files)), np.int32).reshape(-1, 2)


def read_values(source: Path) -> np.ndarray:
    """Read the numbers that a mask has as pixels, uint8 (H, W): of a palette, or grey values.

    Raises UnreadableImage, also for an image of colours, which are no numbers.
    """

    def values(image: Image.Image) -> np.ndarray:
        if image.mode not in ("P", "L"):
            raise UnreadableImage(f"a mask has a palette or 8-bit grey values, not {image.mode}")
        return np.asarray(image)

    return _open(source, None, values)


def _to_rgb(image: Image.Image, original: Image.Image) -> Image.Image:
    """Convert to RGB. original: the image as it was opened, which tells the format of its file."""
    if image.mode[0] in "IF":  # grey of more than 8 bits, which convert() would clip
        grey = np.asarray(image) >> _grey_bits(original) - 8
        if isinstance(original, TiffImageFile) and original.tag_v2[_COLOURS] == _WHITE_IS_0:
            grey = 255 - grey
        return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # else Pillow warns
    return image.convert("RGB")


_BITS, _COLOURS, _WHITE_IS_0 = 258, 262, 0
"""Tags of a TIFF file, and a value of the latter."""


def _grey_bits(original: Image.Image) -> int:
    """Tell how many bits the values of a grey image have: 16, or 12 in some TIFF files.

    Raises UnreadableImage where that is not known.
    """
    if original.mode.startswith("I;16"):
        return original.tag_v2[_BITS][0] if isinstance(original, TiffImageFile) else 16
    if original.mode == "I" and original.format in ("PNG", "PPM"):
        return 16
    kind = "fractions" if original.mode == "F" else "signed or of more than 16 bits"
    raise UnreadableImage(f"its pixels are {kind}; save it with 8 or 16 bits")


def _open(
    source: Path | BinaryIO, place: str | None, take: Callable[[Image.Image], Result]
) -> Result:
    _allow_pixels()
    try:
        if isinstance(source, Path):
            refuse_special(source)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # refused below
            with Image.open(source) as image:
                if image.width * image.height > (Image.MAX_IMAGE_PIXELS or math.inf):
                    raise Image.DecompressionBombError(f"{image.width * image.height} pixels")
                return take(image)
    except Image.DecompressionBombError as error:  # of Pillow too, which begins its message so
        pixels = re.search(r"\d+", str(error))
        megapixels = math.ceil(int(pixels[0]) / 1e6) if pixels else 0
        raise UnreadableImage(
            f"{place or source}: has {megapixels} million pixels, which may be meant to fill the "
            f"memory: if you trust the file, set {MAX_MEGAPIXELS}={megapixels}"
        ) from None
    except FileNotFoundError:
        raise UnreadableImage(f"{place or source}: the image is listed but missing") from None
    except Exception as error:  # Pillow raises many kinds for files cut short or not images
        raise UnreadableImage(f"{place or source}: not a readable image ({error})") from None


def _allow_pixels() -> None:
    """Set Pillow's limit to ``MAX_MEGAPIXELS``; raises UserError where that is no number."""
    allowed = os.environ.get(MAX_MEGAPIXELS)
    if allowed is None:
        return
    if not re.fullmatch(r"[1-9]\d{0,8}", allowed):
        raise UserError(f"{MAX_MEGAPIXELS}={allowed}: give a whole number of million pixels")
    Image.MAX_IMAGE_PIXELS = int(allowed) * 10**6


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
