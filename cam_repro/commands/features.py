"""Write the features of a split: what ``cam-features`` does."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from cam_repro.api import LoadedNetwork
from cam_repro.commands.common import (
    alone_in,
    announce,
    by_main,
    describe_data,
    log_file,
    open_data,
    read_sizes,
    refuse_another,
)
from cam_repro.commands.networks import load_named
from cam_repro.config import validate
from cam_repro.data.crops import cropped, true_boxes
from cam_repro.data.image_set import ImageSet
from cam_repro.data.views import build_view
from cam_repro.engine.compute import Compute
from cam_repro.engine.features import Extracted, FeaturePass, extract
from cam_repro.engine.processes import join_processes
from cam_repro.engine.settings import FeaturesSettings
from cam_repro.errors import UserError, if_stopped, one_of
from cam_repro.files import check_writable
from cam_repro.geometry import iou
from cam_repro.metrics.official import warn_of_impossible_boxes
from cam_repro.models.class_layer import class_layer_of
from cam_repro.models.trial import class_weights_of
from cam_repro.runs.features import PART, FeatureFile, begin, complete, finish_completing, rows_done
from cam_repro.runs.folders import features_folder, is_complete, run_folder
from cam_repro.runs.manifest import (
    Checkpoint,
    Counts,
    Crops,
    FeaturesManifest,
    Hardware,
    read_features_manifest,
)
from cam_repro.runs.predictions import read_predictions
from cam_repro.runs.provenance import provenance
from cam_repro.types import PAD

log = logging.getLogger(__name__)

FEATURES_LOG = "features.log"

RIGHT = 0.5
"""IoU at which the box of a crop is right, as the paper counts it on CUB."""


@dataclass(frozen=True)
class _Job:
    """Hold what is computed: the features that a loaded network has of some images.

    crops: what the images were cropped to; None: nothing. features_of: computes them.
    """

    settings: FeaturesSettings
    images: ImageSet
    crops: Crops | None
    loaded: LoadedNetwork
    weights: Checkpoint
    features_of: FeaturePass

    @property
    def config(self) -> dict[str, Any]:
        """Give all settings, those of the network as it was built."""
        model = {**self.loaded.settings, "weights": self.weights.path}
        return {**asdict(self.settings), "model": model}

    @property
    def started(self) -> dict[str, Any]:
        """Give what decides the features."""
        precision = self.features_of.compute.precision
        images = self.images.fingerprint, _folder_of(self.images)
        return _decides(self.config, images, self.weights, precision)

    @property
    def folder(self) -> Path:
        """Name the folder of the features."""
        settings = self.settings
        if settings.output is not None:
            return Path(settings.output)
        crop = {"none": None, "truth": "true_box"}.get(settings.crop, "run_box")
        view = self.features_of.view.name
        name = self.loaded.name
        return features_folder(settings.runs, self.images.name, name, settings.split, view, crop)


@if_stopped("features that are written are kept; the same command goes on")
def run_features(cfg: DictConfig, overrides: Sequence[str] = ()) -> Path:
    """Do what ``cam-features`` does; return the folder written.

    cfg: the composed settings. overrides: the ``key=value`` words that they were composed from.
    """
    settings = validate(cfg, FeaturesSettings)
    with join_processes(settings.device) as processes:
        images = open_data(settings.data, processes, settings.split, with_boxes=True)
        announce(images)
        if not images.has_images:
            raise UserError(f"{images.folder}: has no images for a network to see")
        whole = images
        images, crops = _cropped(settings, whole)
        if settings.crop == "truth":
            by_main(processes, lambda: _warn_of_true_boxes(whole))
        loaded, weights = load_named(settings, images.name, overrides)
        features_of = FeaturePass(
            loaded.network,
            build_view(settings.view, loaded.settings),
            Compute.of(settings, processes),
            settings.batch_size,
        )
        job = _Job(settings, images, crops, loaded, weights, features_of)
        layer = class_layer_of(loaded.network, loaded.name, loaded.settings["input_size"])
        w_CK = class_weights_of(layer)
        assert w_CK is not None, "it is a class layer"
        check_writable(job.folder)
        with alone_in(job.folder, processes):
            by_main(processes, lambda: finish_completing(job.folder))
            if _is_there(job.folder, job.started, settings.overwrite):
                log.info("the features are there already: %s", job.folder)
            else:
                _write(job, (len(images), w_CK.shape[1]))
        return job.folder


def _write(job: _Job, shape_NK: tuple[int, int]) -> None:
    """Compute the features that are left, and let them take their place when all are there."""
    folder, images, settings = job.folder, job.images, job.settings
    processes = job.features_of.compute.processes
    by_main(processes, lambda: begin(folder, job.started, shape_NK, settings.overwrite))
    with log_file(folder / PART / FEATURES_LOG, processes, images):
        file = FeatureFile(folder)
        processes.wait()  # all must know the same rows as left, before any is written
        found = extract(job.features_of, images, file, settings.loader)
        if found is None:
            return
        n_images = len(rows_done(folder))
        _say(found, n_images, len(images))
    manifest = _manifest(job, found, n_images, shape_NK[1])
    in_parquet = settings.format == "parquet"
    complete(folder, list(images.ids), images.labels_N, manifest, in_parquet)
    log.info("  %s", folder)


def _manifest(job: _Job, found: Extracted, n_images: int, n_features: int) -> FeaturesManifest:
    """Describe the features for the manifest."""
    images, compute = job.images, job.features_of.compute
    return FeaturesManifest(
        model=job.loaded.name,
        view=job.features_of.view.name,
        split=images.split,
        features=n_features,
        data=describe_data(images),
        folder=_folder_of(images),
        classes=list(images.classes.wnids),
        counts=Counts(images=n_images, skipped=len(images) - n_images),
        skipped=found.skipped,
        crops=job.crops,
        checkpoint=job.weights,
        seconds=round(found.seconds, 2),
        images_per_second=round(found.images_per_second, 2),
        hardware=Hardware(
            device=compute.hardware,
            precision=compute.precision,
            processes=compute.processes.world,
        ),
        config=job.config,
        provenance=provenance(),
    )


def _say(found: Extracted, n_images: int, n_all: int) -> None:
    """Log how it went. Raises UserError where no image of the split could be read."""
    if not n_images:
        raise UserError("no image of the split could be read; nothing is written")
    before = n_images - found.n_images
    log.info(
        "features of %d images in %.1f s (%.1f images/s)%s%s",
        found.n_images,
        found.seconds,
        found.images_per_second,
        f", {before} were there before" if before else "",
        f", {n_all - n_images} unreadable images skipped" if n_all > n_images else "",
    )


# --- what is cropped -----------------------------------------------------------------------------


def _cropped(settings: FeaturesSettings, images: ImageSet) -> tuple[ImageSet, Crops | None]:
    """Crop the images as ``crop=`` says, and describe that for the manifest."""
    if settings.crop == "none":
        return images, None
    if settings.crop == "truth":
        return cropped(images, true_boxes(images), "truth"), Crops(boxes="truth")
    folder = run_folder(Path(settings.crop))
    if folder is None:
        raise UserError(
            f"crop={settings.crop}: is neither none nor truth, nor the folder of a run that "
            "cam-eval wrote"
        )
    run = read_predictions(folder)
    of = run.manifest.data.fingerprint, run.manifest.split
    if of != (images.fingerprint, images.split):  # files of one name in two splits are two images
        raise UserError(
            f"crop={settings.crop}: is a run over other images ({run.manifest.data.name}, split "
            f"{run.manifest.split}) than {images.name}, split {images.split}: run cam-eval on these"
        )
    rule = settings.crop_rule or run.manifest.rules[0]
    one_of("crop_rule", rule, run.manifest.rules)
    table = run.rules[rule]
    of_guess = settings.crop_class == "guess"
    found_N4 = table.boxes_N54[:, 0] if of_guess else table.gt_known_N4
    row_of = {image_id: row for row, image_id in enumerate(run.ids)}
    rows_N = np.array([row_of.get(image_id, -1) for image_id in images.ids])
    boxes_N4 = np.where(rows_N[:, None] >= 0, found_N4[rows_N], PAD)
    right, n_known = _share_right(images, boxes_N4)
    if right is not None:
        log.info(
            "boxes of %s (%s), %s: %.2f %% of %d are right (IoU 0.5)",
            *(run.manifest.label, folder, rule, right, n_known),
        )
    crops = Crops(
        boxes=str(folder), rule=rule, of_class=settings.crop_class, right=right, n=n_known
    )
    assert run.sizes_N2 is not None, "a run has the sizes of its images"
    return cropped(images, boxes_N4, str(folder), run.sizes_N2[rows_N]), crops


def _warn_of_true_boxes(images: ImageSet) -> None:
    """Warn of true boxes that cannot be, and of images of another size than is stated."""
    sizes_N2, _ = read_sizes(images)
    images.warn_of_other_sizes(sizes_N2)
    warn_of_impossible_boxes(
        replace(images, sizes_N2=sizes_N2), "crops take what of them is in the image"
    )


def _share_right(images: ImageSet, boxes_N4: np.ndarray) -> tuple[float | None, int]:
    """Give the percentage of images whose box overlaps a true one by ``RIGHT``, and of how many.

    Images without a true box do not count; None where there is no other.
    """
    rows = np.flatnonzero(images.boxes.counts_N).tolist()
    if not rows:
        return None, 0
    right = [float(iou(boxes_N4[row], images.boxes.of(row)).max()) >= RIGHT for row in rows]
    return 100 * sum(right) / len(rows), len(rows)


# --- the folder ----------------------------------------------------------------------------------


def _folder_of(images: ImageSet) -> str:
    """Give the absolute path of the folder of the images, for the manifest."""
    return str(images.folder.resolve())


def _decides(
    config: Mapping[str, Any],
    images: tuple[str, str | None],
    weights: Checkpoint,
    precision: str,
) -> dict[str, Any]:
    """Collect what decides the features, as plain JSON: images, network, weights, view.

    images: their fingerprint, which does not cover pixels, and the folder that they are in.
    """
    fingerprint, folder = images
    left_out = ("weights", "take_classes", "pretrained", "row", "plain")
    model = {key: value for key, value in config["model"].items() if key not in left_out}
    parts = {
        "data": fingerprint,
        "folder of images": folder,
        "model": model,
        "weights": weights.sha256 or weights.path,
        "view": config["view"],
        "precision": precision,
        "format": config["format"],
    }
    plain: dict[str, Any] = json.loads(json.dumps(parts))
    return plain


def _is_there(folder: Path, started: Mapping[str, Any], overwrite: bool) -> bool:
    """Tell whether the folder has these very features already.

    Raises UserError where it has others, or another run, and ``overwrite`` is false.
    """
    if overwrite or not is_complete(folder):
        return False
    there = read_features_manifest(folder)
    images = there.data.fingerprint, there.folder
    before = _decides(there.config, images, there.checkpoint, there.hardware.precision)
    refuse_another(folder, "features", before, started)
    if there.counts.skipped:
        log.warning(
            "%s: lacks %d images that could not be read; overwrite=true computes all anew",
            folder,
            there.counts.skipped,
        )
    return True
