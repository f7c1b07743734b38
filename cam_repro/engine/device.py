"""Which device computes, at which precision, and how many processes share the work."""

from __future__ import annotations

import contextlib
import logging
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from cam_repro.errors import UserError


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
    """``auto``: bf16 on a CUDA GPU, fp32 elsewhere."""
    return ("bf16" if device.type == "cuda" else "fp32") if wanted == "auto" else wanted


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
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@dataclass(frozen=True)
class Processes:
    """This process's place among those that share the work (one, unless started by torchrun)."""

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

    def wait(self) -> None:
        """Return when every process has come here."""
        if self.world > 1:
            dist.barrier()


@contextlib.contextmanager
def processes(device: str) -> Iterator[Processes]:
    """Join the processes that torchrun started: nccl on GPUs, gloo on CPUs. May be nested.

    Only the main process goes on saying what it does in the log.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Processes()
        return
    group = Processes(int(os.environ["RANK"]), world, int(os.environ.get("LOCAL_RANK", "0")))
    if not group.is_main:
        logging.getLogger().setLevel(logging.WARNING)
    if dist.is_initialized():
        yield group
        return
    on_gpu = pick_device(device, group.local_rank).type == "cuda"
    dist.init_process_group("nccl" if on_gpu else "gloo")
    try:
        yield group
    finally:
        dist.destroy_process_group()


def workers_for(wanted: int | None, device: torch.device) -> int:
    """Loader processes: as set, else what leaves the CPU to the network where that runs there."""
    if wanted is not None:
        return wanted
    on_linux = hasattr(os, "sched_getaffinity")
    cpus = len(os.sched_getaffinity(0)) if on_linux else os.cpu_count() or 1
    return min(16, cpus) if device.type == "cuda" else max(1, cpus // 2)


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
