"""The evaluation loop: one pass over a split, all box strategies at once."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from cam_repro.boxes.base import BoxStrategy, RankedMaps
from cam_repro.data.ilsvrc import ImageSet
from cam_repro.data.pipeline import (
    ErrorPolicy,
    LabelledBatch,
    SeenImage,
    ViewBatch,
    view_loader,
)
from cam_repro.data.views import View
from cam_repro.engine.device import (
    Processes,
    autocast,
    evaluation_mode,
    frozen,
    workers_for,
)
from cam_repro.engine.settings import EvalSettings, LoaderSettings
from cam_repro.models.base import CamNetwork
from cam_repro.saliency.base import Saliency
from cam_repro.types import MAX_GUESSES, NO_LABEL, Prediction, StrategyGuesses

log = logging.getLogger(__name__)

BATCH_SIZE = {False: 16, True: 64}
"""Crops at a time unless set, by whether a GPU computes: on a CPU small batches stay in cache."""

BATCHES_IN_FLIGHT = 4
"""How many batches' maps may wait for their boxes: bounds memory when boxes are slower."""


@dataclass
class Evaluation:
    """Everything one pass over a split found.

    predictions: one an image, in the order of the split.
    frames: the best class's map over the image, by image id, for the images asked for.
    skipped: messages about images that could not be read. seconds: of the loop.
    """

    predictions: list[Prediction]
    frames: dict[str, np.ndarray] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    seconds: float = 0.0


def evaluate(
    model: CamNetwork,
    images: ImageSet,
    saliency: Saliency,
    view: View,
    strategies: Mapping[str, BoxStrategy],
    settings: EvalSettings,
    loading: LoaderSettings,
    device: torch.device,
    precision: str,
    group: Processes,
    keep_frames_of: frozenset[str] = frozenset(),
    maps_folder: Path | None = None,
) -> Evaluation:
    """Predict classes and boxes for every image of ``images``.

    maps_folder: save the true class's map of each image there (the best class's where the label
    is not known), ``<id>.npy``, float32 (h, w) over the whole image as the view merged it.

    Class probabilities are averaged over the crops of the view, and the five best come from the
    mean. Maps are made for those five and for the true class (for the GT-known protocol) from
    one forward pass. While the device works on the next batch, a thread merges maps and searches
    boxes. With several processes each takes its share, and the main one returns all of them in
    order; the others return an empty Evaluation.
    """
    memory_format = torch.channels_last if settings.channels_last else torch.contiguous_format
    loader = view_loader(
        images,
        view,
        batch_size=settings.batch_size or BATCH_SIZE[device.type == "cuda"],
        workers=workers_for(loading.workers, device),
        pin=device.type == "cuda",
        rank=group.rank,
        world=group.world,
        keep_pixels=any(strategy.needs_image for strategy in strategies.values()),
    )
    boxes = BoxSearch(images, view, strategies, keep_frames_of, maps_folder)
    policy = ErrorPolicy(loading.on_error)
    model.to(device).to(memory_format=memory_format)
    found: list[tuple[Prediction, np.ndarray | None]] = []
    started = time.perf_counter()
    bar = tqdm(
        total=len(loader.sampler),  # type: ignore[arg-type]
        desc=f"{images.split}, {saliency.name}",
        unit=" images",
        disable=not group.is_main,
        dynamic_ncols=True,
    )
    with evaluation_mode(model), frozen(model), ThreadPoolExecutor(1) as pool, bar:
        waiting: deque[Future] = deque()
        for batch in loader:
            policy.handle(batch.unreadable)
            if batch.seen:
                top, maps_NVRhw = _classify_and_explain(
                    model, saliency, batch, images, device, precision, memory_format
                )
                waiting.append(pool.submit(boxes.of_batch, batch.seen, top, maps_NVRhw))
            if len(waiting) > BATCHES_IN_FLIGHT:
                found.extend(waiting.popleft().result())
            bar.update(len(batch.seen) + len(batch.unreadable))
        for future in waiting:
            found.extend(future.result())
    seconds = time.perf_counter() - started

    shares = group.gather((found, policy.skipped))
    merged = sorted((item for share, _ in shares for item in share), key=lambda item: item[0].id)
    return Evaluation(
        predictions=[prediction for prediction, _ in merged],
        frames={p.id: frame for p, frame in merged if frame is not None},
        skipped=[message for _, skipped in shares for message in skipped],
        seconds=seconds,
    )


@dataclass
class TopClasses:
    """classes_NR: the best classes of each image, then the true one (class 0 where unknown).

    probabilities_NR: of the best classes, without the true one.
    """

    classes_NR: np.ndarray
    probabilities_NR: np.ndarray


def _classify_and_explain(
    model: CamNetwork,
    saliency: Saliency,
    batch: ViewBatch,
    images: ImageSet,
    device: torch.device,
    precision: str,
    memory_format: torch.memory_format,
) -> tuple[TopClasses, np.ndarray]:
    """The best classes of each image, and maps_NVRhw of them and of the true class."""
    crops_NV3HW = batch.crops_NV3HW.to(device, non_blocking=True)
    n_images, n_crops = crops_NV3HW.shape[:2]
    labels_N1 = torch.from_numpy(
        images.labels_N[[image.index for image in batch.seen]].clip(0)
    ).long()[:, None]
    top: list[Tensor] = []

    def select(logits_NC: Tensor) -> Tensor:
        probabilities_NVC = logits_NC.float().softmax(1).unflatten(0, (n_images, n_crops))
        mean_NC = probabilities_NVC.mean(1)
        # A stable sort, so that classes of equal probability come in one order everywhere.
        values, classes = mean_NC.sort(dim=1, descending=True, stable=True)
        best_NR = classes[:, :MAX_GUESSES]
        asked_NR = torch.cat([best_NR, labels_N1.to(device)], 1)
        top.extend([asked_NR, values[:, :MAX_GUESSES]])
        return asked_NR.repeat_interleave(n_crops, 0)

    x_NCHW = model.normalize(crops_NV3HW.flatten(0, 1)).contiguous(memory_format=memory_format)
    with autocast(device, precision):
        _, maps = saliency.explain(model, x_NCHW, select)
    maps_NVRhw = maps.unflatten(0, (n_images, n_crops)).cpu().numpy()
    return TopClasses(top[0].cpu().numpy(), top[1].cpu().numpy()), maps_NVRhw


@dataclass(frozen=True)
class BoxSearch:
    """What is done with the maps of a batch, while the device works on the next one."""

    images: ImageSet
    view: View
    strategies: Mapping[str, BoxStrategy]
    keep_frames_of: frozenset[str]
    maps_folder: Path | None

    def of_batch(
        self, seen: list[SeenImage], top: TopClasses, maps_NVRhw: np.ndarray
    ) -> list[tuple[Prediction, np.ndarray | None]]:
        """The predictions of a batch, with the best class's frame where it is asked for."""
        return [
            self._of_image(image, classes, probabilities, self.view.merge(maps_VRhw))
            for image, classes, probabilities, maps_VRhw in zip(
                seen,
                top.classes_NR.tolist(),
                top.probabilities_NR.tolist(),
                maps_NVRhw,
                strict=True,
            )
        ]

    def _of_image(
        self, image: SeenImage, classes: list[int], probabilities: list[float], frames: np.ndarray
    ) -> tuple[Prediction, np.ndarray | None]:
        """classes: the best ones, then the true one; frames: theirs."""
        sample = self.images[image.index]
        width, height = image.size
        maps = RankedMaps(classes, frames, width, height, image.pixels_HW3, self.view.interpolation)
        n_best = len(classes) - 1
        # Where the true class is among the best its boxes are found but once.
        best, true_class = maps.first(n_best), maps.only(classes.index(classes[n_best]))
        is_known = sample.label != NO_LABEL
        guesses = {}
        for name, strategy in self.strategies.items():
            known = strategy(true_class) if is_known else []
            guesses[name] = StrategyGuesses(strategy(best), known[0][1] if known else None)
        if self.maps_folder is not None:
            _save_map(self.maps_folder, sample.id, frames[n_best if is_known else 0])
        prediction = Prediction(
            id=sample.id,
            width=width,
            height=height,
            label=sample.label,
            gt_boxes_M4=sample.boxes_M4,
            classes=classes[:n_best],
            probabilities=probabilities,
            strategies=guesses,
        )
        return prediction, frames[0] if sample.id in self.keep_frames_of else None


def _save_map(folder: Path, image_id: str, map_hw: np.ndarray) -> None:
    path = folder / f"{image_id}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, map_hw.astype(np.float32))


def classification_errors(
    model: CamNetwork,
    batches: Iterable[LabelledBatch],
    policy: ErrorPolicy,
    device: torch.device,
    precision: str,
    group: Processes,
) -> dict[str, float]:
    """Loss and top-1/top-5 classification error (percent) over all processes' batches."""
    sums = torch.zeros(4, dtype=torch.float64, device=device)
    with evaluation_mode(model), torch.no_grad():
        for batch in batches:
            policy.handle(batch.unreadable)
            if not len(batch.labels_N):
                continue
            labels_N = batch.labels_N.to(device, non_blocking=True)
            x_NCHW = model.normalize(batch.images_N3HW.to(device, non_blocking=True))
            with autocast(device, precision):
                logits_NC = model(x_NCHW).float()
            best = logits_NC.topk(min(MAX_GUESSES, logits_NC.shape[1])).indices
            hits = best == labels_N[:, None]
            loss = cross_entropy(logits_NC, labels_N, reduction="sum")
            count = torch.tensor(len(hits), device=device)
            sums += torch.stack([loss, hits[:, 0].sum(), hits.sum(), count])
    if group.world > 1:
        torch.distributed.all_reduce(sums)
    loss_sum, top1, top5, count = sums.tolist()
    return {
        "val_loss": loss_sum / count,
        "val_top1_error": 100 * (1 - top1 / count),
        "val_top5_error": 100 * (1 - top5 / count),
    }
