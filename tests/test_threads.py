"""Threads: what becomes of the work that waits when the block is left."""

import threading

import pytest

from cam_repro.threads import thread_pool


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
