"""Flip a bit in each kind of file that the commands write and read again.

Whoever reads the file must notice it, unless what is read is the same.
"""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from trial import Campaign, Row, in_child, jobs, undisturbed

from cam_repro.data.packed.source import Packed
from cam_repro.engine.checkpoint import load_checkpoint
from cam_repro.errors import UserError
from cam_repro.runs.examples import read_examples
from cam_repro.runs.manifest import read_eval_manifest, read_train_manifest
from cam_repro.runs.predictions import read_predictions
from cam_repro.runs.training_log import read_log

USUAL, QUICK, TIMES = 300, 5, "flips in each kind of file"
GOOD = ["noticed", "the same"]

Read = Callable[[Path], Any]


def run(campaign: Campaign) -> Iterator[Row]:
    """Flip ``times`` bits in each kind of file, one at a time."""
    base, chance = campaign.base, campaign.chance
    work = base / "flipped"
    for kind, (folder, name, read) in campaign.chosen(_kinds(base)).items():
        shutil.copytree(folder, work)
        path = work / name
        whole = path.read_bytes()
        usual = in_child(partial(_read, read, work))
        assert usual[0] == "read", usual
        for _ in range(campaign.times):
            place, bit = chance.randrange(len(whole)), chance.randrange(8)
            damaged = bytearray(whole)
            damaged[place] ^= 1 << bit
            path.write_bytes(damaged)
            found = in_child(partial(_read, read, work))
            yield Row(kind, f"byte {place}, bit {bit}", *_outcome(found, usual))
        shutil.rmtree(work)


def _kinds(base: Path) -> dict[str, tuple[Path, str, Read]]:
    """Give for each kind of file the folder of results, its name there, and who reads it."""
    names = ("train", "eval", "pack")
    trained, scored, packed = (undisturbed(jobs(base)[name], base).folder for name in names)
    shard = next((packed / "val").glob("*.tar")).name
    return {
        "last.pt": (trained, "last.pt", lambda folder: load_checkpoint(folder / "last.pt")),
        "log.csv": (trained, "log.csv", read_log),
        "manifest (train)": (trained, "manifest.json", read_train_manifest),
        "manifest (eval)": (scored, "manifest.json", read_eval_manifest),
        "predictions.parquet": (scored, "predictions.parquet", read_predictions),
        "examples.parquet": (scored, "examples.parquet", read_examples),
        "manifest (packed)": (packed, "manifest.json", _read_packed),
        "index.parquet": (packed, "val/index.parquet", _read_packed),
        "shard": (packed, f"val/{shard}", _read_packed),
    }


def _read_packed(folder: Path) -> Any:
    """Check a packed set, as ``cam-data check`` does, and read it."""
    source = Packed(root=str(folder))
    report = source.check(decode=True)
    faults = [split.faults for split in report.splits.values() if split.faults]
    if report.problem or faults:
        raise UserError(report.problem or str(faults))
    images = source.open("val")
    pixels = [images.read(index)[0].tobytes() for index in range(len(images))]
    return images.ids[:], images.labels_N, images.boxes.values_T4, images.classes, pixels


def _read(read: Read, folder: Path) -> tuple[str, Any]:
    """Read, and give ``read`` with what was read as bytes, or what happened with a message."""
    try:
        value = read(folder)
    except UserError as error:
        return "noticed", str(error)
    except Exception as error:
        return "traceback", f"{type(error).__name__}: {error}"
    return "read", pickle.dumps(_plain(value))


def _plain(value: Any) -> Any:
    """Give a value with numpy arrays for tensors, whose pickles name places in memory."""
    if isinstance(value, torch.Tensor):
        return value.dtype, value.numpy(force=True)
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value


def _outcome(found: Any, usual: tuple[str, Any]) -> tuple[str, str]:
    if isinstance(found, str):
        return "crash", found
    if found[0] != "read":
        return found
    return ("the same", "") if found[1] == usual[1] else ("wrong in silence", "")
