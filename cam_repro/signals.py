"""Catch signals that end a job, so that it can stop at a good moment."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TypeVar

Result = TypeVar("Result")

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
"""Those that ask a job to end. SLURM can be asked to send one of them some time before it ends a
job (``--signal``); submitit asks for SIGUSR2.
"""


@contextlib.contextmanager
def heard_as_interrupts() -> Iterator[None]:
    """Let each of ``SIGNALS`` raise KeyboardInterrupt within a ``with`` block, as Ctrl-C does.

    That is also so where a shell has told the process to ignore Ctrl-C, as scripts do with what
    they start in the background: whoever sends a signal to it by ``kill`` wants it to end.
    """
    with _handled_by(signal.default_int_handler):
        yield


def ignore_signals() -> None:
    """Ignore ``SIGNALS`` from now on."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


class StopRequest:
    """Note ``SIGNALS``, so that a loop can write a checkpoint before it stops.

    If the loop then stops by KeyboardInterrupt, the handlers that were set before are called.
    submitit's handler puts the job back into the queue.

    word: what standard error is told when the first signal comes; empty: nothing.
    """

    def __init__(self, word: str = "") -> None:
        self.word = word
        self.received: list[int] = []
        self._waits = False

    @property
    def made(self) -> bool:
        """Tell whether any of these signals has come."""
        return bool(self.received)

    def unless_made(self, wait: Callable[[], Result]) -> Result | None:
        """Return what ``wait`` returns; None if a signal has come, or comes while it waits."""
        try:
            self._waits = True
            try:
                return None if self.made else wait()
            finally:
                self._waits = False
        except KeyboardInterrupt:
            return None

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if self.word and not self.received:
            os.write(2, f"{self.word}\n".encode())  # print may be at work: this can interrupt it
        self.received.append(signum)
        if self._waits:
            self._waits = False
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def listening(self) -> Iterator[StopRequest]:
        """Note the signals within a ``with`` block; afterwards they do what they did before."""
        before = {number: signal.getsignal(number) for number in SIGNALS}
        try:
            with _handled_by(self._note):
                yield self
        except KeyboardInterrupt:
            for signum in self.received:
                listener = before[signal.Signals(signum)]
                # Python's own for Ctrl-C would only raise KeyboardInterrupt once more.
                if callable(listener) and listener is not signal.default_int_handler:
                    listener(signum, None)
            raise


@contextlib.contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Let a function handle ``SIGNALS`` within a ``with`` block.

    Does nothing outside the main thread, where no handlers can be set.
    """
    try:
        before = {number: signal.signal(number, handler) for number in SIGNALS}
    except ValueError:
        yield
        return
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
