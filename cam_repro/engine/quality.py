"""Ask the network of a pass the questions of a measure: a pass of its own over some images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Subset

from cam_repro.data.image_set import ImageSet
from cam_repro.data.loading import ViewImages, view_loader
from cam_repro.data.settings import LoaderSettings
from cam_repro.data.views import View
from cam_repro.engine.compute import Compute
from cam_repro.engine.evaluate import Explainer, Pass
from cam_repro.errors import UserError
from cam_repro.models.base import CamNetwork
from cam_repro.progress import Bar
from cam_repro.quality.base import ExplainedImages, Measure
from cam_repro.runs.answers import Answers


def refuse_crops(measures: Mapping[str, Measure], view: View) -> None:
    """Raise UserError where there are measures and the view shows several crops.

    A measure changes the one image that the network sees. measures: by name.
    """
    if measures and view.n_crops > 1:
        raise UserError(
            f"quality=[{','.join(measures)}]: changes the image that the network sees, and "
            f"view={view.name} shows it {view.n_crops}: use view=squash"
        )


def ask(
    name: str,
    measure: Measure,
    this_pass: Pass,
    images: ImageSet,
    loading: LoaderSettings,
    compute: Compute,
) -> Answers | None:
    """Ask about the map of each image's best class; name: of the measure.

    The images are ``measure.images``, spread evenly over the split; those that cannot be read are
    left out, as in the pass, which names them. With several processes each asks about its share;
    the main one returns the answers of all, the others None.
    Raises UserError, naming the image, where an answer is no number.
    """
    # Compiling is for batches of one size; questions are of many.
    compute = replace(compute, compile=False)
    count = min(measure.images or len(images), len(images))
    indices = [number * len(images) // count for number in range(count)]
    loader = view_loader(
        Subset(ViewImages(images, this_pass.view), indices),
        at_a_time=this_pass.images_at_a_time(compute),
        workers=compute.loader_workers(loading.workers),
        pin=compute.on_gpu,
        rank=compute.processes.rank,
        world=compute.processes.world,
    )
    explain = Explainer(this_pass, compute, n_best=1)
    rows: list[tuple[str, int, np.ndarray]] = []
    total = sum(map(len, loader.batch_sampler))  # type: ignore[arg-type]
    bar = Bar(total=total, what=name, disable=not compute.processes.is_main)
    with explain.ready(), bar:
        for batch in loader:
            bar.update(len(batch.seen) + len(batch.unreadable))
            if not batch.seen:
                continue
            none_N0 = torch.zeros(len(batch.seen), 0, dtype=torch.int64)
            names = [images.ids[image.index] for image in batch.seen]
            arrays = explain(batch.crops_NV3HW, none_N0).on_cpu(names)
            questions = _Questions(this_pass, compute, batch.crops_NV3HW)
            answers_NK = measure.answers(questions.about(arrays[0], arrays[2]))
            _check_numbers(name, names, answers_NK)
            rows += zip(names, arrays[0][:, 0].tolist(), answers_NK, strict=True)
    labels = measure.labels(this_pass.network)
    shares = compute.processes.gather(rows)
    if not compute.processes.is_main:
        return None
    every = [row for share in shares for row in share]
    if not every:
        raise UserError(f"quality={name}: none of its {count} images could be read")
    ids, classes, answers = zip(*every, strict=True)
    return Answers(ids, np.array(classes, np.int32), np.stack(answers), labels)


@dataclass(frozen=True)
class _Questions:
    """Answer questions about a batch of images by the network of a pass.

    crops_NV3HW: uint8, V is 1.
    """

    this_pass: Pass
    compute: Compute
    crops_NV3HW: Tensor

    def about(self, classes_N1: np.ndarray, maps_NVRhw: np.ndarray) -> ExplainedImages:
        """Give the images with the maps of one class of each, which questions are about."""

        def maps_by(network: CamNetwork) -> np.ndarray:
            explain = Explainer(replace(self.this_pass, network=network), self.compute, n_best=0)
            found = explain(self.crops_NV3HW, torch.from_numpy(classes_N1))
            return found.maps_NVRhw[:, 0, 0].cpu().numpy()

        return ExplainedImages(
            network=self.this_pass.network,
            crops_NHW3=self.crops_NV3HW[:, 0].permute(0, 2, 3, 1).numpy(),
            classes_N=classes_N1[:, 0],
            maps_Nhw=maps_NVRhw[:, 0, 0],
            probabilities=self._probabilities,
            maps_by=maps_by,
        )

    @torch.no_grad()
    def _probabilities(self, images_XHW3: np.ndarray, class_index: int) -> np.ndarray:
        """Compute the probability of a class for each image, float32 (X,)."""
        network, compute = self.this_pass.network, self.compute
        found = []
        for part_XHW3 in torch.from_numpy(images_XHW3).split(
            self.this_pass.crops_at_a_time(compute)
        ):
            x_XCHW = network.normalize(compute.move(part_XHW3.permute(0, 3, 1, 2)))
            with compute.autocast():
                logits_XC = network(compute.lay_out(x_XCHW))
            found.append(logits_XC.float().softmax(1)[:, class_index])
        return torch.cat(found).cpu().numpy()


def _check_numbers(name: str, names: list[str], answers_NK: np.ndarray) -> None:
    """Raise UserError, naming the first image, where an answer is no number."""
    is_bad_N = ~np.isfinite(answers_NK).all(axis=1)
    if is_bad_N.any():
        raise UserError(
            f"{names[int(is_bad_N.argmax())]}: answers to quality={name} are NaN or infinite: if "
            "the network computes in half precision, set precision=fp32"
        )
