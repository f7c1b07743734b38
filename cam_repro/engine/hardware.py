"""What hardware there is: which device computes, at which precision, and what it is called."""

from __future__ import annotations

import contextlib
import platform
from pathlib import Path

import torch

from cam_repro.errors import UserError


def pick_device(wanted: str, local_rank: int = 0) -> torch.device:
    """Find the device that a name stands for, and make it the current one if it is a GPU.

    ``auto``: this process's CUDA GPU where there is one, else the CPU. Any other name is torch's.
    Raises UserError for an unknown name, and for CUDA where there is no such GPU.
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


def pick_precision(wanted: str, device: torch.device) -> str:
    """Choose ``fp32`` or ``bf16``: as wanted, or for ``auto`` what is fast on the device.

    That is bf16 on a CUDA GPU and on a CPU with AMX, fp32 elsewhere: a CPU without AMX may take
    five times as long for bf16 as for fp32.
    """
    if wanted == "auto":
        return "bf16" if device.type == "cuda" or has_amx() else "fp32"
    return wanted


def has_amx() -> bool:
    """Tell whether the processor multiplies tiles of bf16 (Intel's, from Sapphire Rapids on)."""
    return {"amx_tile", "amx_bf16"} <= set(_of_processor("flags").split())


def device_name(device: torch.device) -> str:
    """Name the hardware for a reader: the GPU, or the processor and how many threads use it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{processor_name()}, {torch.get_num_threads()} threads"


def processor_name() -> str:
    """Name the processor as the operating system does."""
    return _of_processor("model name") or platform.processor() or platform.machine()


def _of_processor(key: str) -> str:
    """Look up what Linux says of the first processor; empty on other systems."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == key:
                return value.strip()
    return ""
