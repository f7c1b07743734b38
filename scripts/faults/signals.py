"""Send each signal to jobs at random moments, to the process alone and to its whole group.

Within 3 seconds there must be a word, and after 5 no process. The same command then goes on, and
must leave the files of a job that nobody disturbed. SIGKILL may leave no worker process.
"""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Iterator

from trial import Campaign, Child, Row, again, jobs, undisturbed

from cam_repro.signals import SIGNALS

USUAL, QUICK, TIMES = 5, 1, "moments for each job, signal, and process or group"
GOOD = ["equal", "ended before", "not begun"]

WORDS = ("stopped: ", "stops after", "error: ")
WORD_WITHIN, GONE_WITHIN = 3.0, 5.0
"""Seconds."""


def run(campaign: Campaign) -> Iterator[Row]:
    """Send each of the signals, and SIGKILL, to each job."""
    base, chance = campaign.base, campaign.chance
    every = jobs(base, workers=1)
    kinds = [(number, to) for number in SIGNALS for to in ("process", "group")]
    kinds.append((signal.SIGKILL, "process"))
    if campaign.quick:
        every, kinds = {"train": every["train"]}, [(signal.SIGTERM, "group"), kinds[-1]]
    for name, words in campaign.chosen(every).items():
        usual = undisturbed(words, base)
        for number, to in kinds:
            for _ in range(campaign.times):
                seconds = chance.uniform(0, usual.seconds)
                child = Child(words, base / "trial")
                time.sleep(seconds)
                fault = f"{number.name} to the {to} after {seconds:.2f} s"
                outcome = _answer(child, number, to == "group")
                if outcome[0] == "answered":
                    came, said = again(child, words, usual.left)
                    outcome = (came, said or outcome[1])
                yield Row(name, fault, *outcome)
                shutil.rmtree(child.folder)


def _answer(child: Child, number: signal.Signals, to_group: bool) -> tuple[str, str]:
    """Send a signal, and tell how it was answered: an outcome and a detail."""
    if not child.send(number, to_group):
        return ("ended before", "") if child.wait() == 0 else ("failed", child.last_line)
    sent = time.monotonic()
    word = gone = None
    while time.monotonic() - sent < GONE_WITHIN:
        now = time.monotonic() - sent
        text = child.log.read_text(errors="replace")
        if word is None and any(each in text for each in WORDS):
            word = now
        if child.ended() and not child.left():
            gone = now
            break
        time.sleep(0.01)
    if gone is None:
        left = child.left()
        child.send(signal.SIGKILL, to_group=True)
        return "still there", f"{len(left)} processes after {GONE_WITHIN:.0f} s"
    status = child.wait()
    if status == -number and not text:
        return "not begun", ""  # Python itself was not ready
    if "Traceback" in text:
        return "traceback", child.last_line
    if status == 0:
        return "ended before", ""
    if number != signal.SIGKILL and (word is None or word > WORD_WITHIN):
        return "no word", f"status {status} after {gone:.1f} s"
    return "answered", f"gone after {gone:.1f} s"
