"""Measure how seconds and memory grow: ``cam-eval`` of a tiny network, whole processes.

One thing is changed at a time: the number of images, of classes, of box rules, of processes. Each
row is one run of its own, from start to exit, on links to a few small photographs.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import ours
import torch
from common import Bench
from hydra import initialize_config_dir
from report import Results
from safetensors.torch import save_file

from cam_repro.classes import ilsvrc_classes
from cam_repro.config import config_dir
from cam_repro.models.build import build_network
from cam_repro.words import compose

NETWORK = ("model=alexnet_gap", "model.width=0.05", "model.input_size=64", "model.resize_size=72")
"""A network that takes about as long as reading a small JPEG."""

PHOTOGRAPHS, SIZE = 8, (125, 94)
"""How many photographs there are, and their width and height."""

FEW, SOME, MANY = 1_000, 10_000, 50_000
LINKS = 10_000
"""Images that are one file: file systems limit how many names a file may have."""

COLUMNS = ("images", "classes", "rules", "processes", "seconds", "peak_mib")
"""Columns of the CSV; peak_mib is the memory of the largest process at its largest."""


@dataclass(frozen=True)
class Case:
    """Hold what a row measures."""

    images: int = FEW
    classes: int = 20
    rules: int = 1
    processes: int = 1


def cases(quick: bool) -> list[Case]:
    """List the rows; with ``quick`` of a fiftieth of the images."""
    every = [
        Case(),
        Case(classes=1000),
        Case(rules=4),
        Case(processes=2),
        Case(processes=4),
        Case(images=SOME),
        Case(images=MANY),
        Case(images=MANY, classes=1000, rules=4),
    ]
    if not quick:
        return every
    return [Case(**{**asdict(case), "images": case.images // 50}) for case in every]


def measure(bench: Bench, results: Results, quick: bool) -> None:
    """Measure all rows, print and write them."""
    for number in range(PHOTOGRAPHS):
        photograph, _ = bench.images.read(number)
        photograph.resize(SIZE).save(bench.folder / f"photograph{number}.jpg")
    rows: list[dict[str, object]] = []
    print("\nwhole processes of cam-eval\n" + " ".join(f"{name:>9}" for name in COLUMNS))
    for case in cases(quick):
        seconds, peak = _run(bench, case)
        row = {**asdict(case), "seconds": f"{seconds:.2f}", "peak_mib": round(peak / 2**20)}
        rows.append(row)
        print(" ".join(f"{row[name]:>9}" for name in COLUMNS), flush=True)
        results.write(COLUMNS, rows)


def _run(bench: Bench, case: Case) -> tuple[float, int]:
    """Run ``cam-eval`` in processes of its own; give seconds, and the peak memory in bytes."""
    tree, weights = _tree(bench.folder, case), _weights(bench.folder, case.classes)
    command = [sys.executable, "-m", "cam_repro.cli.eval"]
    if case.processes > 1:
        command[1:2] = ["-m", "torch.distributed.run", "--standalone"]
        command[4:4] = [f"--nproc-per-node={case.processes}", "-m"]
    command += [*NETWORK, f"model.weights={weights}", "data=ilsvrc", f"data.root={tree}"]
    command += [f"box=[{','.join(ours.BOXES_OF_MAPS[: case.rules])}]"]
    command += [f"output={bench.folder}/run-{'-'.join(map(str, asdict(case).values()))}"]
    command += [f"device={bench.device}", f"loader.workers={bench.workers}"]
    log = bench.folder / "scale.log"
    started = time.perf_counter()
    with log.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file)
        _, status, usage = os.wait4(process.pid, 0)  # of this run alone, with its processes
    seconds = time.perf_counter() - started
    assert status == 0, log.read_text()
    return seconds, usage.ru_maxrss * 1024  # Linux gives kibibytes


def _tree(folder: Path, case: Case) -> Path:
    """Make a tree of so many images and classes, with a true box of each image; give its folder."""
    tree = folder / f"tree-{case.images}-{case.classes}"
    if tree.exists():
        return tree
    wnids = ilsvrc_classes().wnids[: case.classes]
    for wnid in wnids:
        (tree / "val" / wnid).mkdir(parents=True)
    mapping = "".join(f"{wnid} {wnid}\n" for wnid in wnids)
    (tree / "LOC_synset_mapping.txt").write_text(mapping)
    width, height = SIZE
    boxes = ["ImageId,PredictionString\n"]
    for index in range(case.images):
        source = folder / f"photograph{index % PHOTOGRAPHS}-{index // PHOTOGRAPHS // LINKS}.jpg"
        if not source.exists():
            shutil.copy(folder / f"photograph{index % PHOTOGRAPHS}.jpg", source)
        wnid, name = wnids[index % case.classes], f"ILSVRC2012_val_{index:08d}"
        os.link(source, tree / "val" / wnid / f"{name}.jpg")
        x, y = index % (width // 2), index % (height // 2)
        boxes.append(f"{name},{wnid} {x} {y} {x + width // 2} {y + height // 2}\n")
    (tree / "LOC_val_solution.csv").write_text("".join(boxes))
    return tree


def _weights(folder: Path, n_classes: int) -> Path:
    """Write random weights of the network, the same every time; give the file."""
    path = folder / f"weights-{n_classes}.safetensors"
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        composed = compose("eval", NETWORK)
    torch.manual_seed(0)
    save_file(build_network(composed.model, n_classes).state_dict(), path)
    return path
