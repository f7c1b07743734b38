"""Find, connect and use the processes that share the work.

torch is imported where several processes need it: one that works alone may do without.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from cam_repro.errors import UserError

if TYPE_CHECKING:
    import torch

MEETING_TIME = timedelta(minutes=5)
"""How long processes wait for the others to start: imports from a slow disk take a while."""


@dataclass(frozen=True)
class Processes:
    """Hold this process's place among those that share the work; by default it is the only one.

    rank: its number, 0 to world - 1. world: how many processes there are. local_rank: its number
    among those on its machine.
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0

    @property
    def is_main(self) -> bool:
        """Tell whether this is the main process, which writes files and logs what is done."""
        return self.rank == 0

    def gather(self, value: Any) -> list[Any]:
        """Return all processes' values by rank in the main process, and an empty list elsewhere."""
        if self.world == 1:
            return [value]
        import torch.distributed as dist

        gathered: list[Any] | None = [None] * self.world if self.is_main else None
        dist.gather_object(value, gathered)
        return gathered or []

    def most(self, value: int) -> int:
        """Give the largest of the processes' numbers; all get the same answer. Uses no GPU."""
        if self.world == 1:
            return value
        import torch
        import torch.distributed as dist

        most = torch.tensor(value)
        dist.all_reduce(most, dist.ReduceOp.MAX)
        return int(most)

    def any(self, value: bool) -> bool:
        """Tell whether any process's value is True; all get the same answer. Uses no GPU."""
        return bool(self.most(value))

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """Add up the tensors of all processes; all get the sum."""
        total = tensor.clone()
        if self.world > 1:
            import torch.distributed as dist

            dist.all_reduce(total)
        return total

    def wait(self) -> None:
        """Wait until all processes have called this."""
        if self.world > 1:
            import torch.distributed as dist

            dist.barrier()


@contextlib.contextmanager
def join_processes(device: str) -> Iterator[Processes]:
    """Connect to the processes that were started together with this one, for a ``with`` block.

    It may be nested and repeated. Within the block, processes other than the main one log only
    warnings. Tensors are exchanged by nccl on GPUs and by gloo on CPUs, everything else by gloo.
    device: the setting of this name.
    Raises UserError if the others do not connect within ``MEETING_TIME``.
    """
    processes = place_of_this_process()
    if processes.world == 1:
        yield processes
        return
    import torch
    import torch.distributed as dist

    from cam_repro.engine.hardware import pick_device

    if not dist.is_initialized():  # once for all jobs of a sweep: a port cannot be opened twice
        _meet(processes, on_gpu=pick_device(device, processes.local_rank).type == "cuda")
    root = logging.getLogger()
    level = root.level
    if not processes.is_main:
        root.setLevel(logging.WARNING)
    # Threads use their processor while they wait: more threads than processors halve the speed.
    torch.set_num_threads(min(torch.get_num_threads(), cpus()))
    try:
        yield processes
    finally:
        root.setLevel(level)


def _meet(processes: Processes, on_gpu: bool) -> None:
    """Connect the processes by the variables that torch reads (MASTER_ADDR, MASTER_PORT)."""
    import torch.distributed as dist

    try:
        rendezvous = dist.rendezvous(
            "env://", processes.rank, processes.world, timeout=MEETING_TIME
        )
        store = next(rendezvous)[0]
    except (dist.DistError, ValueError) as error:  # no others connect; a variable is missing
        place = ":".join(os.environ.get(key, f"({key})") for key in ("MASTER_ADDR", "MASTER_PORT"))
        raise UserError(
            f"the {processes.world} processes of this job cannot meet at {place}: start all of "
            f"them by one torchrun or srun, within {MEETING_TIME.seconds // 60} minutes, and if "
            f"the port is taken choose another (MASTER_PORT=NUMBER). {str(error).splitlines()[0]}"
        ) from None
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if on_gpu else "gloo",
        store=store,
        rank=processes.rank,
        world_size=processes.world,
    )
    atexit.register(dist.destroy_process_group)


def place_of_this_process() -> Processes:
    """Find this process's place among those that its launcher started.

    torch reads the variables RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT. torchrun
    sets them. submitit's local launcher and srun (which submitit's SLURM launcher uses) set other
    variables, so for them torch's are set here from these.
    """
    env = os.environ
    if not {"RANK", "WORLD_SIZE"} <= env.keys():
        if env.get("SUBMITIT_EXECUTOR") == "local":
            _tell_torch_of_submitit()
        elif _is_task_of_srun():
            _tell_torch_of_srun()
        else:
            return Processes()
    import torch

    local_rank = int(env.get("LOCAL_RANK", "0"))
    if torch.cuda.device_count() == 1:  # srun --gpus-per-task shows each process one GPU only
        local_rank = 0
    return Processes(int(env["RANK"]), int(env["WORLD_SIZE"]), local_rank)


def _tell_torch_of_submitit() -> None:
    """Set the variables that torch reads, in a job of submitit's local launcher."""
    from submitit.helpers import TorchDistributedEnvironment

    environment = TorchDistributedEnvironment()
    environment.master_addr = "127.0.0.1"  # not every machine can look up its own name
    environment.export(set_cuda_visible_devices=False, overwrite=True)


def _is_task_of_srun() -> bool:
    """Tell whether srun started this process as one of its tasks.

    SLURM_STEP_NUM_TASKS shows it, because only srun sets it (src/common/env.c of SLURM). A shell of
    salloc or a script of sbatch is one process, but has SLURM_NTASKS and SLURM_PROCID too. A
    process with a terminal as its input does not count as a task: a person started it in a shell of
    ``srun --pty``, and the other tasks of that srun do not run this program.
    """
    return "SLURM_STEP_NUM_TASKS" in os.environ and not os.isatty(0)


def _tell_torch_of_srun() -> None:
    """Set the variables that torch reads, in a task of srun.

    MASTER_ADDR and MASTER_PORT are kept if they are set. Otherwise they become the step's first
    machine, and a port from 15,000 to 29,999, below those that systems assign. All tasks compute
    the same port, from the numbers of job and step.
    """
    env = os.environ
    job = f"{env['SLURM_JOB_ID']}.{env['SLURM_STEP_ID']}"
    env.setdefault("MASTER_ADDR", first_host(env["SLURM_STEP_NODELIST"]))
    env.setdefault("MASTER_PORT", str(15_000 + zlib.crc32(job.encode()) % 15_000))
    env["RANK"], env["WORLD_SIZE"] = env["SLURM_PROCID"], env["SLURM_STEP_NUM_TASKS"]
    env["LOCAL_RANK"] = env["SLURM_LOCALID"]


def first_host(nodes: str) -> str:
    """Give the first host of a list in SLURM's notation: ``gpu003`` of ``gpu[003-005,010],cpu7``.

    ``scontrol show hostnames`` does the same, but containers seldom have it.
    """
    first = re.match(r"(?:[^,\[]|\[[^\]]*\])*", nodes)
    assert first is not None  # the pattern matches the empty string too
    return re.sub(r"\[([^\],-]*)[^\]]*\]", r"\1", first[0])


def cpus() -> int:
    """Count the processors that this process may use, at least 1.

    Processes that torchrun or submitit's local launcher started share a machine's processors, so
    their number is divided by LOCAL_WORLD_SIZE, which both set. srun gives each task its own.
    """
    on_linux = hasattr(os, "sched_getaffinity")
    count = len(os.sched_getaffinity(0)) if on_linux else os.cpu_count() or 1
    return max(1, count // started_here())


def started_here() -> int:
    """Count the processes that torchrun or submitit's local launcher started on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
