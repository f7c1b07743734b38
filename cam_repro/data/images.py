"""Reading one image file, the same way everywhere."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from cam_repro.errors import UserError


class UnreadableImage(UserError):
    """An image file that is missing, truncated, or no image."""


def read_image(path: Path) -> Image.Image:
    """Decode a file to an RGB image, whatever it holds: grey, CMYK, palette, a PNG named .JPEG.

    EXIF rotation is ignored: the boxes of ILSVRC refer to the pixels as stored.
    Raises UnreadableImage, naming the file.
    """
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except FileNotFoundError:
        raise UnreadableImage(f"{path}: the image is listed but missing") from None
    except Exception as error:  # Pillow raises many kinds for files cut short or not images
        raise UnreadableImage(f"{path}: not a readable image ({error})") from None
