"""Measure floors: the least time that a stage could take, without cam_repro's engine."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from common import Bench, Mode, Network
from measure import Variant
from PIL import Image
from torch.nn.functional import cross_entropy

from cam_repro.engine.compiling import compiled
from cam_repro.engine.memory import freed_memory_kept
from cam_repro.geometry import iou, whole_image
from cam_repro.types import Box


def forward(
    bench: Bench,
    network: Network,
    mode: Mode,
    layout: torch.memory_format,
    compiled_until: contextlib.ExitStack,
    keep_memory: bool = True,
) -> Variant:
    """Run ``model(x)`` on one normalised batch in memory, as often as all images would need.

    layout: channels_last, as in cam_repro, or contiguous, torch's default. compiled_until: the
    network stays compiled until this is closed. keep_memory: whether freed memory is kept, as in
    cam-eval: without, as torch runs by default, a CPU takes a fifth longer.
    """
    model = copy.deepcopy(network.model).to(bench.device).to(memory_format=layout)
    memory = freed_memory_kept if keep_memory else contextlib.nullcontext
    if mode.compile:
        compiled_until.enter_context(compiled(model, gradients=False))
    x_NCHW = batch_of(bench, network, bench.batch).contiguous(memory_format=layout)
    n_batches = -(-bench.n_images // bench.batch)

    def run() -> None:
        with torch.no_grad(), _autocast(bench, mode), memory():
            for _ in range(n_batches):
                model(x_NCHW)

    name = f"bare {mode}" + (" contiguous" if layout == torch.contiguous_format else "")
    return Variant(name, run, n_batches * bench.batch, bench.batch)


def train_step(
    bench: Bench, network: Network, mode: Mode, parts: int, compiled_until: contextlib.ExitStack
) -> Variant:
    """Run forward pass, backward pass and optimizer on one normalised batch in memory.

    parts: into how many parts the batch is split; their gradients are added up. compiled_until:
    the network stays compiled until this is closed.
    """
    model = copy.deepcopy(network.model).train().requires_grad_(True)
    model.to(bench.device).to(memory_format=torch.channels_last)
    if mode.compile:
        compiled_until.enter_context(compiled(model, gradients=True))
    optimizer = torch.optim.SGD(
        model.parameters(), lr=1e-6, momentum=0.9, weight_decay=5e-4, fused=True
    )
    batch = bench.train_batch
    x_NCHW = batch_of(bench, network, batch).contiguous(memory_format=torch.channels_last)
    labels_N = torch.randint(network.model.num_classes, (batch,), device=bench.device)

    def run() -> None:
        for _ in range(bench.train_steps):
            optimizer.zero_grad(set_to_none=True)
            for x, labels in zip(x_NCHW.chunk(parts), labels_N.chunk(parts), strict=True):
                with _autocast(bench, mode):
                    logits_NC = model(x).float()
                (cross_entropy(logits_NC, labels) / parts).backward()
            optimizer.step()

    name = f"bare step {mode}" + (f", {parts} parts" if parts > 1 else "")
    return Variant(name, run, bench.train_steps * batch, batch)


def batch_of(bench: Bench, network: Network, size: int) -> torch.Tensor:
    """Make a batch of random inputs."""
    return torch.randn(size, 3, network.input_size, network.input_size, device=bench.device)


def _autocast(bench: Bench, mode: Mode) -> torch.autocast:
    """Give a ``with`` block for mixed precision; it has no effect in fp32."""
    return torch.autocast(bench.device.type, torch.bfloat16, enabled=mode.precision == "bf16")


def reading(bench: Bench, network: Network) -> list[Variant]:
    """Read the files' bytes; decode them by Pillow; decode and squash them. All in one process."""
    paths = [bench.images[index].path for index in range(bench.n_images)]
    size = network.input_size

    def decode(path: Path) -> Image.Image:
        with Image.open(path) as image:
            return image.convert("RGB")

    def squash(path: Path) -> np.ndarray:
        return np.asarray(decode(path).resize((size, size), Image.Resampling.BILINEAR))

    def variant(name: str, function: Callable[[Path], object]) -> Variant:
        def run() -> None:
            for path in paths:
                function(path)

        return Variant(name, run, len(paths))

    return [
        variant("file bytes", Path.read_bytes),
        variant("Pillow decode", decode),
        variant("Pillow decode and squash", squash),
    ]


def component_box(map_hw: np.ndarray, width: int, height: int) -> Box:
    """Box the largest component above 20 % of the maximum; the whole image if there is none.

    Written as is usual with OpenCV's ``connectedComponentsWithStats``.
    """
    map_HW = cv2.resize(map_hw, (width, height))
    mask_HW = (map_HW > 0.2 * map_HW.max()).astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask_HW, connectivity=8)
    if len(stats) < 2:
        return whole_image(width, height)
    x, y, w, h, _ = stats[1 + stats[1:, cv2.CC_STAT_AREA].argmax()].tolist()
    return x, y, x + w - 1, y + h - 1


def max_box_acc(
    map_hw: np.ndarray,
    true_boxes_M4: np.ndarray,
    n_thresholds: int,
    size: int,
    multi_contour: bool = False,
) -> np.ndarray:
    """Compute the IoU of the box at each threshold in turn, (T,), by Choe et al.'s protocol.

    This does what their program does, with OpenCV's contours (see metrics/max_box_acc.py).
    true_boxes_M4: in pixels of the image resized to ``size`` x ``size``. A constant map has no box:
    its IoU is 0. multi_contour: the best IoU of all contours' boxes, not that of the largest's.
    """
    map_HW = cv2.resize(map_hw.astype(np.float64), (size, size), interpolation=cv2.INTER_CUBIC)
    map_HW -= map_HW.min()
    if not (map_HW.max() > 0 and len(true_boxes_M4)):
        return np.zeros(n_thresholds)
    grey_HW = (map_HW / map_HW.max() * 255).astype(np.uint8)
    best_T = np.zeros(n_thresholds)
    for number in range(n_thresholds):
        level = int(number / n_thresholds * 255)
        _, mask_HW = cv2.threshold(grey_HW, level, 255, cv2.THRESH_BINARY)
        contours, _ = cv2.findContours(mask_HW, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
        tried = contours if multi_contour else [max(contours, key=cv2.contourArea)]
        rects = [cv2.boundingRect(contour) for contour in tried]
        boxes = [(x, y, min(x + w, size - 1), min(y + h, size - 1)) for x, y, w, h in rects]
        best_T[number] = iou(np.array(boxes), true_boxes_M4).max()
    return best_T


def pxap(maps: Sequence[np.ndarray], masks: Sequence[np.ndarray]) -> float:
    """Compute PxAP, percent, with NumPy's histograms, as the program of Choe et al. does.

    masks: uint8 (S, S), 1 where the object is, 0 where it is not.
    """
    edges = [*np.arange(0, 1, 0.001), 1.0, 2.0, 3.0]
    true, false = np.zeros(len(edges) - 1), np.zeros(len(edges) - 1)
    for map_hw, mask_HW in zip(maps, masks, strict=True):
        score_HW = cv2.resize(
            map_hw.astype(np.float64), mask_HW.shape, interpolation=cv2.INTER_CUBIC
        )
        score_HW -= score_HW.min()
        score_HW /= score_HW.max() or 1
        true += np.histogram(score_HW[mask_HW == 1], edges)[0]
        false += np.histogram(score_HW[mask_HW == 0], edges)[0]
    found, wrong = true[::-1].cumsum(), false[::-1].cumsum()
    precision = found / np.maximum(found + wrong, 1)
    return float(100 * (precision * np.diff(found, prepend=0) / found[-1]).sum())
