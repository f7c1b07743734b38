"""Signals that end a job: noted inside, told to whoever listened before."""

import contextlib
import os
import signal
import threading
import time

import pytest

from cam_repro.signals import SIGNALS, StopRequest, heard_as_interrupts, ignore_signals


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


def in_a_moment(number):
    threading.Timer(0.05, os.kill, (os.getpid(), number)).start()


def test_a_signal_ends_waiting_and_what_comes_later_is_not_waited_for():
    started = time.monotonic()
    with StopRequest().listening() as stop:
        assert stop.unless_made(lambda: 3) == 3
        in_a_moment(signal.SIGTERM)
        assert stop.unless_made(lambda: time.sleep(20)) is None
        assert stop.unless_made(lambda: pytest.fail("waits again")) is None
        os.kill(os.getpid(), signal.SIGTERM)  # a second one, between two waits
        assert stop.received == [signal.SIGTERM] * 2
    assert time.monotonic() - started < 10


def test_an_error_while_waiting_is_no_signal():
    with StopRequest().listening() as stop:
        with pytest.raises(ZeroDivisionError):
            stop.unless_made(lambda: 1 / 0)
        os.kill(os.getpid(), signal.SIGTERM)  # raises nothing here
        assert stop.made


def test_the_first_signal_is_answered_at_once(capfd):
    with StopRequest("stops soon").listening():
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGUSR1)
        assert capfd.readouterr().err == "stops soon\n"


@pytest.mark.parametrize("number", SIGNALS)
def test_every_signal_can_be_heard_as_ctrl_c(number):
    before = [signal.getsignal(each) for each in SIGNALS]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as scripts do with what they start by "&"
    try:
        with pytest.raises(KeyboardInterrupt), heard_as_interrupts():
            os.kill(os.getpid(), number)
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
        with heard_as_interrupts():
            ignore_signals()
            os.kill(os.getpid(), number)
    finally:
        signal.signal(signal.SIGINT, before[0])
    assert [signal.getsignal(each) for each in SIGNALS] == before
