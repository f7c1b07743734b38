"""Signals that end a job, heard without ending it at once."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator


class StopRequest:
    """Notes signals that end a job, so that a loop can leave a checkpoint before it stops.

    Besides Ctrl-C and SIGTERM these are SIGUSR1 and SIGUSR2, one of which SLURM sends some time
    before it ends a job if it is asked to (``--signal``; submitit asks for SIGUSR2). When the loop
    then stops by KeyboardInterrupt, whoever listened before is told: submitit puts the job back
    into the queue.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)

    def __init__(self) -> None:
        self.received: list[int] = []

    @property
    def made(self) -> bool:
        """Whether any such signal has come."""
        return bool(self.received)

    @contextlib.contextmanager
    def listening(self) -> Iterator[StopRequest]:
        """Note the signals inside; outside they do what they did before."""

        def note(signum: int, frame: object) -> None:
            self.received.append(signum)

        try:
            before = {number: signal.signal(number, note) for number in self.SIGNALS}
        except ValueError:  # not the main thread: signals go elsewhere
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
                if callable(listener):
                    listener(signum, None)
            raise
