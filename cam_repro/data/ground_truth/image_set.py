"""Turn a truth without pixels into an image set (``data=ground_truth``)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from cam_repro.classes import ilsvrc_classes, unnamed_classes
from cam_repro.data.image_set import ILSVRC_IMAGES, ImageSet
from cam_repro.errors import UserError
from cam_repro.formats.names import image_ids
from cam_repro.truth import Names, Truth


def ground_truth_set(truth: Truth, source: Path, split: str, name: str | None = None) -> ImageSet:
    """Make an image set without pixels from a truth.

    source: where the truth was read from. name: of the data set; None: ``ilsvrc`` for a complete
    split of ILSVRC, else the name of ``source`` up to its first dot. If the truth does not name its
    classes, they are called ``class 0``, ``class 1`` and so on.
    Raises UserError where two images differ in their suffix alone.
    """
    ids = image_ids(truth.ids)[0]
    if len(set(ids)) < len(ids):
        repeated = next(name for name, count in Counter(ids).items() if count > 1)
        raise UserError(f"{source}: several images are called {repeated}, but for their suffixes")
    classes = truth.classes or unnamed_classes(int(truth.labels_N.max(initial=0)) + 1)
    is_ilsvrc = classes.wnids == ilsvrc_classes().wnids and len(truth) == ILSVRC_IMAGES[split]
    return ImageSet(
        name=name or ("ilsvrc" if is_ilsvrc else source.resolve().name.partition(".")[0]),
        split=split,
        folder=source,
        classes=classes,
        store=None,
        ids=Names(ids),
        labels_N=truth.labels_N.astype(np.int32),
        boxes=truth.boxes,
        sizes_N2=truth.sizes_N2,
        is_ilsvrc=is_ilsvrc,
        described="labels, sizes and boxes without images",
        blacklisted_N=truth.blacklisted_N,
    )
