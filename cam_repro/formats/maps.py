"""Read maps that another program saved: one .npy file an image, or all in one .npy file."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from cam_repro.errors import UserError
from cam_repro.formats.names import name_of


class _MapFiles:
    """Read maps from one .npy file an image, each when it is asked for."""

    def __init__(self, folder: Path, names: list[str], crc32: Mapping[str, int]) -> None:
        self.folder = folder
        self.names = names  # text: Path objects would take several times the memory
        self.crc32 = crc32

    def __getitem__(self, index: int) -> np.ndarray:
        path = self.folder / self.names[index]
        map_hw = np.array(_load(path))
        written = self.crc32.get(self.names[index])
        if written is not None and zlib.crc32(path.read_bytes()) != written:
            raise UserError(
                f"{path} is not as it was written: its CRC-32 is not the one in the run's "
                "predictions.parquet: score the run again with cam-eval overwrite=true"
            )
        if map_hw.ndim != 2 or not map_hw.size:
            raise UserError(f"{path}: has shape {map_hw.shape}; a map has two axes, height, width")
        return map_hw


def open_maps(
    path: Path, images: Sequence[str], crc32: Mapping[str, int] | None = None
) -> np.ndarray | _MapFiles:
    """Open the maps of these images: item i of the result is the (h, w) map of image i.

    path: a .npy file with all maps, (N, h, w), in the order of ``images``; or a folder with
        ``<image>.npy`` for each, where suffix and folder of the image's name may be left out.
    crc32: checksums of files in a folder by their names, compared when they are read.

    Raises UserError where a map is missing or changed, and where an array has not the shape of
    maps.
    """
    if path.is_dir():
        files, missing = [], []
        for image in images:
            stem = name_of(image)
            whole = image.rpartition("/")[0]
            names = (f"{name}.npy" for name in (image, f"{whole}/{stem}" if whole else stem, stem))
            found = next((name for name in names if (path / name).is_file()), None)
            if found is None:
                missing.append(image)
            else:
                files.append(found)
        if missing:
            raise UserError(
                f"{path}: no map of {missing[0]}, {name_of(missing[0])}.npy "
                f"({len(missing)} of {len(images)} are missing)"
            )
        return _MapFiles(path, files, crc32 or {})
    if not path.is_file():
        raise UserError(f"maps={path}: no such file or folder")
    maps_Nhw = _load(path)
    if maps_Nhw.ndim != 3 or not maps_Nhw[:1].size:
        raise UserError(
            f"{path}: has shape {maps_Nhw.shape}; a stack of maps has three axes, images, height, "
            "width"
        )
    if len(maps_Nhw) != len(images):
        raise UserError(
            f"{path}: holds {len(maps_Nhw)} maps, the ground truth {len(images)} images: one map "
            "an image is needed, in its order"
        )
    return maps_Nhw


def _load(path: Path) -> np.ndarray:
    """Open a .npy file as a memory map, whose header cannot claim more than the file holds."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception:  # a damaged header raises anything, from SyntaxError to OverflowError
        raise UserError(f"{path}: not a readable .npy file of numbers") from None
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiub":
        raise UserError(f"{path}: not a .npy file of real numbers")
    return array
