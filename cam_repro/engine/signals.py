"""Catch signals that end a job, so that it can stop at a good moment."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator


class StopRequest:
    """Note signals that end a job, so that a loop can write a checkpoint before it stops.

    These are Ctrl-C, SIGTERM, SIGUSR1 and SIGUSR2. SLURM can be asked to send a signal some time
    before it ends a job (``--signal``); submitit asks for SIGUSR2. If the loop then stops by
    KeyboardInterrupt, the handlers that were set before are called. submitit's handler puts the job
    back into the queue.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)

    def __init__(self) -> None:
        self.received: list[int] = []

    @property
    def made(self) -> bool:
        """Tell whether any of these signals has come."""
        return bool(self.received)

    @contextlib.contextmanager
    def listening(self) -> Iterator[StopRequest]:
        """Note the signals within a ``with`` block; afterwards they do what they did before."""

        def note(signum: int, frame: object) -> None:
            self.received.append(signum)

        try:
            before = {number: signal.signal(number, note) for number in self.SIGNALS}
        except ValueError:  # only the main thread can set handlers
            yield self
            return
        try:
            try:
                yield self
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)
        except KeyboardInterrupt:
            for signum in self.received:
                listener = before[signal.Signals(signum)]
                # Python's own for Ctrl-C would only raise KeyboardInterrupt once more.
                if callable(listener) and listener is not signal.default_int_handler:
                    listener(signum, None)
            raise
