"""Print the table; write the CSV and the facts that the numbers depend on."""

from __future__ import annotations

import argparse
import contextlib
import csv
import math
import os
import shlex
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from common import Bench
from measure import Timing

from cam_repro.engine.hardware import processor_name
from cam_repro.engine.processes import cpus
from cam_repro.files import atomic_path, write_json
from cam_repro.runs.provenance import provenance

RESULTS = Path(__file__).resolve().parents[2] / "results" / "benchmarks"
CPU_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_tile", "amx_bf16")
LIBRARIES = ("captum", "torchcam", "grad-cam", "scipy")
"""Libraries whose versions are noted in addition to those of every manifest."""

COLUMNS = (
    "group",
    "network",
    "variant",
    "batch",
    "ms_per_image",
    "ratio",
    "against",
    "spread",
    "images",
    "rounds",
    "first_s",
    "peak_gpu_mib",
    "same_boxes",
    "note",
)
"""Columns of the CSV.

ratio: ms_per_image divided by that of ``against``, a variant of the same network. spread: fastest
and slowest round, ms per image. images: images of a round. first_s: seconds of the first turn,
which is not counted. same_boxes: share of the guesses that are equal to cam_repro's in fp32.
"""

HEADER = f"{'':<32} {'batch':>5} {'ms/image':>9} {'fastest-slowest':>17} {'ratio':>7}  against"


@dataclass
class Row:
    """Hold a line of the table: a variant and what it is compared with.

    timing: None if the variant could not be run; then ``note`` says why. against: what it is
    compared with. times: how often that has to be done for one image here (ten for ten crops).
    """

    variant: str
    timing: Timing | None = None
    against: Timing | None = None
    times: int = 1
    same_boxes: float | None = None
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """Give the time divided by that of ``against``; None if one is not known."""
        if self.timing is None or self.against is None:
            return None
        return self.timing.ms / (self.times * self.against.ms)

    @property
    def per_second(self) -> float:
        """Give images per second."""
        return math.nan if self.timing is None else 1000 / self.timing.ms

    @property
    def against_name(self) -> str:
        """Name what the variant is compared with."""
        if self.against is None:
            return ""
        return (f"{self.times} x " if self.times > 1 else "") + self.against.variant.name

    def cells(self) -> dict[str, object]:
        """Give the cells of the CSV that are known, by column."""
        cells: dict[str, object] = {
            "variant": self.variant,
            "against": self.against_name,
            "note": self.note,
        }
        if self.timing is not None:
            fastest, slowest = self.timing.spread
            cells |= {
                "batch": self.timing.variant.batch,
                "ms_per_image": f"{self.timing.ms:.6g}",
                "spread": f"{fastest:.6g}-{slowest:.6g}",
                "images": self.timing.variant.images,
                "rounds": len(self.timing.seconds),
                "first_s": f"{self.timing.first:.2f}",
                "peak_gpu_mib": round(self.timing.peak / 2**20) or "",
            }
        if self.ratio is not None:
            cells["ratio"] = f"{self.ratio:.6g}"
        if self.same_boxes is not None:
            cells["same_boxes"] = f"{self.same_boxes:.4f}"
        return cells

    def line(self) -> str:
        """Write the line of the printed table, at most 100 characters."""
        if self.timing is None:
            return f"{self.variant:<32} {self.note}"
        fastest, slowest = self.timing.spread
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        return (
            f"{self.variant:<32} {self.timing.variant.batch or '':>5} {self.timing.ms:>9.4g} "
            f"{f'{fastest:.4g}-{slowest:.4g}':>17} {ratio:>7}  {self.against_name}"
        ).rstrip()


@dataclass(frozen=True)
class Results:
    """Hold the CSV of results, and how they came about, which is written beside it as JSON.

    Nothing is written before there is a result: files of an earlier measurement stay whole.
    """

    path: Path
    facts: dict[str, Any]

    def write(self, columns: Sequence[str], rows: Sequence[dict[str, object]]) -> None:
        """Write both; an interrupted write leaves neither half-written."""
        with atomic_path(self.path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
        write_json(self.path.with_suffix(".json"), self.facts)


class Report:
    """Print each group of rows as soon as it is measured, and keep the results up to date."""

    def __init__(self, results: Results) -> None:
        self.results = results
        self.cells: list[dict[str, object]] = []

    def add(
        self, group: str, network: str, title: str, rows: Sequence[Row], notes: Sequence[str] = ()
    ) -> None:
        """Add a group of rows.

        group, network: for the CSV. title, notes: printed above and below the rows.
        """
        print(f"\n{network}{': ' if network else ''}{title}\n{HEADER}")
        for row in rows:
            print(row.line())
        peaks = [
            f"{row.variant} {row.timing.peak / 2**30:.2f}"
            for row in rows
            if row.timing and row.timing.peak
        ]
        for note in [*notes, *(["peak GPU memory, GiB: " + ", ".join(peaks)] if peaks else [])]:
            print_wrapped(note)
        sys.stdout.flush()
        self.cells += [{"group": group, "network": network, **row.cells()} for row in rows]
        self.results.write(COLUMNS, self.cells)


def print_wrapped(text: str) -> None:
    """Print text in lines of at most 100 characters."""
    print(textwrap.fill(text, 100, subsequent_indent="  ", break_on_hyphens=False))


def about(bench: Bench, args: argparse.Namespace) -> dict[str, Any]:
    """Collect what the numbers depend on: versions, hardware, data set, options."""
    facts = asdict(provenance())
    for library in LIBRARIES:
        with contextlib.suppress(PackageNotFoundError):
            facts["versions"][library] = version(library)
    facts["command"] = shlex.join(["scripts/benchmark.sh", *sys.argv[1:]])
    flags: list[str] = []
    with contextlib.suppress(OSError):
        words = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
        flags = [flag for flag in CPU_FLAGS if flag in words]
    return {
        **facts,
        "hardware": {
            "processor": processor_name(),
            "flags": flags,
            "cores": cpus(),
            "threads": torch.get_num_threads(),
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS"),
            "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY"),
            "gpu": torch.cuda.get_device_name(bench.device) if bench.on_gpu else None,
        },
        "data": {
            "name": bench.images.name,
            "images": len(bench.images),
            "classes": len(bench.images.classes),
        },
        "loader_workers": bench.workers,
        "options": {key: str(value) for key, value in vars(args).items() if value},
    }


def say(facts: dict[str, Any]) -> None:
    """Print the facts of ``about`` in a few lines."""
    hardware, data = facts["hardware"], facts["data"]
    print_wrapped(f"{facts['command']}; git {facts['git']}")
    print_wrapped(", ".join(f"{name} {number}" for name, number in facts["versions"].items()))
    print_wrapped(
        f"{hardware['processor']} ({' '.join(hardware['flags'])}), {hardware['cores']} cores, "
        f"{hardware['threads']} threads" + (f"; {hardware['gpu']}" if hardware["gpu"] else "")
    )
    print_wrapped(
        f"{data['images']} images of {data['name']}, {data['classes']} classes; "
        f"processes that load images: {facts['loader_workers']}"
    )


def default_path(facts: dict[str, Any], kind: str) -> Path:
    """Name the CSV: ``results/benchmarks/<data>-<hardware>[-<kind>].csv``."""
    hardware = facts["hardware"]
    name = hardware["gpu"] or f"{hardware['processor']} {hardware['cores']} cores"
    words = [facts["data"]["name"], *name.lower().split(), *kind.split()]
    allowed = ["".join(c for c in word if c.isalnum() or c in "-_.") for word in words]
    return RESULTS / f"{'-'.join(filter(None, allowed))}.csv"
