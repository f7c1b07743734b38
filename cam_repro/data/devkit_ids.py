"""ILSVRC2012 ids of the development kit (1 to 1000), which submissions are written in.

They are not class index + 1: the kit numbers the classes in an order of its own, and only its
``meta.mat`` says which.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.io import loadmat

from cam_repro.errors import UserError

META_PLACES = ("meta.mat", "data/meta.mat", "ILSVRC2012_devkit_t12/data/meta.mat")


def read_devkit_ids(folder: Path, wnids: list[str]) -> np.ndarray | None:
    """Development-kit id by class index, int32 (C,), from the ``meta.mat`` in or below ``folder``.

    Returns None where there is no ``meta.mat``. Raises UserError for one that cannot be read or
    that lacks a class of the data set.
    """
    places = [folder / place for place in META_PLACES if (folder / place).is_file()]
    if not places:
        return None
    path = places[0]
    try:
        synsets = loadmat(path, squeeze_me=True)["synsets"]
        id_of = {
            str(wnid): int(number)
            for wnid, number in zip(synsets["WNID"], synsets["ILSVRC2012_ID"], strict=True)
        }
    except Exception as error:
        raise UserError(f"{path}: not the development kit's meta.mat ({error})") from None
    missing = [wnid for wnid in wnids if wnid not in id_of]
    if missing:
        raise UserError(f"{path}: has no class {missing[0]}; it belongs to another data set")
    return np.array([id_of[wnid] for wnid in wnids], np.int32)
