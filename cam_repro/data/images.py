"""Reading one image file, the same way everywhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from cam_repro.errors import UserError


class UnreadableImage(UserError):
    """An image file that is missing, truncated, or no image."""


def read_image(path: Path) -> Image.Image:
    """Decode a file to an RGB image, whatever it holds: grey, CMYK, palette, a PNG named .JPEG.

    EXIF rotation is ignored: the boxes of ILSVRC refer to the pixels as stored.
    Of 16 bits the high 8 are kept. Raises UnreadableImage, naming the file.
    """
    try:
        with Image.open(path) as image:
            if image.mode.startswith("I"):  # 16-bit grey, which convert() would clip to white
                return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
            return image.convert("RGB")
    except FileNotFoundError:
        raise UnreadableImage(f"{path}: the image is listed but missing") from None
    except Exception as error:  # Pillow raises many kinds for files cut short or not images
        raise UnreadableImage(f"{path}: not a readable image ({error})") from None


def read_size(path: Path) -> tuple[int, int]:
    """Width and height of an image as stored, from its header alone. Raises UnreadableImage."""
    try:
        with Image.open(path) as image:
            return image.size
    except FileNotFoundError:
        raise UnreadableImage(f"{path}: the image is listed but missing") from None
    except Exception as error:  # Pillow raises many kinds for files that are not images
        raise UnreadableImage(f"{path}: not a readable image ({error})") from None
