"""Find the class-specific units of a network (the paper, section 5), and where they are active."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from cam_repro.data.image_set import ImageSet
from cam_repro.data.images import ErrorPolicy
from cam_repro.data.loading import ViewImages, view_loader
from cam_repro.data.settings import LoaderSettings
from cam_repro.data.views import View
from cam_repro.engine.compute import Compute
from cam_repro.engine.evaluate import BATCH_SIZE, check_finite
from cam_repro.engine.memory import freed_memory_kept
from cam_repro.models.base import CamNetwork
from cam_repro.models.modes import evaluation_mode
from cam_repro.progress import Bar
from cam_repro.types import Box

MapsOfImages = tuple[list[int], Tensor]
"""The indices of some images in their split, and their maps A_NKhw, float32, on the device."""


@dataclass(frozen=True, eq=False)
class Activation:
    """Hold how active a unit is in one image.

    index: of the image in the split. maximum, mean: of the unit's map. map_hw: this map.
    """

    index: int
    maximum: float
    mean: float
    map_hw: np.ndarray

    @property
    def rank(self) -> tuple[float, float]:
        """Give what images are ranked by: the maximum, and where this is equal the mean.

        In a network with ReLU6 the maximum is 6 in very many images.
        """
        return self.maximum, self.mean


NOWHERE = 0.0, float("inf")
"""The rank that an image has to exceed in any case: one of a maximum of 0."""


@dataclass(frozen=True, eq=False)
class Region:
    """Hold where in an image a unit is active.

    place: x and y of the maximum of the unit's map, pixels. mask_HW: bool, the pixels of the
    region. box: around them.
    """

    place: tuple[int, int]
    mask_HW: np.ndarray
    box: Box


def region_of(map_HW: np.ndarray, threshold: float) -> Region:
    """Find the region of a map around its maximum: what is connected with it above a threshold.

    map_HW: at the image's own size, with a maximum above 0. threshold: share of the maximum, 0 to
    1. Pixels are connected with all eight around them, as in the box rules.
    """
    maximum = map_HW.max()
    y, x = np.unravel_index(int(map_HW.argmax()), map_HW.shape)
    above_HW = (map_HW > threshold * maximum) | (map_HW == maximum)
    _, number_HW = cv2.connectedComponents(above_HW.astype(np.uint8), connectivity=8)
    mask_HW = number_HW == number_HW[y, x]
    x0, y0, width, height = cv2.boundingRect(mask_HW.astype(np.uint8))
    return Region((int(x), int(y)), mask_HW, (x0, y0, x0 + width - 1, y0 + height - 1))


def units_of_class(w_CK: Tensor, class_index: int, count: int) -> list[tuple[int, float]]:
    """Give the units k with the largest weights w_k^c of a class c, each with its weight.

    The largest comes first; of equal ones the lower number. Up to ``count`` units, and none of a
    weight of 0 or less: such a unit does not speak for the class.
    """
    w_K, units_K = w_CK[class_index].detach().float().cpu().sort(descending=True, stable=True)
    pairs = zip(units_K.tolist(), w_K.tolist(), strict=True)
    return [(unit, weight) for unit, weight in pairs if weight > 0][:count]


def maps_of_split(
    network: CamNetwork,
    view: View,
    images: ImageSet,
    loading: LoaderSettings,
    compute: Compute,
) -> Iterator[MapsOfImages]:
    """Compute the maps A of all images of a split, a batch at a time.

    view: of one crop. Images that cannot be read stop it or are left out, as ``loading`` says.
    """
    assert view.n_crops == 1, view.name
    loader = view_loader(
        ViewImages(images, view),
        at_a_time=BATCH_SIZE[compute.on_gpu],
        workers=compute.loader_workers(loading.workers),
        pin=compute.on_gpu,
    )
    policy = ErrorPolicy(loading.on_error)
    compute.place(network)
    bar = Bar(total=len(images), what=f"{images.split}, maps")
    with freed_memory_kept(), evaluation_mode(network), compute.exact_fp32(), bar:
        for batch in loader:
            policy.handle(batch.unreadable)
            bar.update(len(batch.seen) + len(batch.unreadable))
            if not batch.seen:
                continue
            x_NCHW = network.normalize(compute.move(batch.crops_NV3HW[:, 0]))
            with torch.no_grad(), compute.autocast():
                A_NKhw = network.forward_features(compute.lay_out(x_NCHW)).float()
            largest_N = A_NKhw.flatten(1).abs().amax(1).cpu().numpy()
            check_finite("maps", largest_N, [images.ids[image.index] for image in batch.seen])
            yield [image.index for image in batch.seen], A_NKhw


def most_active(
    maps: Iterable[MapsOfImages], units: Sequence[int], count: int
) -> tuple[dict[int, list[Activation]], int]:
    """Find the images in which each unit is most active; and count all images.

    Of each unit come up to ``count`` images, the most active first (``Activation.rank``); of equal
    ones the first in the split. An image in which a unit is nowhere above 0 is none of its images.
    No more than ``count`` maps of each unit are kept in memory.
    """
    n_images = 0
    kept: dict[int, list[Activation]] = {unit: [] for unit in units}
    for indices, A_NKhw in maps:
        n_images += len(indices)
        A_NUhw = A_NKhw[:, list(kept)]
        maxima_NU, means_NU = A_NUhw.amax((2, 3)).tolist(), A_NUhw.mean((2, 3)).tolist()
        for place, (unit, highest) in enumerate(kept.items()):
            floor = highest[-1].rank if len(highest) == count else NOWHERE
            found = [
                # A copy: a part of the array would keep the maps of the whole batch in memory.
                Activation(index, *rank, A_NUhw[row, place].cpu().numpy().copy())
                for row, index in enumerate(indices)
                if (rank := (maxima_NU[row][place], means_NU[row][place])) > floor
            ]
            ranked = sorted([*highest, *found], key=lambda one: one.rank, reverse=True)
            kept[unit] = ranked[:count]
    return kept, n_images
