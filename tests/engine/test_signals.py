"""Signals that end a job: noted inside, told to whoever listened before."""

import contextlib
import os
import signal

import pytest

from cam_repro.engine.signals import StopRequest


def test_stop_request_is_a_flag_and_only_while_listening():
    with StopRequest().listening() as stop:
        assert not stop.made
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.made
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM])
def test_whoever_listened_before_is_told_when_the_loop_stops(number):
    told = []
    before = signal.signal(number, lambda signum, frame: told.append(signum))
    try:
        with contextlib.suppress(KeyboardInterrupt), StopRequest().listening() as stop:
            os.kill(os.getpid(), number)
            assert stop.made
            assert told == []  # submitit would end the process here, without a checkpoint
            raise KeyboardInterrupt
        assert told == [number]
        # A run that came to its end all the same has nothing to be put back into a queue.
        with StopRequest().listening() as stop:
            os.kill(os.getpid(), number)
        assert told == [number]
        os.kill(os.getpid(), number)
        assert told == [number, number]
    finally:
        signal.signal(number, before)
