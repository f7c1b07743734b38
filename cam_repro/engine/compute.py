"""Decide how networks are computed: device, precision, memory layout, processes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from cam_repro.engine.compiling import compiled
from cam_repro.engine.hardware import device_name, pick_device, pick_precision
from cam_repro.engine.processes import Processes, cpus
from cam_repro.engine.settings import EvalSettings, FeaturesSettings, TrainSettings
from cam_repro.models.base import CamNetwork


@dataclass(frozen=True)
class Compute:
    """Hold the device and how it is used. A command makes one and passes it to the loops.

    precision: ``fp32``, or ``bf16`` for mixed precision. memory_format: of networks and images.
    compile: whether networks are compiled by torch.compile. processes: this process's place among
    those that share the work.
    """

    device: torch.device
    precision: str = "fp32"
    memory_format: torch.memory_format = torch.channels_last
    compile: bool = False
    processes: Processes = field(default_factory=Processes)

    @classmethod
    def of(
        cls, settings: TrainSettings | EvalSettings | FeaturesSettings, processes: Processes
    ) -> Compute:
        """Make it from a command's settings; call it within ``join_processes``.

        Raises UserError if the device does not exist.
        """
        device = pick_device(settings.device, processes.local_rank)
        return cls(
            device,
            pick_precision(
                settings.precision, device, training=isinstance(settings, TrainSettings)
            ),
            torch.channels_last if settings.channels_last else torch.contiguous_format,
            settings.compile,
            processes,
        )

    @property
    def on_gpu(self) -> bool:
        """Tell whether the device is a GPU."""
        return self.device.type == "cuda"

    @property
    def hardware(self) -> str:
        """Name the hardware for manifests: the GPU, or the processor and its threads."""
        return device_name(self.device)

    @property
    def box_threads(self) -> int:
        """Give the number of threads that search boxes: one if the CPU also runs the network."""
        return max(1, min(8, cpus() // 2)) if self.on_gpu else 1

    def loader_workers(self, wanted: int | None) -> int:
        """Give the number of processes that load images: ``wanted``, or a default if it is None.

        With a GPU the default is one for each CPU, at most 16. Without a GPU it is one for every
        two CPUs, because the network needs CPUs too.
        """
        if wanted is not None:
            return wanted
        return min(16, cpus()) if self.on_gpu else max(1, cpus() // 2)

    def place(self, network: CamNetwork) -> None:
        """Move a network to the device, with its weights in the memory format."""
        network.to(self.device).to(memory_format=self.memory_format)

    def move(self, tensor: Tensor) -> Tensor:
        """Copy a tensor to the device; on a GPU, return before the copy is done."""
        return tensor.to(self.device, non_blocking=True)

    def lay_out(self, x_NCHW: Tensor) -> Tensor:
        """Arrange a batch of images in the memory format."""
        return x_NCHW.contiguous(memory_format=self.memory_format)

    def autocast(self) -> torch.autocast:
        """Give a ``with`` block for forward passes in mixed precision; it has no effect in fp32."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    @contextlib.contextmanager
    def exact_fp32(self) -> Iterator[None]:
        """Turn TF32 off within a ``with`` block, if the precision is fp32.

        By default convolutions on a GPU use TF32, which keeps 11 of the 24 bits of precision.
        """
        if self.precision != "fp32":
            yield
            return
        cudnn = torch.backends.cudnn
        kept = {name: getattr(cudnn, name) for name in ("enabled", "benchmark", "deterministic")}
        with cudnn.flags(**kept, allow_tf32=False):
            yield

    def compiled(
        self, network: CamNetwork, gradients: bool
    ) -> contextlib.AbstractContextManager[None]:
        """Give a ``with`` block in which the network is compiled, if ``compile`` is set.

        See ``compiling.compiled``.
        """
        return compiled(network, gradients) if self.compile else contextlib.nullcontext()
