"""Check that cam_repro finds the same boxes as a straightforward program, image for image."""

from __future__ import annotations

import contextlib
import copy
import statistics
import time
from collections.abc import Sequence
from dataclasses import replace

import cv2
import floors
import int8
import numpy as np
import ours
import scipy.ndimage
import torch
from common import INT8, Bench, Found, Mode, Network, best_iou
from PIL import Image
from report import Results

from cam_repro.geometry import paired_iou, whole_image
from cam_repro.metrics.official import hits, percent, wrong
from cam_repro.types import Box

COLUMNS = (
    "network",
    "variant",
    "images",
    "identical_images",
    "same_classes",
    "boxes",
    "identical_boxes",
    "mean_iou",
    "top1_error",
    "top5_error",
    "top1_points",
    "top5_points",
    "forward_ms",
)
"""Columns of the CSV; each row is compared with the straightforward program.

identical_images: images with the same five classes and the same boxes. same_classes: images with
the same classes in the same order. boxes: boxes of classes that both name for an image;
identical_boxes: how many of these are equal; mean_iou: their mean IoU. top1_error, top5_error:
localization errors, percent; top1_points, top5_points: their differences. forward_ms: milliseconds
an image of the bare forward pass, the median of ``FORWARDS`` batches.
"""

FORWARDS = 9


def straightforward(bench: Bench, network: Network) -> Found:
    """Find classes and boxes as the paper's section 3.2 reads, step by step in this process.

    Steps: read by Pillow, squash, one plain forward pass a batch, equation 2, box of the largest
    component above 20 % of the maximum.
    """
    model = copy.deepcopy(network.model).to(bench.device)
    weights = model.class_weights()
    assert weights is not None
    w_CK = weights.cpu().numpy()
    size = network.input_size
    found = Found([], [], [])
    for first in range(0, len(bench.images), bench.batch):
        samples = [
            bench.images[index]
            for index in range(first, min(first + bench.batch, len(bench.images)))
        ]
        pictures = [Image.open(sample.path).convert("RGB") for sample in samples]
        pixels = [np.asarray(p.resize((size, size), Image.Resampling.BILINEAR)) for p in pictures]
        x_NHWC = torch.from_numpy(np.stack(pixels)).to(bench.device)
        x_NCHW = x_NHWC.permute(0, 3, 1, 2).contiguous()
        with torch.no_grad():
            A_NKhw = model.forward_features(model.normalize(x_NCHW))
            probabilities_NC = model.forward_head(A_NKhw).softmax(1)
        order_NC = probabilities_NC.argsort(dim=1, descending=True, stable=True).cpu().numpy()
        maps_of = zip(samples, pictures, order_NC, A_NKhw.cpu().numpy(), strict=True)
        for sample, picture, order_C, A_Khw in maps_of:
            classes = order_C[: network.n_best].tolist()
            boxes = [
                _box(np.tensordot(w_CK[c], A_Khw, axes=1), picture.width, picture.height)
                for c in classes
            ]
            found.classes_NR.append(classes)
            found.boxes_NR4.append(boxes)
            found.iou_NR.append(best_iou(boxes, sample))
    return found


def _box(map_hw: np.ndarray, width: int, height: int) -> Box:
    """Box the largest component above 20 % of the map's maximum; if there is none, the image."""
    map_HW = cv2.resize(map_hw, (width, height), interpolation=cv2.INTER_LINEAR)
    if map_HW.max() <= 0:
        return whole_image(width, height)
    labels_HW, _ = scipy.ndimage.label(map_HW > 0.2 * map_HW.max(), structure=np.ones((3, 3)))
    sizes = np.bincount(labels_HW.ravel())
    sizes[0] = 0  # the background
    rows, columns = np.nonzero(labels_HW == sizes.argmax())
    return int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max())


def compare(bench: Bench, network: Network) -> list[dict[str, object]]:
    """Make the rows of the CSV: the straightforward program, then each mode of the network."""
    reference = straightforward(bench, network)
    errors = _errors(bench, reference)
    rows = [_row(bench, network, "straightforward", reference, reference, errors)]
    for mode in bench.modes:
        is_int8 = mode.precision == INT8
        tried = int8.quantised(bench, network) if is_int8 else network
        run_as = Mode("fp32", False) if is_int8 else mode
        variant = ours.evaluation(bench, tried, str(mode), run_as, bench.images)
        variant.work()
        row = _row(bench, network, variant.name, ours.found_by(variant), reference, errors)
        rows.append(row | {"forward_ms": f"{_forward_ms(bench, tried, run_as):.2f}"})
    return rows


def _forward_ms(bench: Bench, network: Network, mode: Mode) -> float:
    """Measure the bare forward pass, milliseconds an image."""
    with contextlib.ExitStack() as compiled_until:
        one_batch = replace(bench, n_images=bench.batch)
        bare = floors.forward(one_batch, network, mode, torch.channels_last, compiled_until)
        bare.work()  # the first one is slower
        seconds = []
        for _ in range(FORWARDS):
            started = time.perf_counter()
            bare.work()
            seconds.append(time.perf_counter() - started)
    return statistics.median(seconds) * 1000 / bench.batch


def write(results: Results, rows: Sequence[dict[str, object]]) -> None:
    """Print the rows, at most 100 characters a line, and write them."""
    print("\nboxes against the straightforward path; localization errors in percent (points)")
    head = f"{'':<26} {'identical images':>16} {'identical boxes':>18} {'mean IoU':>9}"
    print(f"{head} {'top-1':>14} {'top-5':>14}")
    for row in rows:
        images = f"{row['identical_images']} of {row['images']}"
        boxes = f"{row['identical_boxes']} of {row['boxes']}"
        top1, top5 = (f"{row[f'{k}_error']} ({row[f'{k}_points']})" for k in ("top1", "top5"))
        print(
            f"{row['variant']:<26} {images:>16} {boxes:>18} {row['mean_iou']:>9} "
            f"{top1:>14} {top5:>14}"
        )
    results.write(COLUMNS, rows)


def _errors(bench: Bench, found: Found) -> tuple[float, float]:
    """Compute top-1 and top-5 localization error, percent."""
    images = bench.images
    _, hit_NR = hits(images, np.array(found.classes_NR), np.array(found.boxes_NR4))
    return percent(wrong(hit_NR, 1)), percent(wrong(hit_NR, 5))


def _row(
    bench: Bench,
    network: Network,
    name: str,
    found: Found,
    reference: Found,
    reference_errors: tuple[float, float],
) -> dict[str, object]:
    """Make a row of the CSV by comparing ``found`` with the reference."""
    same_classes, identical_images = 0, 0
    boxes, reference_boxes = [], []  # of the same class
    for classes, boxes_R4, their_classes, their_R4 in zip(
        found.classes_NR, found.boxes_NR4, reference.classes_NR, reference.boxes_NR4, strict=True
    ):
        same_classes += classes == their_classes
        identical_images += classes == their_classes and boxes_R4 == their_R4
        their_box_of = dict(zip(their_classes, their_R4, strict=True))
        for c, box in zip(classes, boxes_R4, strict=True):
            if c in their_box_of:
                boxes.append(box)
                reference_boxes.append(their_box_of[c])
    iou_B = paired_iou(np.array(boxes), np.array(reference_boxes))
    top1, top5 = _errors(bench, found)
    return {
        "network": network.name,
        "variant": name,
        "images": len(bench.images),
        "identical_images": identical_images,
        "same_classes": same_classes,
        "boxes": len(boxes),
        "identical_boxes": int((iou_B == 1).sum()),
        "mean_iou": f"{iou_B.mean():.4f}",
        "top1_error": f"{top1:.2f}",
        "top5_error": f"{top5:.2f}",
        "top1_points": f"{top1 - reference_errors[0]:+.2f}",
        "top5_points": f"{top5 - reference_errors[1]:+.2f}",
        "forward_ms": "",
    }
