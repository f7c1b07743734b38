"""Define the records that the parts of the package exchange, and the box convention.

Boxes, everywhere in this package
    ``(x0, y0, x1, y1)``, integers, inclusive at both ends, 0-based, in pixels of the original
    image: a box of one pixel has ``x0 == x1``, its width is ``x1 - x0 + 1``, and the whole of an
    image of width W and height H is ``(0, 0, W - 1, H - 1)``. This is the convention of the
    ILSVRC development kit.

Array names carry their shape as a suffix: N images, R classes asked for in each image, C classes
of the data set, K feature maps, M boxes, G guesses, V crops of a view, h x w the size of a map,
H x W the size of an image.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

Box = tuple[int, int, int, int]
Guess = tuple[int, Box]
"""A guessed class index (0-based) and its box."""

MAX_GUESSES = 5
"""How many guesses an image the ILSVRC localization task takes."""

NO_LABEL = -1
"""Label of an image whose class is not known (the test split)."""

PAD = -1
"""Fills the array places of guesses that were not made; never a label or a coordinate."""


def empty_boxes() -> np.ndarray:
    """Give the boxes of an image without annotation, int32 (0, 4)."""
    return np.zeros((0, 4), np.int32)


@dataclass(frozen=True)
class Sample:
    """Hold what is known of one image of a data set, without its pixels.

    id: the name without suffix, unique in its split (``ILSVRC2012_val_00000001``).
    index: its position in the split, by which ``ImageSet.read`` reads its pixels.
    path: the file that holds it: a file of its own, or a shard with many images.
    label: class index, 0-based in sorted WordNet order; ``NO_LABEL`` where unknown.
    boxes_M4: true boxes, int32, (M, 4).
    """

    id: str
    index: int
    path: Path
    label: int = NO_LABEL
    boxes_M4: np.ndarray = field(default_factory=empty_boxes)


@dataclass
class RuleGuesses:
    """Hold what one box rule guesses for one image.

    guesses: up to five (class, box), best first; a class may come twice.
    gt_known: the box guessed when the true class is given; None where the label is unknown.
    """

    guesses: list[Guess]
    gt_known: Box | None = None


@dataclass
class Prediction:
    """Hold all that is scored about one image: a row of ``predictions.parquet``.

    width, height: in pixels, as decoded (EXIF rotation is ignored).
    label: class index, or ``NO_LABEL``. true_boxes_M4: int32 (M, 4).
    classes, probabilities: the five best classes, best first; fewer where the data set has fewer.
    rules: guesses by the name of the box rule. right_at: the thresholds, whole percent of the map's
    maximum, at which ``box=threshold`` boxes the true class right; None where that was not asked.
    map_crc32: checksum of the file with the image's map; None where none was saved.
    label_set: all classes that the image shows; None where its label is all that is known.
    """

    id: str
    width: int
    height: int
    label: int
    true_boxes_M4: np.ndarray
    classes: list[int]
    probabilities: list[float]
    rules: dict[str, RuleGuesses]
    right_at: list[int] | None = None
    map_crc32: int | None = None
    label_set: list[int] | None = None
