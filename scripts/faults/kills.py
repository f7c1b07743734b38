"""Kill jobs (SIGKILL) at random moments, and before and after every rename of a file.

Each is then started again by the same command, and must leave the files of a job that nobody
disturbed: the same ones, saying the same, and none beside them.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from trial import Campaign, Child, Row, again, jobs, undisturbed

USUAL, QUICK, TIMES = 40, 1, "kills of each job at random moments"
GOOD = ["equal"]


def run(campaign: Campaign) -> Iterator[Row]:
    """Kill each job at every rename, and ``times`` times at random."""
    base, chance = campaign.base, campaign.chance
    every = jobs(base)
    if campaign.quick:
        every = {name: every[name] for name in ("train", "unpack")}
    for name, words in campaign.chosen(every).items():
        log = base / f"{name}.renames"
        usual = undisturbed(words, base)
        Child(words, base / f"{name}-counted", _at_rename(log)).wait()
        targets = log.read_text().splitlines()
        numbers = chance.sample(range(len(targets)), 1) if campaign.quick else range(len(targets))
        for number in numbers:
            for when in ("before", "after"):
                hook = _at_rename(base / "ignored", number + 1, when)
                child = Child(words, base / "trial", hook)
                assert child.wait() == -signal.SIGKILL, child.log.read_text()
                outcome = again(child, words, usual.left)
                yield Row(name, f"{when} rename {number + 1}, {targets[number]}", *outcome)
                shutil.rmtree(child.folder)
        for _ in range(campaign.times):
            seconds = chance.uniform(0, usual.seconds)
            child = Child(words, base / "trial")
            time.sleep(seconds)
            child.send(signal.SIGKILL)
            child.wait()
            outcome = again(child, words, usual.left)
            yield Row(name, f"after {seconds:.2f} s", *outcome)
            shutil.rmtree(child.folder)


def _at_rename(log: Path, kill_at: int = 0, when: str = "before") -> Callable[[], None]:
    """Make a hook that notes each rename in ``log``, and kills its process before or after one.

    kill_at: the number of that rename, from 1 on.
    """

    def hook() -> None:
        count = 0

        def counted(rename: Callable[..., None]) -> Callable[..., None]:
            def one(source: str, target: str, **options: int) -> None:
                nonlocal count
                count += 1
                with log.open("a") as file:
                    file.write(f"{Path(target).name}\n")
                if count == kill_at and when == "before":
                    os.kill(os.getpid(), signal.SIGKILL)
                rename(source, target, **options)
                if count == kill_at:
                    os.kill(os.getpid(), signal.SIGKILL)

            return one

        os.replace, os.rename = counted(os.replace), counted(os.rename)

    return hook
