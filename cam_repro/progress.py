"""Show how far a stage has come: by a bar on a terminal, by a line now and then in a log."""

from __future__ import annotations

import sys
import time
from typing import Any, TextIO

from tqdm import tqdm

ON_TERMINAL = "{desc}: {percentage:3.0f}%|{bar}|COUNTS {elapsed}<{remaining}, {rate_noinv_fmt}"
IN_LOG = "{desc}: {percentage:.0f} %,COUNTS {elapsed} gone, {remaining} left, {rate_noinv_fmt}"
"""How a stage is shown, in tqdm's words; in place of COUNTS comes how many are done, or nothing."""

FIRST, LONGEST, SHARE = 10.0, 600.0, 0.05
"""Seconds until the first line in a log, the longest time between two lines, and that time as a
share of the time gone: the longer a stage takes, the less often it is said."""


class Lines:
    """Write what tqdm draws over and over on one line as lines of their own, to a log file."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.last = ""

    def write(self, text: str) -> None:
        """Write a line, unless it is empty or says what the last one said."""
        line = text.strip()
        if line and line != self.last:
            self.stream.write(line + "\n")
            self.last = line

    def flush(self) -> None:
        self.stream.flush()


class Bar(tqdm):
    """Show a stage as a bar, or if standard error is no terminal as lines.

    A log gets its first line after ``FIRST`` seconds: of a short stage it says nothing.
    """

    def __init__(
        self, total: float, what: str, unit: str = " images", counts: bool = True, **options: Any
    ) -> None:
        """Begin a stage.

        total: what ``update`` adds up to at its end. what: the stage's name. counts: show how many
        are done, not only the share. options: tqdm's ``initial``, ``leave``, ``disable`` ...
        """
        self.in_log = not sys.stderr.isatty()
        form, done = ON_TERMINAL, " {n_fmt}/{total_fmt}"
        if self.in_log:
            form, done = IN_LOG, " {n_fmt} of {total_fmt},"
            options |= {"file": Lines(sys.stderr), "delay": FIRST}
            options |= {"mininterval": FIRST, "maxinterval": FIRST}
        super().__init__(
            total=total,
            desc=what,
            unit=unit,
            bar_format=form.replace("COUNTS", done if counts else "") + "{postfix}",
            dynamic_ncols=not self.in_log,
            **options,
        )

    def say(self, text: str) -> None:
        """Change what stands at the bar's end, when it is drawn next."""
        self.set_postfix_str(text, refresh=False)

    def display(self, *arguments: Any, **options: Any) -> Any:
        """Draw the bar; in a log, wait longer for the next line the more time has gone."""
        if self.in_log:
            gone = time.time() - self.start_t
            self.mininterval = self.maxinterval = min(max(FIRST, SHARE * gone), LONGEST)
        return super().display(*arguments, **options)


def duration(seconds: float, to_minutes: bool = False) -> str:
    """Write seconds as one reads them: ``8.5 s``, ``12 min 05 s``, ``3 h 20 min``.

    to_minutes: of an estimate, whole minutes and at least one.
    """
    if seconds < 99.95 and not to_minutes:
        return f"{seconds:.1f} s"
    whole = max(60, 60 * round(seconds / 60)) if to_minutes else round(seconds)
    minutes, rest = divmod(whole, 60)
    if minutes >= 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    return f"{minutes} min" if to_minutes else f"{minutes} min {rest:02d} s"
