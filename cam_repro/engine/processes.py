"""The processes that share the work: who they are, how they meet, what they tell each other."""

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
from typing import Any

import torch
import torch.distributed as dist

from cam_repro.engine.hardware import pick_device
from cam_repro.errors import UserError

MEETING_TIME = timedelta(minutes=5)
"""How long processes wait for the others to start: importing from a slow disk takes a while."""


@dataclass(frozen=True)
class Processes:
    """This process's place among those that share the work (one, unless started otherwise).

    rank: its number, 0 to world - 1; local_rank: its number among those on its machine.
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes files and says what is done."""
        return self.rank == 0

    def gather(self, value: Any) -> list[Any]:
        """Return every process's value, in rank order, on the main process; nothing elsewhere."""
        if self.world == 1:
            return [value]
        gathered: list[Any] | None = [None] * self.world if self.is_main else None
        dist.gather_object(value, gathered)
        return gathered or []

    def any(self, value: bool) -> bool:
        """Tell whether any process says true: the same answer in all of them, without a GPU."""
        if self.world == 1:
            return value
        flag = torch.tensor(float(value))
        dist.all_reduce(flag, dist.ReduceOp.MAX)
        return bool(flag)

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """Add up every process's tensor; all of them get the sum."""
        total = tensor.clone()
        if self.world > 1:
            dist.all_reduce(total)
        return total

    def wait(self) -> None:
        """Return when every process has come here."""
        if self.world > 1:
            dist.barrier()


@contextlib.contextmanager
def join_processes(device: str) -> Iterator[Processes]:
    """Meet the processes that were started together with this one. May be nested and repeated.

    device: the setting. Tensors are exchanged by nccl on GPUs and by gloo on CPUs, everything else
    by gloo. Inside, only the main process goes on saying in the log what it does.
    Raises UserError where the others do not come within ``MEETING_TIME``.
    """
    processes = place_of_this_process()
    if processes.world == 1:
        yield processes
        return
    if not dist.is_initialized():  # once for all jobs of a sweep: the port cannot be opened twice
        _meet(processes, on_gpu=pick_device(device, processes.local_rank).type == "cuda")
    root = logging.getLogger()
    level = root.level
    if not processes.is_main:
        root.setLevel(logging.WARNING)
    # Threads wait for each other busily: more than there are processors would cost half the speed.
    torch.set_num_threads(min(torch.get_num_threads(), cpus()))
    try:
        yield processes
    finally:
        root.setLevel(level)


def _meet(processes: Processes, on_gpu: bool) -> None:
    try:
        rendezvous = dist.rendezvous(
            "env://", processes.rank, processes.world, timeout=MEETING_TIME
        )
        store = next(rendezvous)[0]
    except (dist.DistError, ValueError) as error:  # nobody comes; a variable is missing
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
    """Say which of the processes that its launcher started this one is.

    torchrun sets what torch reads: RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT. For
    the launchers that set variables of their own these are set here: for submitit's local launcher
    by submitit, for srun, which also starts the tasks of submitit's SLURM launcher, by us.
    """
    env = os.environ
    if not {"RANK", "WORLD_SIZE"} <= env.keys():
        if env.get("SUBMITIT_EXECUTOR") == "local":
            _tell_torch_of_submitit()
        elif _is_task_of_srun():
            _tell_torch_of_srun()
        else:
            return Processes()
    local_rank = int(env.get("LOCAL_RANK", "0"))
    if torch.cuda.device_count() == 1:  # as srun --gpus-per-task does: to each its own GPU alone
        local_rank = 0
    return Processes(int(env["RANK"]), int(env["WORLD_SIZE"]), local_rank)


def _tell_torch_of_submitit() -> None:
    from submitit.helpers import TorchDistributedEnvironment

    environment = TorchDistributedEnvironment()
    environment.master_addr = "127.0.0.1"  # not every machine can look up its own name
    environment.export(set_cuda_visible_devices=False, overwrite=True)


def _is_task_of_srun() -> bool:
    """Tell a task of srun from the shells that SLURM gives to people.

    Of SLURM's variables only SLURM_STEP_NUM_TASKS is set by srun alone (src/common/env.c of
    SLURM): a shell of salloc and the script of sbatch have SLURM_NTASKS=8 and SLURM_PROCID=0 too,
    though they are one process. A process that reads a terminal was started by a person in the
    shell of ``srun --pty``, whose other tasks run no program of ours.
    """
    return "SLURM_STEP_NUM_TASKS" in os.environ and not os.isatty(0)


def _tell_torch_of_srun() -> None:
    """Set what torch reads; MASTER_ADDR and MASTER_PORT are left as they are where they are set.

    Else they are the step's first machine and a port that all its tasks work out alike, below
    those that systems give away.
    """
    env = os.environ
    job = f"{env['SLURM_JOB_ID']}.{env['SLURM_STEP_ID']}"
    env.setdefault("MASTER_ADDR", first_host(env["SLURM_STEP_NODELIST"]))
    env.setdefault("MASTER_PORT", str(15_000 + zlib.crc32(job.encode()) % 15_000))
    env["RANK"], env["WORLD_SIZE"] = env["SLURM_PROCID"], env["SLURM_STEP_NUM_TASKS"]
    env["LOCAL_RANK"] = env["SLURM_LOCALID"]


def first_host(nodes: str) -> str:
    """Read the first host of SLURM's notation: ``gpu003`` of ``gpu[003-005,010],cpu7``.

    ``scontrol show hostnames`` does the same, but containers seldom have it.
    """
    first = re.match(r"(?:[^,\[]|\[[^\]]*\])*", nodes)
    assert first is not None  # the pattern matches the empty string too
    return re.sub(r"\[([^\],-]*)[^\]]*\]", r"\1", first[0])


def cpus() -> int:
    """Count the processors for this process: its part where several processes share them all.

    Those that torchrun and submitit's local launcher start share a machine's processors (both say
    LOCAL_WORLD_SIZE); srun gives every task processors of its own.
    """
    on_linux = hasattr(os, "sched_getaffinity")
    count = len(os.sched_getaffinity(0)) if on_linux else os.cpu_count() or 1
    return max(1, count // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
