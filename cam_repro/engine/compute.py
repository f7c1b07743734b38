"""Which device computes, at which precision, and how many processes share the work."""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
import os
import platform
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from cam_repro.errors import UserError

MEETING_TIME = timedelta(minutes=5)
"""How long processes wait for the others to start: importing from a slow disk takes a while."""


def pick_device(wanted: str, local_rank: int = 0) -> torch.device:
    """``auto``: this process's CUDA GPU where there is one, else the CPU; or a name of torch's."""
    if wanted == "auto":
        wanted = f"cuda:{local_rank}" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(wanted)
    except RuntimeError:
        raise UserError(f"device={wanted}: not a device; use auto, cpu or cuda") from None
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise UserError(f"device={wanted}: no CUDA GPU is to be seen here; use device=cpu")
        device = torch.device("cuda", local_rank if device.index is None else device.index)
        torch.cuda.set_device(device)
    return device


def pick_precision(wanted: str, device: torch.device) -> str:
    """``auto``: bf16 on a CUDA GPU and on a CPU with AMX, fp32 elsewhere.

    A CPU without AMX may take five times as long for bf16 as for fp32.
    """
    if wanted == "auto":
        return "bf16" if device.type == "cuda" or has_amx() else "fp32"
    return wanted


def has_amx() -> bool:
    """Whether the processor multiplies matrices of bf16 in tiles (Intel, Sapphire Rapids on)."""
    return {"amx_tile", "amx_bf16"} <= set(_of_processor("flags").split())


@contextlib.contextmanager
def exact_fp32(precision: str) -> Iterator[None]:
    """In fp32, no TF32 inside: a GPU's convolutions would keep 11 of 24 bits unless told."""
    if precision != "fp32":
        yield
        return
    cudnn = torch.backends.cudnn
    kept = {name: getattr(cudnn, name) for name in ("enabled", "benchmark", "deterministic")}
    with cudnn.flags(**kept, allow_tf32=False):
        yield


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Mixed precision for the forward pass; does nothing in fp32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def device_name(device: torch.device) -> str:
    """A readable name of the hardware, for manifests."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{processor_name()}, {torch.get_num_threads()} threads"


def processor_name() -> str:
    """The processor as the operating system names it."""
    return _of_processor("model name") or platform.processor() or platform.machine()


def _of_processor(key: str) -> str:
    """What Linux says of the first processor, empty elsewhere."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == key:
                return value.strip()
    return ""


@dataclass(frozen=True)
class Processes:
    """This process's place among those that share the work (one, unless started otherwise)."""

    rank: int = 0
    world: int = 1
    local_rank: int = 0

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def gather(self, value: Any) -> list[Any]:
        """Every process's value, in rank order, on the main process; an empty list elsewhere."""
        if self.world == 1:
            return [value]
        gathered: list[Any] | None = [None] * self.world if self.is_main else None
        dist.gather_object(value, gathered)
        return gathered or []

    def any(self, value: bool) -> bool:
        """Whether any process says true: the same answer in all of them, without the GPU's help."""
        if self.world == 1:
            return value
        flag = torch.tensor(float(value))
        dist.all_reduce(flag, dist.ReduceOp.MAX)
        return bool(flag)

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """The sum of every process's tensor, in all of them."""
        total = tensor.clone()
        if self.world > 1:
            dist.all_reduce(total)
        return total

    def wait(self) -> None:
        """Return when every process has come here."""
        if self.world > 1:
            dist.barrier()


def launched() -> tuple[Processes, str]:
    """This process's place among those that its launcher started, and the URL where they meet.

    Known are torchrun (and whoever else sets RANK and WORLD_SIZE), submitit's local launcher, and
    srun, which also starts the tasks of submitit's SLURM launcher. MASTER_ADDR and MASTER_PORT,
    where set, take the place of srun's first node and of a port made from the number of the job.

    Of SLURM's variables only SLURM_STEP_NUM_TASKS is set by srun alone (src/common/env.c of
    SLURM): a shell of salloc and the script of sbatch have SLURM_NTASKS=8 and SLURM_PROCID=0 too,
    though they are one process. A process that reads a terminal was started by a person in the
    shell of ``srun --pty``, whose other tasks run no program of ours.
    """
    env = os.environ
    if "RANK" in env and "WORLD_SIZE" in env:
        names, url = ("RANK", "WORLD_SIZE", "LOCAL_RANK"), "env://"
    elif env.get("SUBMITIT_EXECUTOR") == "local":
        names = ("SUBMITIT_LOCAL_GLOBALID", "SUBMITIT_LOCAL_NTASKS", "SUBMITIT_LOCAL_LOCALID")
        url = f"tcp://127.0.0.1:{_port(env['SUBMITIT_LOCAL_JOB_ID'])}"
    elif "SLURM_STEP_NUM_TASKS" in env and not os.isatty(0):
        names = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID")
        host = env.get("MASTER_ADDR") or first_host(env["SLURM_STEP_NODELIST"])
        port = env.get("MASTER_PORT") or _port(f"{env['SLURM_JOB_ID']}.{env['SLURM_STEP_ID']}")
        url = f"tcp://{host}:{port}"
    else:
        return Processes(), ""
    rank, world, local_rank = int(env[names[0]]), int(env[names[1]]), int(env.get(names[2], "0"))
    if torch.cuda.device_count() == 1:  # as srun --gpus-per-task does: to each its own GPU alone
        local_rank = 0
    return Processes(rank, world, local_rank), url


def first_host(nodes: str) -> str:
    """The first host of SLURM's notation: ``gpu003`` of ``gpu[003-005,010],cpu7``.

    As ``scontrol show hostnames`` says, which containers seldom have.
    """
    first = re.match(r"(?:[^,\[]|\[[^\]]*\])*", nodes)
    assert first is not None  # the pattern matches the empty string too
    return re.sub(r"\[([^\],-]*)[^\]]*\]", r"\1", first[0])


def _port(job: str) -> int:
    """A port that all processes of a job agree on, below those that systems give away."""
    return 15_000 + zlib.crc32(job.encode()) % 15_000


_meetings = itertools.count()
"""Numbers the process groups of this process: each job of a sweep makes one."""


@functools.cache
def _store(url: str, rank: int, world: int) -> dist.Store:
    """What processes meet by; kept, because the port cannot be opened twice at once."""
    try:
        rendezvous = dist.rendezvous(url, rank, world, timeout=MEETING_TIME)
        store: dist.Store = next(rendezvous)[0]
    except dist.DistError as error:
        where = url if url != "env://" else "MASTER_ADDR and MASTER_PORT"
        raise UserError(
            f"the {world} processes of this job cannot meet at {where}: start all of them by one "
            f"torchrun or srun, within {MEETING_TIME.seconds // 60} minutes, and if the port is "
            f"taken choose another (MASTER_PORT=NUMBER). {str(error).splitlines()[0]}"
        ) from None
    return store


@contextlib.contextmanager
def processes(device: str) -> Iterator[Processes]:
    """Join the processes that were started together (``launched``). May be nested.

    They exchange tensors by nccl on GPUs and by gloo on CPUs, everything else by gloo. Only the
    main process goes on saying what it does in the log.
    """
    group, url = launched()
    if group.world == 1:
        yield Processes()
        return
    if dist.is_initialized():
        yield group
        return
    on_gpu = pick_device(device, group.local_rank).type == "cuda"
    store = dist.PrefixStore(f"group{next(_meetings)}", _store(url, group.rank, group.world))
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if on_gpu else "gloo",
        store=store,
        rank=group.rank,
        world_size=group.world,
    )
    root = logging.getLogger()
    level = root.level
    if not group.is_main:
        root.setLevel(logging.WARNING)
    # Threads wait for each other busily: more than there are processors would cost half the speed.
    torch.set_num_threads(min(torch.get_num_threads(), cpus()))
    try:
        yield group
    finally:
        root.setLevel(level)
        dist.destroy_process_group()


def cpus() -> int:
    """Processors for this process: its part where a launcher started several that share them all.

    Such are torchrun and submitit's local launcher; srun gives every task processors of its own.
    """
    on_linux = hasattr(os, "sched_getaffinity")
    count = len(os.sched_getaffinity(0)) if on_linux else os.cpu_count() or 1
    sharing = os.environ.get("LOCAL_WORLD_SIZE", "1")
    if os.environ.get("SUBMITIT_EXECUTOR") == "local":
        sharing = os.environ["SUBMITIT_LOCAL_NTASKS"]
    return max(1, count // int(sharing))


def workers_for(wanted: int | None, device: torch.device) -> int:
    """Loader processes: as set, else what leaves the CPU to the network where that runs there."""
    if wanted is not None:
        return wanted
    return min(16, cpus()) if device.type == "cuda" else max(1, cpus() // 2)


def box_threads(device: torch.device) -> int:
    """Threads that search boxes: one where the CPU has the network to run."""
    return max(1, min(8, cpus() // 2)) if device.type == "cuda" else 1


def seed_everything(*numbers: int) -> None:
    """Seed torch from several numbers at once, so that (seed, iteration, rank) never repeat."""
    torch.manual_seed(int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0]))


@contextlib.contextmanager
def evaluation_mode(model: torch.nn.Module) -> Iterator[None]:
    """Evaluation mode inside, the mode that was there before afterwards."""
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


@contextlib.contextmanager
def frozen(model: torch.nn.Module) -> Iterator[None]:
    """No gradients for the parameters inside; as they were afterwards."""
    wanted = [parameter.requires_grad for parameter in model.parameters()]
    model.requires_grad_(False)
    try:
        yield
    finally:
        for parameter, flag in zip(model.parameters(), wanted, strict=True):
            parameter.requires_grad_(flag)
