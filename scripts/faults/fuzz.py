"""Feed each reader of files with damaged and hostile ones, made of good ones by chance.

A reader may raise UserError; any other exception is a finding, and so are a crash,
more than 1 GiB of memory and more than 20 seconds. The inputs come from the reader's name and the
number in the table, so that a finding can be made again.
"""

from __future__ import annotations

import json
import random
import resource
import shutil
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
import torch
from PIL import Image
from safetensors.torch import save_file
from trial import Campaign, Row, in_child, jobs, undisturbed

from cam_repro.classes import read_meta, read_synset_mapping
from cam_repro.data.ground_truth.read import read_truth
from cam_repro.data.ilsvrc.unpack import unpack
from cam_repro.data.images import UnreadableImage, read_image
from cam_repro.data.packed.read import load_packed_set
from cam_repro.engine.checkpoint import load_checkpoint
from cam_repro.errors import UserError
from cam_repro.formats.boxes import read_annotations
from cam_repro.formats.devkit import read_blacklist, read_val_labels
from cam_repro.formats.maps import open_maps
from cam_repro.formats.submissions import read_kaggle_submission, read_submission
from cam_repro.models.caffe import net_parameter, read_caffemodel
from cam_repro.models.weight_files import find_weights
from cam_repro.runs.examples import read_examples
from cam_repro.runs.manifest import read_eval_manifest, read_train_manifest
from cam_repro.runs.predictions import read_predictions
from cam_repro.runs.training_log import read_log

USUAL, QUICK, TIMES = 600, 1, "seconds for each reader"
GOOD = ["read or refused"]

MEMORY, SECONDS = 2**30, 20
AT_ONCE = 50
"""Inputs that one process reads, one after another; a crash is then looked for among them."""

SLOW = {"meta.mat": 5}
"""Fewer inputs for readers that start a process for each."""

TOKENS = [b"-1", b"0", b"1e999", b"NaN", b"2147483648", b"99999999999999999999", b"null", b"true"]
TOKENS += [
    b"\x00",
    b"\xff\xfe",
    b"\xc3",
    b'"',
    b",",
    b"\n",
    b"\r\n",
    b"<",
    b"{",
    b"[" * 2000,
    b"../",
]

CHECKSUMS = ("checksum", "files", "index_sha256", "shards_sha256")
"""Keys of manifests."""

Reader = tuple[Path, Callable[[Path], Any]]
Finding = tuple[int, str]


def run(campaign: Campaign) -> Iterator[Row]:
    """Fuzz each reader for ``times`` seconds; in the short form, all of them together."""
    base = campaign.base
    readers = campaign.chosen(_readers(base))
    each = campaign.times / len(readers) if campaign.quick else campaign.times
    for name, (seed, read) in readers.items():
        good, path = seed.read_bytes(), seed.with_name(f"fuzzed{seed.suffix}")
        if name in IN_PLACE:
            path = seed
        path.write_bytes(good)
        refused = in_child(partial(_read, read, path))
        assert refused is None, f"{name}: the good file is refused: {refused}"
        feed = partial(_feed, name, good, path, read)
        end, number, at_once = time.monotonic() + each, 0, SLOW.get(name, AT_ONCE)
        found: set[str] = set()
        while number == 0 or time.monotonic() < end:
            for one, detail in _findings(feed, range(number, number + at_once)):
                if detail not in found:
                    found.add(detail)
                    yield Row(name, f"input {one}", "finding", detail)
            number += at_once
        path.write_bytes(good)
        yield Row(name, f"{number:,} inputs", "read or refused")


def _findings(feed: Callable[[Sequence[int]], list[Finding]], numbers: range) -> list[Finding]:
    """Let a reader read the inputs with these numbers, in a process of its own."""
    found = in_child(partial(feed, numbers), 3 * SECONDS)
    if isinstance(found, list):
        return found
    singly = [(number, in_child(partial(feed, [number]))) for number in numbers]  # which one?
    return [(number, ended) for number, ended in singly if isinstance(ended, str)]


def _read(read: Callable[[Path], Any], path: Path) -> None:
    read(path)


def _feed(
    name: str, good: bytes, path: Path, read: Callable[[Path], Any], numbers: Sequence[int]
) -> list[Finding]:
    """Let a reader read the inputs with these numbers; give those that are findings, and why."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    findings = []
    for number in numbers:
        path.write_bytes(mutated(good, random.Random(f"{name} {number}")))
        started = time.monotonic()
        try:
            read(path)
        except (UserError, UnreadableImage):
            pass
        except Exception as error:
            at = traceback.extract_tb(error.__traceback__)
            ours = [frame for frame in at if "cam_repro" in frame.filename][-1]
            place = f"{Path(ours.filename).name}:{ours.lineno}"
            findings.append((number, f"{type(error).__name__} at {place}"))
        if time.monotonic() - started > SECONDS:
            findings.append((number, f"over {SECONDS} s"))
    return findings


def mutated(good: bytes, chance: random.Random) -> bytes:
    """Damage a good file in one to six places: bits, bytes, pieces cut, repeated or put in."""
    bad = bytearray(good)
    for _ in range(chance.randint(1, 6)):
        place = chance.randrange(len(bad) + 1)
        length = min(chance.choice([1, 2, 4, 8, 64, 1024]), len(bad) - place)
        piece = bad[place : place + length]
        kind = chance.randrange(7)
        if kind == 0 and length:
            bad[place] ^= 1 << chance.randrange(8)
        elif kind == 1:
            bad[place : place + length] = chance.randbytes(length)
        elif kind == 2:
            bad[place : place + length] = chance.choice([b"\x00", b"\xff", b"\x7f"]) * length
        elif kind == 3:
            del bad[place : place + length]
        elif kind == 4:
            bad[place:place] = piece * chance.choice([1, 2, 50])
        elif kind == 5:
            bad[place:place] = chance.choice(TOKENS)
        elif chance.random() < 0.3:
            del bad[place:]
    return bytes(bad)


IN_PLACE = ["eval manifest", "train manifest", "predictions", "examples", "log", "pack manifest"]
IN_PLACE += ["pack index", "archive", "XML"]
"""Readers that take a folder: the input has the name of the good file."""


def _readers(base: Path) -> dict[str, Reader]:
    """Write a good file for each reader; give these, and how each is read."""
    own = _own_files(base / "fuzz")
    folders = []
    for name in ("train", "eval", "pack"):
        folders.append(own / name)
        shutil.copytree(undisturbed(jobs(base)[name], base).folder, folders[-1])
        _forge(folders[-1] / "manifest.json")
    trained, scored, packed = folders
    return {
        "submission": (scored / "submission_threshold.txt", read_submission),
        "Kaggle submission": (own / "kaggle.csv", read_kaggle_submission),
        "solution": (own / "solution.csv", read_truth),
        "truth": (own / "truth.csv", read_truth),
        "XML": (own / "xml" / "a.xml", lambda path: read_annotations(path.parent)),
        "synsets": (own / "synsets.txt", read_synset_mapping),
        "meta.mat": (own / "meta.mat", read_meta),
        "labels": (own / "labels.txt", read_val_labels),
        "blacklist": (own / "blacklist.txt", lambda path: read_blacklist(path, 50)),
        "map": (own / "maps.npy", lambda path: np.asarray(open_maps(path, list("abc")))),
        "JPEG": (own / "a.jpg", read_image),
        "PNG": (own / "a.png", read_image),
        "TIFF": (own / "a.tif", read_image),
        "checkpoint": (trained / "last.pt", load_checkpoint),
        "weights": (own / "weights.pt", _weights),
        "safetensors": (own / "weights.safetensors", _weights),
        "caffemodel": (own / "weights.caffemodel", read_caffemodel),
        "train manifest": (
            trained / "manifest.json",
            lambda path: read_train_manifest(path.parent),
        ),
        "log": (trained / "log.csv", lambda path: read_log(path.parent)),
        "eval manifest": (
            scored / "manifest.json",
            lambda path: read_eval_manifest(path.parent),
        ),
        "predictions": (
            scored / "predictions.parquet",
            lambda path: read_predictions(path.parent),
        ),
        "examples": (scored / "examples.parquet", lambda path: read_examples(path.parent)),
        "pack manifest": (packed / "manifest.json", lambda path: _packed(path.parent)),
        "pack index": (packed / "val" / "index.parquet", lambda path: _packed(path.parents[1])),
        "archive": (
            own / "tars" / "ILSVRC2012_img_val.tar",
            lambda path: unpack(path.parent, own / "tree", ["val"], progress=False),
        ),
    }


def _forge(manifest: Path) -> None:
    """Leave checksums out of a manifest, as earlier versions did: they would shield the readers."""
    values = json.loads(manifest.read_text())
    for part in (values, *values.get("splits", {}).values()):
        for key in CHECKSUMS:
            part.pop(key, None)
    manifest.write_text(json.dumps(values, indent=2))


def _weights(path: Path) -> None:
    """Look for weights in a file."""
    find_weights(path, 2, len)


def _packed(folder: Path) -> None:
    """Open a packed set and read an image."""
    load_packed_set(folder, "val").read(0)


def _own_files(folder: Path) -> Path:
    """Write good files of the forms that the jobs do not write; give their folder."""
    (folder / "xml").mkdir(parents=True)
    (folder / "tars").mkdir()
    (folder / "kaggle.csv").write_text(
        "ImageId,PredictionString\na,n01440764 0 0 9 9 n01443537 1 1 5 5\nb,n01440764 0 0 9 9\n"
    )
    (folder / "solution.csv").write_text(
        "ImageId,PredictionString\na,n01440764 0 0 9 9 n01440764 1 1 5 5 \nb,n01443537 0 0 9 9 \n"
    )
    (folder / "truth.csv").write_text(
        "image,width,height,label,boxes\na,10,10,1,0 0 9 9\nb,20,10,2,0 0 9 9;1 1 5 5\n"
    )
    (folder / "xml" / "a.xml").write_text(
        "<annotation><size><width>64</width><height>48</height></size><object>"
        "<name>n01440764</name><bndbox><xmin>9</xmin><ymin>9</ymin><xmax>40</xmax>"
        "<ymax>30</ymax></bndbox></object></annotation>"
    )
    (folder / "synsets.txt").write_text("n01440764 tench, Tinca tinca\nn01443537 goldfish\n")
    names = ("ILSVRC2012_ID", "WNID", "words", "num_children")
    synsets = np.empty((2, 1), dtype=[(name, object) for name in names])
    for row, (wnid, word) in enumerate([("n01440764", "tench"), ("n01443537", "goldfish")]):
        synsets[row, 0] = (row + 1, wnid, word, 0)
    scipy.io.savemat(folder / "meta.mat", {"synsets": synsets})
    (folder / "labels.txt").write_text("".join(f"{n % 7 + 1}\n" for n in range(50)))
    (folder / "blacklist.txt").write_text("3\n17\n44\n")
    np.save(folder / "maps.npy", np.linspace(0, 1, 300, dtype=np.float32).reshape(3, 10, 10))
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3)).astype(np.uint8)
    for suffix in ("jpg", "png", "tif"):
        Image.fromarray(pixels).save(folder / f"a.{suffix}")
    state = {"features.0.weight": torch.ones(4, 3, 3, 3), "fc.bias": torch.zeros(5)}
    torch.save(state, folder / "weights.pt")
    save_file(state, folder / "weights.safetensors")
    net = net_parameter()()
    layer = net.layer.add(name="conv1")
    blob = layer.blobs.add(data=[np.full(8, 0.5, np.float32).tobytes()])
    blob.shape.dim.extend([2, 4])
    (folder / "weights.caffemodel").write_bytes(net.SerializeToString())
    source = folder.parent / "tars" / "ILSVRC2012_img_val.tar"
    (folder / "tars" / source.name).write_bytes(source.read_bytes())
    return folder
