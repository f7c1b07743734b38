"""Worker processes: which signals they hear, what is said of their death, who ends them."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections import namedtuple
from dataclasses import dataclass

import pytest
import torch

from cam_repro.data import workers as workers_module
from cam_repro.data.workers import check_shared_memory, loader_with_workers, watched_workers
from cam_repro.errors import UserError
from cam_repro.signals import SIGNALS


@dataclass
class Batch:
    numbers_N: torch.Tensor


def collate(items):
    return Batch(torch.tensor(items))


class Tens:
    """Items 0, 10, 20 ...; ``act`` is called in the worker before item 20 is given."""

    item_bytes = 1000

    def __init__(self, act=lambda: None):
        self.act = act

    def __len__(self):
        return 6

    def __getitem__(self, index):
        if index == 2:
            self.act()
        return 10 * index


def load(act=lambda: None, workers=1):
    loader = loader_with_workers(Tens(act), workers=workers, collate_fn=collate, batch_size=2)
    with watched_workers():
        return [batch.numbers_N.tolist() for batch in loader]


def send(number):
    return lambda: os.kill(os.getpid(), number)


ALL = [[0, 10], [20, 30], [40, 50]]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_to_the_whole_job_ends_no_worker(number):
    assert load(send(number)) == ALL


def test_a_killed_worker_is_said_in_one_line():
    with pytest.raises(UserError) as caught:
        load(send(signal.SIGKILL))
    assert str(caught.value) == (
        "a worker process that reads images was killed (Killed), most often because the machine "
        "has no memory left: give the job more, or have fewer of them (loader.workers=N), or read "
        "images without worker processes: loader.workers=0"
    )


@pytest.mark.parametrize(
    "act", [pytest.param("fails", id="no space"), pytest.param(signal.SIGBUS, id="bus error")]
)
def test_full_shared_memory_is_said_in_one_line(monkeypatch, act):
    def fail(tensor):
        raise RuntimeError(
            "unable to allocate shared memory(shm) for file </torch_1_2_3>: Success (0)"
        )

    if act == "fails":
        monkeypatch.setattr(torch.Tensor, "share_memory_", fail)
    with pytest.raises(UserError) as caught:
        load(send(act) if act != "fails" else lambda: None)
    assert str(caught.value) == (
        "/dev/shm is full, through which worker processes hand over images: make it larger "
        "(docker run --shm-size=SIZE), or read images without worker processes: loader.workers=0"
    )


def test_what_a_user_can_mend_comes_out_of_a_worker_in_one_line():
    def complain():
        raise UserError("the list of images changed")

    with pytest.raises(UserError, match=r"^the list of images changed$"):
        load(complain)

    def complain_at_length():
        raise UserError("a.jpg: not readable:\nits header says so")

    with pytest.raises(UserError, match=r"^a.jpg: not readable: its header says so$"):
        load(complain_at_length)


def test_a_defect_in_a_worker_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError, match=r"(?s)in DataLoader worker process 0.*1 / 0"):
        load(lambda: 1 / 0)


@pytest.mark.parametrize("error", [KeyboardInterrupt, UserError])
def test_no_worker_outlives_the_loop(error):
    loader = loader_with_workers(
        Tens(), workers=2, collate_fn=collate, batch_size=2, persistent_workers=True
    )
    before = set(multiprocessing.active_children())
    started = []

    def fail():
        with watched_workers():
            for _ in loader:
                started.extend(set(multiprocessing.active_children()) - before)
                raise error

    with pytest.raises(error):
        fail()
    assert len(started) == 2
    assert set(multiprocessing.active_children()) == before
    assert load() == ALL  # their end is no accident that a later loop is told of


ORPHAN = """
import os, signal, sys
sys.path.insert(0, {folder!r})
from test_workers import Tens, collate, loader_with_workers
import multiprocessing

loader = loader_with_workers(Tens(), workers=1, collate_fn=collate, batch_size=2)
next(iter(loader))
print(*[child.pid for child in multiprocessing.active_children()], flush=True)
batches = iter(loader)
print(*[child.pid for child in multiprocessing.active_children()], flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it takes some seconds")
def test_workers_end_with_a_main_process_that_is_killed():
    code = ORPHAN.format(folder=os.path.dirname(__file__))  # noqa: PTH120
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    pid = int(done.stdout.split()[-1])
    deadline = time.monotonic() + 3
    while _runs(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not _runs(pid)


def _runs(pid):
    """Tells whether a process runs; one that nobody has waited for is dead."""
    try:
        with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def loaders(workers, count=2):
    return [
        loader_with_workers(Tens(), workers=workers, collate_fn=collate, batch_size=2)
        for _ in range(count)
    ]


def test_the_room_in_shared_memory_is_compared_before_anything_is_read(monkeypatch):
    # 2 loaders x (3 workers x 4 batches + 2 in use) x 2 items of 1,000 bytes
    needed = 2 * 14 * 2000
    free = needed
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(workers_module.shutil, "disk_usage", lambda _: usage(0, 0, free))
    check_shared_memory(*loaders(3))
    check_shared_memory(*loaders(0), processes=1000)
    with pytest.raises(UserError):
        check_shared_memory(*loaders(3), processes=2)
    free = needed - 1
    with pytest.raises(UserError) as caught:
        check_shared_memory(*loaders(3))
    assert str(caught.value) == (
        "/dev/shm has 0 MiB free, and the batches of 3 worker processes may take 0 MiB: make it "
        "larger (docker run --shm-size=1g), or have fewer of them: loader.workers=2"
    )
    check_shared_memory(*loaders(2))
    free = 2 * 4 * 2000  # what is in use alone
    with pytest.raises(UserError, match=r"loader\.workers=0$"):
        check_shared_memory(*loaders(1))
