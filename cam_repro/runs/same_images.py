"""Tell whether two truths are of the same images, from whatever files they were read.

Images are compared by name and size. A fingerprint of a data set tells more apart: packed at 256
pixels, the same images have another.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np

from cam_repro.formats.names import name_of
from cam_repro.truth import Truth


class WhichImages(NamedTuple):
    """Tell the images of a split from others.

    fingerprint: of ids, labels and boxes (``ImageSet.fingerprint``). file_sizes: a hash of the
    sizes of some of the files; None where the images are no files of their own.
    """

    fingerprint: str
    file_sizes: str | None = None


def images_of(truth: Truth) -> list[str]:
    """Give the name of each image and its size, as ``dog 500x375``, sorted.

    Names are without folder and suffix, as long as these short names are distinct.
    """
    names = [name_of(name) for name in truth.ids]
    if len(set(names)) < len(names):
        names = list(truth.ids)
    if truth.sizes_N2 is None:
        return sorted(names)
    sizes = truth.sizes_N2.tolist()
    return sorted(f"{name} {w}x{h}" for name, (w, h) in zip(names, sizes, strict=True))


def images_sha256(truth: Truth) -> list[str]:
    """Compute a short SHA-256 of the name and size of each image of a truth, sorted.

    12 hexadecimal digits: of 50,000 images and 50,000 others, two have the same by chance in one
    of 100,000 cases.
    """
    return sorted(hashlib.sha256(each.encode()).hexdigest()[:12] for each in images_of(truth))


def is_same_truth(one: Truth, other: Truth) -> bool:
    """Tell whether two truths say the same: images, in one order, their labels and boxes."""
    return (
        list(one.ids) == list(other.ids)
        and np.array_equal(one.labels_N, other.labels_N)
        and np.array_equal(one.boxes.values_T4, other.boxes.values_T4)
        and np.array_equal(one.boxes.offsets, other.boxes.offsets)
    )
