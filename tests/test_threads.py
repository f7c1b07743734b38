"""Threads: how they wait, and what becomes of the work that waits when the block is left."""

import os
import subprocess
import sys
import threading

import pytest

from cam_repro.threads import sleep_while_waiting, thread_pool

COMMAND = """
import os, sys, types
stub = types.ModuleType("stub")
stub.run_evaluation = lambda *_: print("policy:", os.environ["OMP_WAIT_POLICY"])
sys.modules["cam_repro.commands.evaluate"] = stub
sys.argv = ["cam-eval", "model=vgg_gap"]
from cam_repro.cli.eval import main
main()
"""


@pytest.mark.parametrize(("users", "expected"), [(None, "passive"), ("active", "active")])
def test_cam_eval_lets_threads_sleep_unless_the_user_says_otherwise(tmp_path, users, expected):
    environment = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
    if users:
        environment["OMP_WAIT_POLICY"] = users
    done = subprocess.run(
        [sys.executable, "-c", COMMAND],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == f"policy: {expected}", done.stderr


def test_nothing_is_set_once_torch_is_there(monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.setitem(sys.modules, "torch", object())
    sleep_while_waiting()
    assert "OMP_WAIT_POLICY" not in os.environ


def test_all_work_is_done_at_the_end_of_the_block():
    done = []
    with thread_pool(2) as pool:
        for number in range(50):
            pool.submit(done.append, number)
    assert sorted(done) == list(range(50))


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_work_that_waits_is_dropped_when_the_block_fails(error):
    done, begun, go_on = [], threading.Event(), threading.Event()

    def first():
        begun.set()
        go_on.wait(10)
        done.append("first")

    def fail():
        with thread_pool(1) as pool:
            pool.submit(first)
            for number in range(50):
                pool.submit(done.append, number)
            begun.wait(10)
            threading.Timer(0.05, go_on.set).start()
            raise error

    with pytest.raises(error):
        fail()
    assert done == ["first"]
