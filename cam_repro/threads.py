"""Share work among threads, and let go of it when a command is stopped."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor


def sleep_while_waiting() -> None:
    """Let the threads of a network on a CPU sleep while they wait for each other.

    By default they keep their processors busy meanwhile, which threads that search boxes and
    processes that read images then lack: with every box rule an evaluation takes a fifth longer.
    Has no effect once torch is imported, nor where the user has set OMP_WAIT_POLICY. A network
    that computes alone is slower so if its layers are small: only ``cam-eval`` calls this.
    """
    if "torch" not in sys.modules:
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")


@contextlib.contextmanager
def thread_pool(threads: int | None = None) -> Iterator[ThreadPoolExecutor]:
    """Provide threads for a ``with`` block, at whose end all work that was given to them is done.

    If an error or Ctrl-C ends the block, only what they work on at that moment is finished. (The
    pool's own ``with`` block would do all that waits, which may be a whole data set.)
    threads: how many; None: by the number of processors.
    """
    with ThreadPoolExecutor(threads) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
