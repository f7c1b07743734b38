"""Start two at once in one folder: the same job twice, and trainings with two seeds.

One may refuse, if it says why; but where both say that they are done, nothing may be lost.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator

from trial import OUT, Campaign, Child, Row, difference, jobs, snapshot, undisturbed

USUAL, QUICK, TIMES = 20, 1, "pairs of each job"
GOOD = ["one refused", "both agree"]


def run(campaign: Campaign) -> Iterator[Row]:
    """Start ``times`` pairs of each job, the second a little later than the first."""
    base, chance = campaign.base, campaign.chance
    every = {name: (words, words) for name, words in jobs(base).items()}
    train = every["train"][0]
    every["train, other seed"] = train, [*train, "seed=1"]
    if campaign.quick:
        every = {"train": every["train"]}
    for name, words in campaign.chosen(every).items():
        usual = [undisturbed(each, base) for each in words]
        for _ in range(campaign.times):
            seconds = chance.choice([0.0, chance.uniform(0, usual[0].seconds)])
            first = Child(words[0], base / "trial")
            time.sleep(seconds)
            second = Child(words[1], base / "trial")
            outcome = _outcome([first, second], [each.left for each in usual])
            yield Row(name, f"the second {seconds:.2f} s later", *outcome)
            shutil.rmtree(base / "trial")


def _outcome(children: list[Child], wanted: list[dict[str, str]]) -> tuple[str, str]:
    """Wait for both, and compare what they leave with what those wanted that are done."""
    statuses = [child.wait() for child in children]
    done = [number for number in (0, 1) if statuses[number] == 0]
    if not done:
        return "none is done", " / ".join(child.last_line for child in children)
    for child in children:
        if "Traceback" in child.log.read_text(errors="replace"):
            return "traceback", child.last_line
    left = snapshot(children[0].folder / OUT)
    wrong = [detail for number in done if (detail := difference(wanted[number], left))]
    if wrong:
        return "lost", wrong[0]
    refused = [child.last_line for child, status in zip(children, statuses, strict=True) if status]
    return ("one refused", refused[0]) if refused else ("both agree", "")
