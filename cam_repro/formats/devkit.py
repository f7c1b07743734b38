"""Read two lists of the ILSVRC development kit: validation labels, and blacklisted images."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cam_repro.errors import UserError
from cam_repro.formats.text import read_text, whole_number


def read_blacklist(path: Path | str, n_images: int) -> np.ndarray:
    """Read image numbers, one a line, 1 to ``n_images``; give a mask, bool (n_images,).

    The mask is true for images that are listed. Empty lines are skipped. Raises UserError with
    file and line.
    """
    path = Path(path)
    blacklisted_N = np.zeros(n_images, bool)
    for line, word in enumerate(read_text(path, "blacklist").splitlines(), start=1):
        if not word.strip():
            continue
        number = whole_number(word.strip())
        if number is None:
            raise UserError(
                f"{path}, line {line}: {word.strip()!r} is not a whole number below 2^31"
            )
        if not 1 <= number <= n_images:
            raise UserError(f"{path}, line {line}: image {number}; the images are 1 to {n_images}")
        blacklisted_N[number - 1] = True
    return blacklisted_N


def read_val_labels(path: Path) -> np.ndarray:
    """Read the development-kit ids of the validation images, one a line, int64 (N,).

    Lines are in the order of the file names. Raises UserError where the file holds anything else.
    """
    try:
        return np.array(path.read_text(encoding="utf-8-sig").split(), np.int64)
    except (ValueError, OverflowError) as error:
        raise UserError(f"{path}: expected one class id a line ({error})") from None
