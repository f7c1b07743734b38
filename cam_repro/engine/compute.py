"""How networks are computed: on which device, how precisely, by how many processes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from cam_repro.engine.compiling import compiled
from cam_repro.engine.hardware import device_name, pick_device, pick_precision
from cam_repro.engine.processes import Processes, cpus
from cam_repro.engine.settings import EvalSettings, TrainSettings
from cam_repro.models.base import CamNetwork


@dataclass(frozen=True)
class Compute:
    """The device and how it is used. A command makes one and hands it on.

    precision: ``fp32``, or ``bf16`` for mixed precision. memory_format: of networks and images.
    compile: whether networks are compiled by torch.compile. processes: those that share the work.
    """

    device: torch.device
    precision: str = "fp32"
    memory_format: torch.memory_format = torch.channels_last
    compile: bool = False
    processes: Processes = field(default_factory=Processes)

    @classmethod
    def of(cls, settings: TrainSettings | EvalSettings, processes: Processes) -> Compute:
        """Make it from a command's settings, inside ``join_processes``.

        Raises UserError for a device that is not there.
        """
        device = pick_device(settings.device, processes.local_rank)
        return cls(
            device,
            pick_precision(settings.precision, device),
            torch.channels_last if settings.channels_last else torch.contiguous_format,
            settings.compile,
            processes,
        )

    @property
    def on_gpu(self) -> bool:
        """Whether a GPU computes. It fetches batches by itself if their memory is pinned."""
        return self.device.type == "cuda"

    @property
    def hardware(self) -> str:
        """A name for manifests: the GPU's, or the processor's with its threads."""
        return device_name(self.device)

    @property
    def box_threads(self) -> int:
        """How many threads search boxes: one where the CPU has the network to run."""
        return max(1, min(8, cpus() // 2)) if self.on_gpu else 1

    def loader_workers(self, wanted: int | None) -> int:
        """Say how many processes load images: as set, else what the network leaves of the CPU."""
        if wanted is not None:
            return wanted
        return min(16, cpus()) if self.on_gpu else max(1, cpus() // 2)

    def place(self, network: CamNetwork) -> None:
        """Move a network to the device, its weights in the memory format."""
        network.to(self.device).to(memory_format=self.memory_format)

    def move(self, tensor: Tensor) -> Tensor:
        """Copy a tensor to the device, without waiting for a GPU."""
        return tensor.to(self.device, non_blocking=True)

    def lay_out(self, x_NCHW: Tensor) -> Tensor:
        """Arrange a batch of images in the memory format."""
        return x_NCHW.contiguous(memory_format=self.memory_format)

    def autocast(self) -> torch.autocast:
        """Compute in mixed precision inside, for the forward pass; does nothing in fp32."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    @contextlib.contextmanager
    def exact_fp32(self) -> Iterator[None]:
        """Keep TF32 out, in fp32: a GPU's convolutions would keep 11 of 24 bits unless told."""
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
        """Use the network compiled inside, if ``compile`` says so; see ``compiling.compiled``."""
        return compiled(network, gradients) if self.compile else contextlib.nullcontext()
