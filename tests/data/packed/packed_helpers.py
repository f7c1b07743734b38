"""What the tests of packed data share."""

from __future__ import annotations

import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from cam_repro.data.ilsvrc.image_set import ImageSet
from cam_repro.data.images import ErrorPolicy
from cam_repro.data.packed.write import Stored, pack

VAL = "ILSVRC2012_val_0000000"
ORIGINALS = Stored(None)


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)


def pack_them(
    output: Path,
    *sources: ImageSet,
    stored: Stored = ORIGINALS,
    shard_bytes: int = 10**9,
    threads: int = 2,
    on_error: str = "stop",
    decode: bool = True,
) -> Path:
    pack(
        sources,
        output,
        replace(stored, shard_bytes=shard_bytes, decode=decode),
        threads=threads,
        policy=ErrorPolicy(on_error),
        provenance={"command": "cam-data pack"},
    )
    return output


def members(shard: Path) -> list[tuple[str, bytes]]:
    with tarfile.open(shard) as tar:
        return [(member.name, tar.extractfile(member).read()) for member in tar]


def same_sets(one: ImageSet, other: ImageSet) -> bool:
    assert one.ids == other.ids
    assert one.labels_N.tolist() == other.labels_N.tolist()
    assert one.boxes.values_T4.tolist() == other.boxes.values_T4.tolist()
    assert one.boxes.offsets.tolist() == other.boxes.offsets.tolist()
    assert one.classes.wnids == other.classes.wnids
    assert one.classes.names == other.classes.names
    for index in range(len(one)):
        mine, theirs = one[index], other[index]
        assert (mine.id, mine.index, mine.label) == (theirs.id, index, theirs.label)
        assert mine.boxes_M4.tolist() == theirs.boxes_M4.tolist()
    return True
