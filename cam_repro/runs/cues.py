"""Write and read cues: which pixels are evidence for which of an image's true classes.

``cam-eval cues=sec`` writes them into the folder ``cues`` of a run. Needs no torch. In it are

``<id>.npz``
    of each image: ``classes``, uint8 (R,), class index + 1 of each of its true classes; ``maps``,
    float32 (R, h, w), each divided by its maximum; ``cues``, uint8 (H, W), at the image's size:
    class index + 1, or 255 where no class is cued.
``localization_cues.pickle``, ``input_list.txt``
    the same for the program of SEC: cues at 41x41 pixels of the squashed image
    (``write_sec_file``).
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cam_repro.errors import UserError
from cam_repro.files import atomic_path, path_within, says_if_full, write_text
from cam_repro.progress import Bar
from cam_repro.runs.folders import CUES
from cam_repro.runs.manifest import EvalManifest

SEC_PICKLE, SEC_LIST = "localization_cues.pickle", "input_list.txt"

SEC_SIZE = 41
"""Width and height of the output of SEC's network, and of the cues that it reads."""


@dataclass(frozen=True, eq=False)
class Cues:
    """Hold the cues of one image, as a file has them; R are its true classes.

    values_R: class index + 1 of each class. maps_Rhw: its map, divided by its maximum; 0 or less
    everywhere where nothing speaks for the class. cues_HW: uint8, one of ``values_R`` or
    ``IGNORED``. interpolation: how maps are resized to the image.
    """

    values_R: np.ndarray
    maps_Rhw: np.ndarray
    cues_HW: np.ndarray
    interpolation: str = "linear"


def write_cues(folder: Path, image_id: str, cues: Cues) -> None:
    """Write the cues of an image; raises UserError where the disk is full."""
    path = cue_path(folder, image_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    values_R, maps_Rhw = cues.values_R.astype(np.uint8), cues.maps_Rhw.astype(np.float32)
    with says_if_full(path):
        np.savez_compressed(path, classes=values_R, maps=maps_Rhw, cues=cues.cues_HW)


def cue_path(folder: Path, image_id: str) -> Path:
    """Name the file of an image's cues; ids may name subfolders, but none outside ``folder``."""
    return path_within(folder, *f"{image_id}.npz".split("/"))


def cues_folder(manifest: EvalManifest, folder: Path) -> Path:
    """Give the folder of a run's cues; raises UserError where it has none. folder: the run's."""
    if manifest.cues is None or not (folder / CUES).is_dir():
        raise UserError(f"{folder}: has no cues: score it again with cam-eval cues=sec")
    return folder / CUES


def open_cues(
    folder: Path, image_ids: Sequence[str], interpolation: str = "linear"
) -> Iterator[Cues]:
    """Yield the cues of these images, one after another, with a progress bar.

    Raises UserError where a file is missing, damaged, or does not hold what it should, as numbers.
    """
    if not folder.is_dir():
        raise UserError(f"maps={folder}: no such folder; give one with a file ID.npz of each image")
    bar = Bar(len(image_ids), "reading cues", iterable=image_ids, leave=False)
    for image_id in bar:
        path = folder / f"{image_id}.npz"
        try:
            with np.load(path, allow_pickle=False) as file:
                cues = Cues(file["classes"], file["maps"], file["cues"], interpolation)
        except FileNotFoundError:
            raise UserError(f"{path}: there is no such file, so {image_id} has no cues") from None
        except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise UserError(f"{path}: is damaged, or holds no cues ({error})") from None
        of_image = cues.maps_Rhw.ndim == 3 and len(cues.maps_Rhw) == len(cues.values_R)
        if not of_image or cues.cues_HW.ndim != 2 or cues.cues_HW.dtype != np.uint8:
            raise UserError(
                f"{path}: needs classes (R,), maps (R, h, w) and cues (H, W), uint8; it has "
                f"{cues.values_R.shape}, {cues.maps_Rhw.shape} and {cues.cues_HW.shape}"
            )
        if not np.isfinite(cues.maps_Rhw).all():
            raise UserError(f"{path}: its maps have values that are NaN or infinite")
        yield cues


def write_sec_file(
    folder: Path, names: Sequence[str], classes: Sequence[list[int]], cues: Sequence[np.ndarray]
) -> None:
    """Write cues in the form that the program of SEC, and those derived from it, read.

    The pickle is a dictionary: ``"7_labels"`` is the list of class index + 1 of image 7, and
    ``"7_cues"`` are three lists, value, row and column of each cue at 41x41. The list has a line
    ``NAME 7`` for each image. Of the background there are no cues. The pickle holds lists alone, so
    that the Python 2 and the old NumPy of that program can read it.

    names: files of the images. classes: class index + 1 of each. cues: integers (3, K) of each.
    """
    content: dict[str, list] = {}
    for number, (values, cues_3K) in enumerate(zip(classes, cues, strict=True)):
        content[f"{number}_labels"] = values
        content[f"{number}_cues"] = cues_3K.tolist()
    with atomic_path(folder / SEC_PICKLE) as path:
        path.write_bytes(pickle.dumps(content, protocol=2))
    lines = [f"{name} {number}\n" for number, name in enumerate(names)]
    write_text(folder / SEC_LIST, "".join(lines))
