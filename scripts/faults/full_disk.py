"""Let the disk become full while jobs write to it, each time a little later.

The answer must be one line that names the lack of space, and leave no half-written file. After
there is space again, the same command must leave the files of a job that nobody disturbed. Needs
the right to mount a file system (root).
"""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Iterator
from pathlib import Path

from trial import Campaign, Child, Row, again, jobs, undisturbed

USUAL, QUICK, TIMES = 20, 1, "sizes of the disk for each job"
GOOD = ["equal", "fits", "not tried"]

CLONE_NEWNS, MS_REMOUNT, MS_REC, MS_PRIVATE = 0x20000, 32, 0x4000, 1 << 18
"""From Linux's sched.h and mount.h."""

PLENTY = 2**28


def run(campaign: Campaign) -> Iterator[Row]:
    """Run each job on ``times`` disks that are too small for it."""
    base = campaign.base
    disk = base / "disk"
    disk.mkdir(exist_ok=True)
    every = jobs(base)
    if campaign.quick:
        every = {"train": every["train"]}
    try:
        _own_mounts()
    except OSError as error:
        yield from (Row(name, "full disk", "not tried", str(error)) for name in every)
        return
    for name, words in campaign.chosen(every).items():
        usual = undisturbed(words, base)
        whole = sum(path.stat().st_size + 4096 for path in usual.folder.rglob("*"))
        for number in range(campaign.times):
            size = round(whole * (number + 0.5) / campaign.times)
            _mount(disk, size)
            try:
                # What is printed goes to another disk, as a terminal would.
                child = Child(words, disk, log=base / "disk.out")
                yield Row(name, f"disk of {size:,} bytes", *_answer(child, words, usual.left))
            finally:
                _check(_libc().umount2(os.fsencode(disk), 2))


def _answer(child: Child, words: list[str], wanted: dict[str, str]) -> tuple[str, str]:
    """Tell how a job ended on a small disk, and how it goes on with more space."""
    status, text = child.wait(), child.log.read_text(errors="replace")
    if status == 0:
        return "fits", ""
    if "Traceback" in text:
        return "traceback", child.last_line
    # Not always the last line: what a job prints may reach the file after what it says of an error.
    if not re.search(r"^error: .*\b(space|free)\b", text, re.MULTILINE):
        return "no word of space", child.last_line
    known = {str(Path(name).name) for name in wanted}
    files = [path.name for path in child.folder.rglob("*") if path.is_file()]
    halves = [name for name in files if name.startswith(".") and name not in known]
    if halves:
        return "half a file", ", ".join(halves)
    _mount(child.folder, PLENTY, MS_REMOUNT)
    return again(child, words, wanted)


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _own_mounts() -> None:
    """Let no other process see what this one mounts."""
    _check(_libc().unshare(CLONE_NEWNS))
    _check(_libc().mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None))


def _mount(folder: Path, size: int, flags: int = 0) -> None:
    """Mount a file system in memory on a folder. size: bytes."""
    options = f"size={size}".encode()
    _check(_libc().mount(b"tmpfs", os.fsencode(folder), b"tmpfs", flags, options))
