"""Small jobs to be disturbed: made, started as processes of their own, and compared."""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import importlib
import io
import json
import os
import pickle
import random
import re
import shutil
import signal
import sys
import tarfile
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import torch._dynamo
from hydra.core.plugins import Plugins
from PIL import Image

from cam_repro.commands import data, evaluate, reproduce, train  # noqa: F401

# What every job needs is imported here, once, before any fork: torch._dynamo, which an optimizer
# imports, and Hydra's plugins too.
Plugins.instance()

Value = TypeVar("Value")

OUT = "out"
"""The folder that every job writes, in the folder where it is started."""

CHANGING = {"seconds", "images_per_second", "provenance", "git", "created", "pid", "started"}
"""Keys of JSON files whose values differ from one start to the next."""

NETWORK = "model.width=0.05 model.input_size=64 model.resize_size=72"
TRAINING = "optim.iterations=9 optim.batch_size=4 optim.lr=0.01 tensorboard=false"
HERE = "device=cpu precision=fp32"

EXPERIMENT = f"""
data: ilsvrc
train: [{NETWORK.replace(" ", ", ")}, {TRAINING.replace(" ", ", ")}]
eval: [examples=2]
networks: {{alexnet_gap: {{}}}}
"""

# --- the jobs


def make_inputs(base: Path) -> None:
    """Write what the jobs read: a tree of three classes, an archive, an experiment, a network."""
    noise = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 3)):
        for wnid in ("n00000001", "n00000002", "n00000003"):
            folder = base / "tree" / "Data" / "CLS-LOC" / split / wnid
            boxes = base / "tree" / "Annotations" / "CLS-LOC" / split / wnid
            for place in (folder, boxes):
                place.mkdir(parents=True)
            for number in range(count):
                name = f"{wnid}_{split}_{number}"
                pixels = noise.integers(0, 256, (48, 64, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{name}.JPEG")
                (boxes / f"{name}.xml").write_text(
                    "<annotation><size><width>64</width><height>48</height></size><object>"
                    f"<name>{wnid}</name><bndbox><xmin>9</xmin><ymin>9</ymin><xmax>40</xmax>"
                    "<ymax>30</ymax></bndbox></object></annotation>"
                )
    (base / "tars").mkdir()
    with tarfile.open(base / "tars" / "ILSVRC2012_img_val.tar", "w") as archive:
        for number in range(1, 13):
            info = tarfile.TarInfo(f"ILSVRC2012_val_{number:08d}.JPEG")
            info.size = 5000 * number
            archive.addfile(info, io.BytesIO(noise.bytes(info.size)))
    experiment = base / "config" / "experiment"
    experiment.mkdir(parents=True)
    (experiment / "mini.yaml").write_text(EXPERIMENT)
    trained = undisturbed(jobs(base)["train"], base).folder
    shutil.copytree(trained, base / "trained")  # for the job that scores a network


def jobs(base: Path, workers: int = 0) -> dict[str, list[str]]:
    """Give the command line of each job. workers: processes that load images."""
    root = f"data=ilsvrc data.root={base / 'tree'}"
    loading = f"loader.workers={workers} loader.preload=no"
    lines = {
        "train": f"cam-train model=alexnet_gap {NETWORK} {TRAINING} {root} {loading} {HERE} "
        f"data.cache=null checkpoint_every=2 output={OUT}",
        "eval": f"cam-eval model=alexnet_gap model.weights={base / 'trained' / 'last.pt'} {root} "
        f"{loading} {HERE} data.cache=null box=[threshold,graphcut] save_maps=true output={OUT}",
        "reproduce": f"cam-reproduce --config-dir {base / 'config'} experiment=mini "
        f"data.root={base / 'tree'} loader.workers={workers} {HERE} output={OUT}",
        "pack": f"cam-data pack {root} shard_bytes=30000 output={OUT}",
        "unpack": f"cam-data unpack tars={base / 'tars'} splits=[val] output={OUT}",
    }
    return {name: line.split() for name, line in lines.items()}


# --- starting them


class Child:
    """Run a command in a process that is forked from this one, which has the imports done.

    It has a session of its own, so that all processes that it starts are known, and its output goes
    to a file. hook: called in the new process, before the command. log: that file, if it is not to
    lie in ``folder``.
    """

    def __init__(
        self,
        words: Sequence[str],
        folder: Path,
        hook: Callable[[], None] = lambda: None,
        log: Path | None = None,
    ) -> None:
        self.folder, self.started = folder, time.monotonic()
        folder.mkdir(parents=True, exist_ok=True)
        self.log = log or folder / f"{time.monotonic_ns()}.out"
        self.log.write_text("")
        sys.stdout.flush()
        self.pid = os.fork()
        self.status: int | None = None
        if not self.pid:
            self._run(words, hook)

    def _run(self, words: Sequence[str], hook: Callable[[], None]) -> None:
        os.setsid()
        os.chdir(self.folder)
        output = os.open(self.log, os.O_WRONLY | os.O_CREAT)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdout, sys.stderr = open(1, "w"), open(2, "w")  # noqa: SIM115
        sys.argv = list(words)
        status: Any = 70
        try:
            hook()
            module = importlib.import_module(f"cam_repro.cli.{words[0].removeprefix('cam-')}")
            module.main()
            status = 0
        except SystemExit as stopped:
            status = stopped.code if isinstance(stopped.code, int) else int(bool(stopped.code))
        except BaseException:
            traceback.print_exc()
        finally:  # what an interpreter does at its end
            with contextlib.suppress(BaseException):
                threading._shutdown()  # type: ignore[attr-defined]
                atexit._run_exitfuncs()
                sys.stderr.flush()
                sys.stdout.flush()
            os._exit(status)

    def ended(self) -> bool:
        """Tell whether it has ended."""
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status is not None

    def wait(self, seconds: float = 120) -> int:
        """Wait for its end, and give its status: minus the number of the signal that killed it.

        It is killed after these seconds.
        """
        deadline = time.monotonic() + seconds
        while not self.ended():
            if time.monotonic() > deadline:
                os.killpg(self.pid, signal.SIGKILL)
            time.sleep(0.005)
        assert self.status is not None
        return self.status

    def send(self, number: signal.Signals, to_group: bool = False) -> bool:
        """Send it a signal; False if it has ended. to_group: to what it has started, too."""
        if self.ended():
            return False
        with contextlib.suppress(ProcessLookupError):  # it has no group of its own yet
            (os.killpg if to_group else os.kill)(self.pid, number)
        return True

    @property
    def last_line(self) -> str:
        """Give the last line that it wrote."""
        lines = self.log.read_text(errors="replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "")

    def left(self) -> list[int]:
        """List the processes of its session that still run."""
        found = []
        for path in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                state, _, _, session = path.read_text().rpartition(")")[2].split()[:4]
                if int(session) == self.pid and state not in "ZX":
                    found.append(int(path.parent.name))
        return found


def in_child(work: Callable[[], Any], limit: float = 60) -> Any:
    """Return what ``work`` returns in a forked process; a string that says how it failed, if so.

    limit: seconds.
    """
    here, there = os.pipe()
    sys.stdout.flush()
    pid = os.fork()
    if not pid:
        os.close(here)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libraries warn of damaged files
        signal.alarm(max(1, round(limit)))
        try:
            answer = work()
        except BaseException as error:
            answer = f"{type(error).__name__}: {error}"
        with contextlib.suppress(BaseException), open(there, "wb") as pipe:  # noqa: PTH123
            pickle.dump(answer, pipe)
        os._exit(0)
    os.close(there)
    with open(here, "rb") as pipe:  # noqa: PTH123
        answer = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status or not answer:
        name = signal.Signals(-status).name if status < 0 else f"status {status}"
        return f"ended by {name}"
    return pickle.loads(answer)


# --- comparing what they leave


def snapshot(folder: Path) -> dict[str, str]:
    """Give for each file below a folder a digest of what it says, times left out."""
    found = in_child(
        lambda: {
            str(path.relative_to(folder)): _digest(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file() or (path.is_dir() and path.name.startswith("."))
        }
    )
    assert isinstance(found, dict), found
    return found


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(_said(path)).hexdigest()
    except Exception as error:
        return f"unreadable: {type(error).__name__}"


def _said(path: Path) -> bytes:
    """Give what a file says as bytes; of drawings and logs only that they are there."""
    if path.is_dir() or path.suffix in (".log", ".png", ".html"):
        return b""
    if path.suffix == ".pt":
        state = torch.load(path, weights_only=True)
        momenta = [each["momentum_buffer"] for each in state["optimizer"]["state"].values()]
        numbers = [*state["model"].values(), *momenta, torch.tensor(state["progress"]["iteration"])]
        return b"".join(tensor.numpy().tobytes() for tensor in numbers)
    if path.suffix == ".parquet":
        table = pq.read_table(path).replace_schema_metadata().combine_chunks()
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
        return sink.getvalue().to_pybytes()
    if path.suffix == ".json":
        return json.dumps(_steady(json.loads(path.read_bytes())), sort_keys=True).encode()
    if path.name == "log.csv":
        return pd.read_csv(path).drop(columns="images_per_second").to_csv().encode()
    return path.read_bytes()


def _steady(value: Any) -> Any:
    """Leave out of a JSON value what differs from one start to the next: times and checksums."""
    if isinstance(value, dict):
        return {key: _steady(each) for key, each in value.items() if key not in CHANGING}
    if isinstance(value, list):
        return [_steady(each) for each in value]
    return "" if isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value) else value


def difference(wanted: dict[str, str], found: dict[str, str]) -> str:
    """Say in which files two snapshots differ; empty if in none."""
    lacks, more = wanted.keys() - found.keys(), found.keys() - wanted.keys()
    other = [name for name in wanted.keys() & found.keys() if wanted[name] != found[name]]
    parts = [("lacks", lacks), ("orphan", more), ("differs", other)]
    return "; ".join(f"{word} {', '.join(sorted(names))}" for word, names in parts if names)


# --- what a campaign is told, and tells


@dataclass(frozen=True)
class Row:
    """Hold one fault and what came of it: a line of the CSV.

    what: the job, kind of file or reader that it was done to. detail: what is wrong, or how long
    things took.
    """

    what: str
    fault: str
    outcome: str
    detail: str = ""


@dataclass(frozen=True)
class Campaign:
    """Hold what a campaign is told.

    base: a folder with the inputs of the jobs. times: how many faults of each kind. quick: whether
    it is the short form. only: names of jobs, kinds or readers; empty: all.
    """

    base: Path
    times: int
    quick: bool
    only: Sequence[str]

    @property
    def chance(self) -> random.Random:
        """Give a source of random numbers, the same each time."""
        return random.Random(0)

    def chosen(self, names: Mapping[str, Value]) -> dict[str, Value]:
        """Give those of ``names`` that are wanted."""
        return {key: value for key, value in names.items() if key in (self.only or names)}


@dataclass(frozen=True)
class Undisturbed:
    """Hold how a job ended that nobody disturbed.

    left: the files that it left, as ``snapshot`` gives them, in ``folder``. seconds: how long it
    took.
    """

    folder: Path
    left: dict[str, str]
    seconds: float


def undisturbed(words: Sequence[str], base: Path) -> Undisturbed:
    """Run a job undisturbed, unless that has been done."""
    key = " ".join(words)
    if key not in _UNDISTURBED:
        child = Child(words, base / f"undisturbed-{len(_UNDISTURBED)}")
        status, seconds = child.wait(), time.monotonic() - child.started
        assert status == 0, child.log.read_text()
        folder = child.folder / OUT
        _UNDISTURBED[key] = Undisturbed(folder, snapshot(folder), seconds)
    return _UNDISTURBED[key]


_UNDISTURBED: dict[str, Undisturbed] = {}


def again(child: Child, words: Sequence[str], wanted: dict[str, str]) -> tuple[str, str]:
    """Start a job again, by the same command in the same folder, and compare what it leaves.

    Gives an outcome, ``equal`` if all is well, and a detail.
    """
    second = Child(words, child.folder)
    if second.wait():
        return "failed when started again", second.last_line
    detail = difference(wanted, snapshot(child.folder / OUT))
    kinds = [word for word in ("differs", "lacks", "orphan") if word in detail]
    return (kinds or ["equal"])[0], detail
