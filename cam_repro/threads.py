"""Share work among threads, and let go of it when a command is stopped."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor


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
