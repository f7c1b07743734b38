"""Find out what hardware there is: the device, its best precision, and its name."""

from __future__ import annotations

import contextlib
import platform
from pathlib import Path

import torch

from cam_repro.engine.settings import PRECISIONS
from cam_repro.errors import UserError, one_of


def pick_device(wanted: str, local_rank: int = 0) -> torch.device:
    """Give the device with this name; if it is a GPU, make it torch's current one.

    wanted: ``auto`` (this process's CUDA GPU if there is one, else the CPU) or a name that torch
    knows. local_rank: number of this process on its machine, which chooses the GPU.
    Raises UserError for an unknown name, and for CUDA if there is no GPU.
    """
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


def pick_precision(wanted: str, device: torch.device, *, training: bool = False) -> str:
    """Give the precision: ``wanted``, or for ``auto`` one that fits.

    ``auto`` is fp32, as bf16 moves errors by up to half a point (docs/speed.md). A training is
    another one anyway with another seed or batch, so there it is bf16 where that is faster: on a
    CUDA GPU and on a CPU with AMX. A CPU without AMX may take five times as long for bf16 as for
    fp32. Raises UserError for another word.
    """
    one_of("precision", wanted, PRECISIONS)
    if wanted == "auto":
        return "bf16" if training and (device.type == "cuda" or has_amx()) else "fp32"
    return wanted


def has_amx() -> bool:
    """Tell whether the CPU has AMX instructions for bf16 (Intel's, from Sapphire Rapids on)."""
    return {"amx_tile", "amx_bf16"} <= set(_of_processor("flags").split())


def device_name(device: torch.device) -> str:
    """Name the GPU, or the processor and the number of threads, for a person to read."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{processor_name()}, {torch.get_num_threads()} threads"


def processor_name() -> str:
    """Give the operating system's name of the processor."""
    return _of_processor("model name") or platform.processor() or platform.machine()


def _of_processor(key: str) -> str:
    """Look up a property of the first processor in Linux's /proc/cpuinfo; empty if not found."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == key:
                return value.strip()
    return ""
