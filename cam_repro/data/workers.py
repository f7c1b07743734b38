"""Read images in worker processes: what is done so that none dies unheard, or outlives its use."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import re
import shutil
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, get_worker_info

from cam_repro.errors import UserError
from cam_repro.signals import ignore_signals

SHARED_MEMORY = Path("/dev/shm")
"""Where worker processes leave their batches for the main process, on Linux."""

PREFETCH, IN_USE = 4, 2
"""Batches that each worker prepares ahead, and batches that the main process may hold."""

NO_WORKERS = "or read images without worker processes: loader.workers=0"

_PR_SET_PDEATHSIG = 1  # from Linux's prctl.h


def loader_with_workers(
    dataset: Any, *, workers: int, collate_fn: Callable[[list[Any]], Any], **options: Any
) -> DataLoader:
    """Make a DataLoader whose worker processes, if there are any, leave stopping to this process.

    collate_fn: makes a batch of items; what the batch holds are its attributes.
    """
    if workers:
        options |= {"worker_init_fn": _begin_worker, "prefetch_factor": PREFETCH}
        collate_fn = partial(_shared, collate_fn)
    with warnings.catch_warnings():
        # In three lines torch doubts that more workers than processors help: whoever set so knows.
        warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
        return DataLoader(dataset, num_workers=workers, collate_fn=collate_fn, **options)


def _begin_worker(number: int) -> None:
    """Leave it to the main process what a signal ends; end when the main process does.

    A signal that is sent to all processes of a job would otherwise end the workers, before the main
    process has written its checkpoint.
    """
    ignore_signals()
    # The thread that hands over memory would print a traceback if the main process, stopped by a
    # signal, turns away from it. What goes wrong with images is told by other means.
    sys.excepthook = lambda *_: None
    parent = multiprocessing.parent_process()
    if sys.platform == "linux" and parent is not None:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent.pid:  # it ended before
            os.kill(os.getpid(), signal.SIGKILL)


def _shared(collate: Callable[[list[Any]], Any], items: list[Any]) -> Any:
    """Make a batch, and move its tensors to shared memory.

    A DataLoader would move them in the thread that sends batches. If there is no room, the error
    and the batch are lost there, and the main process waits for ever. Here it gets the error.
    """
    batch = collate(items)
    if get_worker_info() is not None:
        for value in vars(batch).values():
            if isinstance(value, torch.Tensor) and value.numel():
                value.share_memory_()
    return batch


def check_shared_memory(*loaders: DataLoader, processes: int = 1) -> None:
    """Raise UserError if there is too little shared memory for what the workers will prepare.

    loaders: their datasets have an ``item_bytes``. processes: how many on this machine load as
    much as this one.
    """
    per_worker = in_use = 0
    for loader in loaders:
        if loader.num_workers:
            first = next(iter(loader.batch_sampler or []), [])
            size = len(first) * loader.dataset.item_bytes * processes  # type: ignore[attr-defined]
            per_worker, in_use = per_worker + PREFETCH * size, in_use + IN_USE * size
    if not per_worker or not SHARED_MEMORY.is_dir():
        return
    workers = max(loader.num_workers for loader in loaders)
    needed, free = workers * per_worker + in_use, shutil.disk_usage(SHARED_MEMORY).free
    if needed > free:
        fitting = max(0, (free - in_use) // per_worker)
        raise UserError(
            f"{SHARED_MEMORY} has {_mib(free)} free, and the batches of {workers} worker processes "
            f"may take {_mib(needed)}: {_more_shared_memory(needed)}, or have fewer of them: "
            f"loader.workers={fitting}"
        )


@contextlib.contextmanager
def watched_workers(
    work: str = "reads images", fewer: str = f"have fewer of them (loader.workers=N), {NO_WORKERS}"
) -> Iterator[None]:
    """Watch over the worker processes that are started within a ``with`` block.

    None of them outlives the block. Raises UserError if one was killed, or found no room for a
    batch in shared memory.
    work: what they do, for messages. fewer: what helps if memory does not suffice for all of them.
    """
    before = multiprocessing.active_children()
    try:
        yield
    except (RuntimeError, UserError) as error:
        # If torch finds out while it waits for a batch, the signal is in the cause.
        message = _about_worker(f"{error.__cause__ or error}", work, fewer)
        if message is None:
            raise
        raise UserError(message) from None
    finally:
        _kill([child for child in multiprocessing.active_children() if child not in before])


def _about_worker(message: str, work: str, fewer: str) -> str | None:
    """Say in one line what went wrong in a worker, by torch's message; None if it says nothing."""
    if "DataLoader worker" not in message:
        return None
    if "shared memory" in message or "Bus error" in message:
        return (
            f"{SHARED_MEMORY} is full, through which worker processes hand over images: "
            f"{_more_shared_memory()}, {NO_WORKERS}"
        )
    killed = re.search(r"\(pid.*\) (?:is killed by signal: ([\w ]+)|exited)", message)
    if killed:
        by = f" ({killed[1]})" if killed[1] else ""
        return (
            f"a worker process that {work} was killed{by}, most often because the machine has no "
            f"memory left: give the job more, or {fewer}"
        )
    if message.startswith("Caught UserError in DataLoader worker"):
        return " ".join(message.rpartition("UserError: ")[2].split())
    return None


def _kill(workers: list[multiprocessing.process.BaseProcess]) -> None:
    """End worker processes at once; they have nothing to lose."""
    if not workers:
        return
    handler = None
    with contextlib.suppress(ValueError):  # not in the main thread
        # torch's handler would report each of them as an accident.
        handler = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for worker in workers:
        worker.kill()
    for worker in workers:
        worker.join()
    if handler is not None:
        signal.signal(signal.SIGCHLD, handler)


def _more_shared_memory(needed: int | None = None) -> str:
    """Say how to get more shared memory. needed: bytes, if they are known."""
    size = "SIZE" if needed is None else f"{-(-needed // 2**30)}g"
    return f"make it larger (docker run --shm-size={size})"


def _mib(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"
