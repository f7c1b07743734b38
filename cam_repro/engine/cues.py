"""Make the cues of a pass: which pixels are evidence for which of an image's true classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from cam_repro.boxes.cues import share_of_maximum
from cam_repro.data.image_set import ImageSet
from cam_repro.data.images import ImageFiles
from cam_repro.data.loading import SeenImage, ViewImages, view_loader
from cam_repro.data.settings import LoaderSettings
from cam_repro.engine.compute import Compute
from cam_repro.engine.evaluate import Explainer, Pass
from cam_repro.engine.memory import freed_memory_kept
from cam_repro.errors import UserError
from cam_repro.progress import Bar
from cam_repro.resample import resize
from cam_repro.runs.cues import SEC_SIZE, Cues, cue_path, write_cues, write_sec_file
from cam_repro.threads import thread_pool
from cam_repro.truth import IGNORED, LabelSets


class _ForSec(NamedTuple):
    """Hold what SEC's file says of an image: its row in the split, classes + 1, cues (3, K)."""

    row: int
    values: list[int]
    cues_3K: np.ndarray


def check_cues(images: ImageSet, folder: Path) -> None:
    """Raise UserError where no cues can be made of a split, before hours of work.

    folder: where they will be written.
    """
    if len(images.classes) >= IGNORED:
        raise UserError(
            f"cues: {images.name} has {len(images.classes)} classes, and files of cues have room "
            f"for {IGNORED - 1}: leave cues= out"
        )
    counts_N = images.all_classes.counts_N
    if not counts_N.all():
        raise UserError(
            f"cues: the true class of {images.ids[int(counts_N.argmin())]} is not known, and cues "
            f"are of true classes: leave cues= out, or score a labelled split (split=val)"
        )
    repeated = _image_of_several_entries(images)
    if repeated is not None:
        raise UserError(
            f"cues: {repeated} is several entries of {images.name}, one for each of its classes, "
            "and cues are of images: leave data.pairs=true or cues= out"
        )
    for image_id in images.ids:
        cue_path(folder, image_id)


def _image_of_several_entries(images: ImageSet) -> str | None:
    """Name an image that is in a set once for each of its classes, as IMAGE-CLASS; None for none.

    By the ids, which a packed set has too.
    """
    if images.label_sets is None:
        return None
    wnids, seen = images.classes.wnids, set()
    for image_id, label in zip(images.ids, images.labels_N.tolist(), strict=True):
        name = image_id.removesuffix(f"-{wnids[label]}")
        if name in seen:
            return name
        seen.add(name)
    return None


def make_cues(
    this_pass: Pass,
    images: ImageSet,
    loading: LoaderSettings,
    compute: Compute,
    folder: Path,
) -> int | None:
    """Write the cues of all images to ``folder``; give the number of these images.

    This is a pass of its own, as an image may have any number of true classes. Images that cannot
    be read are left out, as in the pass, which names them. With several processes each writes its
    share; the main one returns the number of all, the others None.
    """
    classes = images.all_classes
    loader = view_loader(
        ViewImages(images, this_pass.view),
        at_a_time=this_pass.images_at_a_time(compute),
        workers=compute.loader_workers(loading.workers),
        pin=compute.on_gpu,
        rank=compute.processes.rank,
        world=compute.processes.world,
    )
    explain = Explainer(this_pass, compute, n_best=0)
    write = _Writer(this_pass, images, classes, folder)
    done: list[_ForSec] = []
    total = sum(map(len, loader.batch_sampler))  # type: ignore[arg-type]
    bar = Bar(total=total, what="cues", disable=not compute.processes.is_main)
    threads = thread_pool(compute.box_threads)
    with freed_memory_kept(), explain.ready(), threads as pool, bar:
        for batch in loader:
            bar.update(len(batch.seen) + len(batch.unreadable))
            if not batch.seen:
                continue
            asked_NA = _asked(classes, batch.seen)
            names = [images.ids[image.index] for image in batch.seen]
            _, _, maps_NVRhw = explain(batch.crops_NV3HW, asked_NA).on_cpu(names)
            done += pool.map(write, batch.seen, maps_NVRhw)
    every = [each for share in compute.processes.gather(done) for each in share]
    if not compute.processes.is_main:
        return None
    every.sort(key=lambda each: each.row)
    names = [_file_name(images, each.row) for each in every]
    write_sec_file(folder, names, [each.values for each in every], [e.cues_3K for e in every])
    return len(every)


def _file_name(images: ImageSet, row: int) -> str:
    """Give the name of an image's own file; its id where it has none, as in a packed set."""
    if isinstance(images.store, ImageFiles):
        return images.store.path(row).name
    return images.ids[row]


def _asked(classes: LabelSets, seen: list[SeenImage]) -> Tensor:
    """Give the classes of each image of a batch, int64 (N, A), filled up with its first class."""
    of_images = [classes.of(image.index).tolist() for image in seen]
    longest = max(map(len, of_images))
    return torch.tensor([[*each, *each[:1] * (longest - len(each))] for each in of_images])


@dataclass(frozen=True)
class _Writer:
    """Make and write the cues of one image, given its maps."""

    this_pass: Pass
    images: ImageSet
    classes: LabelSets
    folder: Path

    def __call__(self, image: SeenImage, maps_VAhw: np.ndarray) -> _ForSec:
        view, rule = self.this_pass.view, self.this_pass.cues
        assert rule is not None, "the pass makes cues"
        values_R = self.classes.of(image.index) + 1
        maps_Rhw = view.merge(maps_VAhw)[: len(values_R)]

        def cues_at(width: int, height: int) -> np.ndarray:
            resized = [resize(map_hw, width, height, view.interpolation) for map_hw in maps_Rhw]
            return rule(values_R, np.stack(resized))

        cues_HW = cues_at(*image.size)
        shares_Rhw = np.stack([share_of_maximum(map_hw) for map_hw in maps_Rhw])
        write_cues(self.folder, self.images.ids[image.index], Cues(values_R, shares_Rhw, cues_HW))
        small_SS = cues_at(SEC_SIZE, SEC_SIZE)
        rows, columns = np.nonzero(small_SS != IGNORED)
        cues_3K = np.stack([small_SS[rows, columns], rows, columns])
        return _ForSec(image.index, values_R.tolist(), cues_3K)
