"""Choose the examples of a pass, and make them, of kept maps or by a second, small pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from PIL import Image

from cam_repro.data.image_set import ImageSet
from cam_repro.data.images import UnreadableImage
from cam_repro.data.loading import SeenImage, ViewImages, collate_views
from cam_repro.engine.compute import Compute
from cam_repro.engine.evaluate import Explainer, ImageMaps, Pass
from cam_repro.metrics.gt_known import best_iou
from cam_repro.progress import Bar
from cam_repro.runs.examples import Example, small_jpeg
from cam_repro.runs.predictions import Predictions
from cam_repro.types import MAX_GUESSES, NO_LABEL

Chosen = Mapping[int, Sequence[str]]
"""Indices of images in the split, and of each the kinds that it is an example of."""


def choose_examples(predictions: Predictions, images: ImageSet, count: int) -> Chosen:
    """Choose up to ``count`` images of each kind (``runs.examples`` says which), in split order."""
    ids = {"even": _even(predictions, images, count), **_by_iou(predictions, count)}
    why: dict[str, list[str]] = {}
    for kind, of_kind in ids.items():
        for image_id in of_kind:
            why.setdefault(image_id, []).append(kind)
    return {index: why[image_id] for index, image_id in enumerate(images.ids) if image_id in why}


def _even(predictions: Predictions, images: ImageSet, count: int) -> list[str]:
    """Pick images spread evenly over the split, without those that could not be read."""
    count = min(count, len(images))
    ids = [images.ids[number * len(images) // count] for number in range(count)]
    read = frozenset(predictions.ids)
    return [image_id for image_id in ids if image_id in read]


def _by_iou(predictions: Predictions, count: int) -> dict[str, list[str]]:
    """Pick the images whose first guess overlaps a true box best, in the middle, and least."""
    boxes_N4 = next(iter(predictions.rules.values())).boxes_N54[:, 0]
    takes_part_N = predictions.boxes.counts_N > 0
    if predictions.blacklisted_N is not None:
        takes_part_N &= ~predictions.blacklisted_N
    rows = np.flatnonzero(takes_part_N)
    iou = best_iou(boxes_N4, predictions.boxes)[rows]
    falling, rising = (rows[np.argsort(key, kind="stable")] for key in (-iou, iou))
    middle = max(0, len(rows) - count) // 2
    chosen = {
        "best": falling[:count],
        "typical": falling[middle : middle + count],
        "worst": rising[:count],
    }
    return {kind: [predictions.ids[row] for row in some] for kind, some in chosen.items()}


def make_examples(
    this_pass: Pass,
    images: ImageSet,
    predictions: Predictions,
    chosen: Chosen,
    compute: Compute,
    kept: Mapping[int, ImageMaps] | None = None,
) -> list[Example]:
    """Make the chosen examples, in the order of the split.

    kept: what the pass kept (``Evaluation.maps``): these images need no second forward pass. The
    classes of the others are those of ``predictions``. Only this process works on them.
    """
    maps = dict(kept or {})
    row_of = {image_id: row for row, image_id in enumerate(predictions.ids)}
    views = ViewImages(images, this_pass.view, keep_pixels=True)
    at_a_time = this_pass.images_at_a_time(compute)
    indices = list(chosen)
    # Compiling would take longer than these few images. The best classes are known already.
    explain = Explainer(this_pass, replace(compute, compile=False), n_best=0)
    examples = []
    lacking = sum(index not in maps for index in indices)
    bar = Bar(total=lacking, what="examples", leave=False, disable=not lacking)
    with explain.ready(), bar:
        for start in range(0, len(indices), at_a_time):
            some = [views[index] for index in indices[start : start + at_a_time]]
            read = [item for item in some if not isinstance(item, UnreadableImage)]
            batch = collate_views([item for item in read if item[0].index not in maps])
            if batch.seen:
                names = [images.ids[image.index] for image in batch.seen]
                asked_NR = _classes_of([row_of[name] for name in names], images, predictions)
                explained = explain(batch.crops_NV3HW, asked_NR)
                for image, found in zip(batch.seen, explained.of_images(names), strict=True):
                    maps[image.index] = found
                bar.update(len(batch.seen))
            for image, _ in read:
                found = maps.pop(image.index)
                frames = this_pass.view.merge(found.maps_VRhw)
                examples.append(_example(image, images, chosen[image.index], found, frames))
    return examples


def _classes_of(rows: list[int], images: ImageSet, predictions: Predictions) -> torch.Tensor:
    """Give the best classes of rows of the predictions, and the true one, or 0, behind them."""
    best_NR = predictions.classes_N5[rows, : min(MAX_GUESSES, len(images.classes))]
    labels_N1 = np.maximum(predictions.labels_N[rows], 0)[:, None]
    return torch.from_numpy(np.hstack([best_NR, labels_N1]).astype(np.int64))


def _example(
    image: SeenImage, images: ImageSet, why: Sequence[str], found: ImageMaps, maps_Rhw: np.ndarray
) -> Example:
    """Make one example.

    found: classes, the true one last (0 if unknown), and their probabilities. maps_Rhw: their maps,
    merged.
    """
    classes, probabilities = found.classes_R.tolist(), found.probabilities_R.tolist()
    # The true class is kept once: not again if it is among the best, nor if it is unknown.
    count = len(classes) - (image.label == NO_LABEL or classes[-1] in classes[:-1])
    width, height = image.size
    assert image.pixels_HW3 is not None, "ViewImages was asked to keep them"
    return Example(
        id=images.ids[image.index],
        index=image.index,
        width=width,
        height=height,
        jpeg=small_jpeg(Image.fromarray(image.pixels_HW3)),
        why=tuple(why),
        classes=tuple(classes[:count]),
        names=tuple(images.classes.names[index] for index in classes[:count]),
        probabilities=tuple(probabilities[:count]),
        maps_Rhw=maps_Rhw[:count],
    )
