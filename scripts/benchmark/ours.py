"""Run cam_repro itself, stage by stage, as its commands do."""

from __future__ import annotations

import copy
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import floors
import numpy as np
import torch
from common import Bench, Found, Mode, Network, best_iou, take
from hydra import initialize_config_dir
from hydra.utils import instantiate
from measure import Variant

from cam_repro.boxes.base import BoxRule, RankedMaps
from cam_repro.config import choices, config_dir
from cam_repro.data.image_set import ImageSet
from cam_repro.data.images import ErrorPolicy
from cam_repro.data.packed.read import load_packed_set
from cam_repro.data.packed.write import Stored, pack
from cam_repro.data.settings import LoaderSettings
from cam_repro.data.views import Squash, Ten, View
from cam_repro.engine.compute import Compute
from cam_repro.engine.evaluate import Pass, evaluate
from cam_repro.engine.settings import OptimSettings, TrainSettings
from cam_repro.engine.train import TrainingData, train
from cam_repro.geometry import inside_boxes
from cam_repro.metrics.max_box_acc import SIZE, MaxBoxAccAccumulator, resized_boxes
from cam_repro.metrics.pxap import PxapAccumulator, counts_at_steps
from cam_repro.models.base import CamNetwork
from cam_repro.saliency.base import Saliency
from cam_repro.saliency.build import build_saliency
from cam_repro.saliency.cam import Cam
from cam_repro.types import Sample
from cam_repro.words import compose

DEFAULT_BOXES = ("threshold", "heuristic")
BOXES_OF_MAPS = (*DEFAULT_BOXES, "dt_box", "dt_box_heuristic")
ALL_BOXES = (*BOXES_OF_MAPS, "graphcut")


def rules(names: Sequence[str]) -> dict[str, BoxRule]:
    """Build the box rules of ``box=[NAME,...]``, by name."""
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        composed = compose("eval", [f"box=[{','.join(names)}]"])
    return dict(instantiate(composed.box))


def compute_of(bench: Bench, mode: Mode) -> Compute:
    """Make the ``Compute`` for a mode."""
    return Compute(bench.device, mode.precision, compile=mode.compile)


def view(network: Network, ten_crops: bool = False) -> View:
    """Make the view: ``view=squash``, or ``view=ten`` with ``ten_crops``."""
    return (Ten if ten_crops else Squash)(network.input_size, network.config["resize_size"])


@dataclass
class Evaluation:
    """Do what ``cam-eval`` does, and compute the IoU of its guesses with the true boxes.

    found: what the first of ``boxes`` found in the last call.
    """

    bench: Bench
    network: Network
    mode: Mode
    images: ImageSet
    view: View
    boxes: Sequence[str]
    found: Found | None = None

    def __post_init__(self) -> None:
        model = copy.deepcopy(self.network.model)
        self.this_pass = Pass(model, Cam(), self.view, rules(self.boxes), self.bench.batch)

    def __call__(self) -> None:
        loading = LoaderSettings(workers=self.bench.workers)
        compute = compute_of(self.bench, self.mode)
        table = evaluate(self.this_pass, self.images, loading, compute).predictions
        assert table["id"].to_pylist() == self.images.ids
        found = Found(table[f"{self.boxes[0]}/classes"].to_pylist(), [], [])
        for index, flat in enumerate(table[f"{self.boxes[0]}/boxes"].to_pylist()):
            boxes_R4 = [(x0, y0, x1, y1) for x0, y0, x1, y1 in zip(*[iter(flat)] * 4, strict=True)]
            found.boxes_NR4.append(boxes_R4)
            found.iou_NR.append(best_iou(boxes_R4, self.images[index]))
        self.found = found


def evaluation(
    bench: Bench,
    network: Network,
    what: str,
    mode: Mode,
    images: ImageSet,
    boxes: Sequence[str] = DEFAULT_BOXES,
    ten_crops: bool = False,
) -> Variant:
    """Make the variant for ``cam-eval``. what: the end of the variant's name."""
    run = Evaluation(bench, network, mode, images, view(network, ten_crops), boxes)
    return Variant(f"cam_repro {what}", run, len(images), bench.batch)


def found_by(variant: Variant) -> Found:
    """Give what a variant, cam_repro's or a rival's, found in its last turn."""
    found = getattr(variant.work, "found", None)
    assert isinstance(found, Found), f"{variant.name} has not run"
    return found


def packed(bench: Bench, size: int) -> ImageSet:
    """Pack the same images as ``cam-data pack size=SIZE`` does, and open the packed set."""
    images, folder = bench.images, bench.folder / f"packed-{size}"
    if not folder.exists():
        pack(
            [images],
            folder,
            Stored(size=size, shard_bytes=2**28),
            threads=torch.get_num_threads(),
            policy=ErrorPolicy("stop"),
        )
    return load_packed_set(folder, images.split)


def reading(name: str, images: ImageSet, network: Network) -> Variant:
    """Make the variant for what a process that loads images does: read, decode, squash."""
    squash = view(network)

    def run() -> None:
        for index in range(len(images)):
            squash.crops(images.read(index)[0])

    return Variant(name, run, len(images))


def training(bench: Bench, network: Network, mode: Mode, parts: int) -> Variant:
    """Make the variant for ``cam-train``'s loop, with images decoded on the fly.

    The time that counts is from the start of one step to the start of the step ``train_steps``
    later.
    """
    n_iterations = bench.train_skip + bench.train_steps + 1
    model = copy.deepcopy(network.model).requires_grad_(True)
    images = take(bench.source, bench.train_batch * (n_iterations + 1))  # no epoch ends meanwhile
    val_images = take(bench.source, 1)
    settings = TrainSettings(
        model=network.config,
        augment={"_target_": "cam_repro.data.augment.SquashCrop", "name": "squash_crop"},
        optim=OptimSettings(
            lr=1e-6, batch_size=bench.train_batch, accumulate=parts, iterations=n_iterations
        ),
        checkpoint_every=n_iterations + 1,
        tensorboard=False,
        overwrite=True,
    )
    loading = LoaderSettings(workers=bench.workers, preload="no")
    data = TrainingData(images, val_images, loading)
    first, last = parts * bench.train_skip, parts * (n_iterations - 1)

    def work() -> float:
        starts: list[float] = []  # of every part of every step

        def note(module: torch.nn.Module, arguments: object) -> None:
            if module.training:  # not in the validation at the end
                if bench.on_gpu and len(starts) in (first, last):
                    torch.cuda.synchronize()
                starts.append(time.perf_counter())

        hook = model.register_forward_pre_hook(note)
        try:
            folder = bench.folder / "training"
            train(settings, model, data, compute_of(bench, mode), folder)
        finally:
            hook.remove()
        assert len(starts) == parts * n_iterations
        return starts[last] - starts[first]

    name = f"cam_repro training {mode}" + (f", {parts} parts" if parts > 1 else "")
    return Variant(name, work, bench.train_steps * bench.train_batch, bench.train_batch)


@dataclass(frozen=True)
class ImageMaps:
    """Hold the maps of an image's best classes, and its pixels, uint8 RGB."""

    sample: Sample
    classes: list[int]
    maps_Rhw: np.ndarray
    image_HW3: np.ndarray

    @property
    def size(self) -> tuple[int, int]:
        """Give width and height."""
        return self.image_HW3.shape[1], self.image_HW3.shape[0]


def class_maps(bench: Bench, network: Network, count: int) -> list[ImageMaps]:
    """Compute the maps of the first ``count`` images, in fp32."""
    model, squash = copy.deepcopy(network.model).to(bench.device), view(network)
    found = []
    for index in range(count):
        image, _ = bench.images.read(index)
        crop_3HW = torch.tensor(squash.crops(image)[0]).permute(2, 0, 1)
        x_1CHW = model.normalize(crop_3HW[None].to(bench.device))
        with torch.no_grad():
            classes_1R = model(x_1CHW).topk(network.n_best).indices
        maps_Rhw = Cam()(model, x_1CHW, classes_1R)[0].cpu().numpy()
        sample = bench.images[index]
        found.append(ImageMaps(sample, classes_1R[0].tolist(), maps_Rhw, np.asarray(image)))
    return found


def box_rule(name: str, maps: Sequence[ImageMaps]) -> Variant:
    """Make the variant for one box rule."""
    rule = rules([name])[name]

    def run() -> None:
        for one in maps:
            rule(RankedMaps(one.classes, one.maps_Rhw, *one.size, one.image_HW3))

    return Variant(name, run, len(maps))


def max_box_acc(
    maps: Sequence[ImageMaps], n_thresholds: int, multi_contour: bool = False
) -> Variant:
    """Make the variant for MaxBoxAcc: the best class's map of each image, at all thresholds.

    multi_contour: for MaxBoxAccV2.
    """

    def run() -> None:
        accumulator = MaxBoxAccAccumulator(multi_contour, n_thresholds=n_thresholds)
        for one in maps:
            accumulator.add(accumulator.right_at(one.maps_Rhw[0], one.sample.boxes_M4, *one.size))

    return Variant("MaxBoxAccV2" if multi_contour else "MaxBoxAcc", run, len(maps))


def masks(maps: Sequence[ImageMaps]) -> list[np.ndarray]:
    """Make the mask of each image, uint8 (224, 224): 1 within its true boxes, else 0."""
    return [
        inside_boxes(resized_boxes(one.sample.boxes_M4, *one.size), SIZE, SIZE).astype(np.uint8)
        for one in maps
    ]


def pxap(maps: Sequence[ImageMaps], masks: Sequence[np.ndarray]) -> Variant:
    """Make the variant for PxAP of the best class's maps."""

    def run() -> None:
        accumulator = PxapAccumulator()
        for one, mask_HW in zip(maps, masks, strict=True):
            accumulator.add(counts_at_steps(one.maps_Rhw[0], mask_HW, 0))
        accumulator.result()

    return Variant("PxAP", run, len(maps))


MASKING = {
    "occlusion": {},
    "rise": {"masks": 64},
    "lime": {"samples": 64},
    "scorecam": {},
}
"""Methods that hide parts of an image, with settings that leave out most of the work of some."""


def methods(bench: Bench, network: Network, without: Sequence[str] = ()) -> Iterator[Variant]:
    """Make the variant for each saliency method that works on the network, but for ``without``."""
    for name in choices("saliency"):
        method = build_saliency(name)
        if name in without or method.refusal(network.model) is not None:
            continue
        few = MASKING.get(name, {})
        for key, value in few.items():
            setattr(method, key, value)
        label = ", ".join([f"cam_repro {name}", *(f"{value} {key}" for key, value in few.items())])
        model = copy.deepcopy(network.model).to(bench.device).to(memory_format=torch.channels_last)
        x_NCHW, classes_NR = explained(bench, network, name)
        x_NCHW = x_NCHW.contiguous(memory_format=torch.channels_last)
        work = partial(_make_maps, method, model, x_NCHW, classes_NR)
        yield Variant(label, work, len(x_NCHW), len(x_NCHW))


def _make_maps(
    method: Saliency, model: CamNetwork, x_NCHW: torch.Tensor, classes_NR: torch.Tensor
) -> None:
    """Make maps and forget them: what a variant returns would count as its time."""
    method(model, x_NCHW, classes_NR)


def explained(bench: Bench, network: Network, method: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Give the images that a method explains, normalised, and their best classes (N, R)."""
    count, n_best = (1, 1) if method in MASKING else (bench.batch, network.n_best)
    x_NCHW = floors.batch_of(bench, network, count)
    with torch.no_grad():
        model = copy.deepcopy(network.model).to(bench.device)
        return x_NCHW, model(x_NCHW).topk(n_best).indices


def scoring(bench: Bench, count: int) -> Variant:
    """Make the variant for ``cam-score`` in its own process, on random guesses.

    count: number of images; each has five guesses.
    """
    rng = np.random.default_rng(0)
    corners_N622 = rng.integers(0, 500, (count, 6, 2, 2))
    boxes_N64 = np.concatenate([corners_N622.min(2), corners_N622.max(2)], axis=2)
    labels_N6 = rng.integers(0, 1000, (count, 6))
    guesses_N55 = np.concatenate([labels_N6[:, :5, None], boxes_N64[:, :5]], axis=2)

    folder = bench.folder / f"scoring-{count}"
    folder.mkdir()
    np.savetxt(folder / "guesses.txt", guesses_N55.reshape(count, 25), fmt="%d")
    truth = zip(labels_N6[:, 5].tolist(), boxes_N64[:, 5].tolist(), strict=True)
    lines = [
        f"image{row:06d},500,500,{label},{x0} {y0} {x1} {y1}\n"
        for row, (label, (x0, y0, x1, y1)) in enumerate(truth)
    ]
    (folder / "truth.csv").write_text("image,width,height,label,boxes\n" + "".join(lines))
    command = [sys.executable, "-m", "cam_repro.cli.score"]
    command += ["submission=guesses.txt", "ground_truth=truth.csv"]

    def run() -> None:
        subprocess.run(command, cwd=folder, capture_output=True, check=True)

    return Variant(f"cam-score, {count:,} images", run, count)
