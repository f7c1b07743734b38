import io
import re
import sys
from itertools import pairwise

import pytest

from cam_repro import progress
from cam_repro.progress import Bar, duration


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that only the test moves: ``clock[0]`` is the time in seconds."""
    now = [1000.0]
    monkeypatch.setattr("time.time", lambda: now[0])
    monkeypatch.setattr("tqdm.std.time", lambda: now[0])
    monkeypatch.setattr("tqdm.std.tqdm.monitor_interval", 0)
    return now


def lines_of(monkeypatch, clock, total, seconds_each):
    """What a log gets of a stage, as lines."""
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    with Bar(total, "val, cam") as bar:
        for number in range(total):
            clock[0] += seconds_each
            bar.say(f"loss {number}")
            bar.update()
    assert "\r" not in log.getvalue()
    assert log.getvalue() == "" or log.getvalue().endswith("\n")
    return log.getvalue().splitlines()


def test_a_log_gets_whole_lines(monkeypatch, clock):
    lines = lines_of(monkeypatch, clock, total=30, seconds_each=1)
    assert lines == [
        "val, cam: 33 %, 10 of 30, 00:10 gone, 00:20 left,  1.00 images/s, loss 9",
        "val, cam: 67 %, 20 of 30, 00:20 gone, 00:10 left,  1.00 images/s, loss 19",
        "val, cam: 100 %, 30 of 30, 00:30 gone, 00:00 left,  1.00 images/s, loss 29",
    ]


def test_a_log_gets_nothing_of_a_short_stage(monkeypatch, clock):
    assert lines_of(monkeypatch, clock, total=9, seconds_each=1) == []


def test_the_longer_a_stage_takes_the_rarer_are_its_lines(monkeypatch, clock):
    lines = lines_of(monkeypatch, clock, total=2000, seconds_each=30)  # 17 hours
    gone = [re.search(r"(?:(\d+):)?(\d+):(\d+) gone", line).groups("0") for line in lines]
    minutes = [int(h) * 60 + int(m) + int(s) / 60 for h, m, s in gone]
    steps = [after - before for before, after in pairwise(minutes)]
    assert steps[0] == 0.5
    assert max(steps) <= progress.LONGEST / 60 + 0.5
    assert len(lines) < 200


def test_a_terminal_gets_one_bar(monkeypatch, clock):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Bar(4, "reading", " files", leave=True) as bar:
        for _ in range(4):
            clock[0] += 1
            bar.update()
    text = terminal.getvalue()
    assert text.count("\n") == 1
    assert text.endswith("\n")
    assert text.split("\r")[-1].startswith("reading: 100%|")
    assert "4/4 00:04<00:00,  1.00 files/s" in text


def test_counts_may_be_left_out(monkeypatch, clock):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Bar(4, "train", counts=False) as bar:
        clock[0] += 1
        bar.update()
    assert "1/4" not in terminal.getvalue()
    assert "00:01<00:03,  1.00 images/s" in terminal.getvalue()


def test_durations():
    seconds = (8.46, 99.97, 725.4, 12_000)
    said = ["8.5 s", "1 min 40 s", "12 min 05 s", "3 h 20 min"]
    assert [duration(each) for each in seconds] == said
    rough = [duration(each, to_minutes=True) for each in (3, 170, 7500)]
    assert rough == ["1 min", "3 min", "2 h 05 min"]
