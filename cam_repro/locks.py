"""Let one process at a time write to a folder, by locks that end with the process.

A lock is held on a file (``flock``), in which its holder's host and process stand, for the message
to a second one. A process that dies, however it dies, holds nothing any more; the file that it
leaves does not matter. Where a file system has no locks, what stands in the file decides alone.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from cam_repro.errors import UserError

LOCK = ".lock"
"""The file in a folder that its only writer holds."""

_held: set[int] = set()
"""Descriptors of the locks that this process holds."""


def _let_go() -> None:
    """Close the locks in a forked process: one that outlived its parent would hold them on."""
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_let_go)


@dataclass(frozen=True)
class Holder:
    """Say who holds a lock: the host, the process's number there, and since when (local time)."""

    host: str
    pid: int
    since: str

    @classmethod
    def this_process(cls) -> Holder:
        """Describe this process."""
        since = datetime.now().astimezone().isoformat(" ", "seconds")
        return cls(socket.gethostname(), os.getpid(), since)

    @classmethod
    def read(cls, descriptor: int) -> Holder | None:
        """Read who wrote a lock's file; None where nobody can be made out."""
        try:
            holder = cls(**json.loads(os.pread(descriptor, 4096, 0)))
            return holder if type(holder.pid) is int and holder.pid > 0 else None
        except (OSError, ValueError, TypeError):
            return None

    def may_live(self) -> bool:
        """Tell whether it may be running still: always of another host, which cannot be asked."""
        if self.host != socket.gethostname():
            return True
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:  # it is another user's
            return True
        return self.pid != os.getpid()


@contextlib.contextmanager
def sole_writer(folder: Path | str, lock: Path | None = None) -> Iterator[None]:
    """Let nobody else write to ``folder`` within a ``with`` block; make it if it is not there.

    lock: the file to hold, by default ``.lock`` in the folder; it is removed at the end, and so are
    folders that were made for it and stayed empty. In a folder that cannot be written nothing is
    held. Raises UserError, at once, where another process holds it.
    """
    lock = lock or Path(folder) / LOCK
    made = [place for place in (lock.parent, *lock.parent.parents) if not place.exists()]
    try:
        descriptor = _take(lock, folder)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        yield  # who writes anything will hear of it
        return
    _held.add(descriptor)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)  # first: whoever opens it now must find it held
        _held.discard(descriptor)
        os.close(descriptor)
        for place in made:
            with contextlib.suppress(OSError):  # it holds something now
                place.rmdir()


def try_lock(descriptor: int) -> bool | None:
    """Lock an open file until it is closed; None where the file system has no locks.

    False where another open file has it locked, in this process or in any other.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _take(lock: Path, folder: Path | str) -> int:
    """Open and lock a file, and write into it who holds it; raises UserError if another does."""
    while True:
        lock.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:  # another process removed the empty folder
            continue
        try:
            locked, there = try_lock(descriptor), Holder.read(descriptor)
            if locked is False or (locked is None and there is not None and there.may_live()):
                raise UserError(_held_by(there, folder, None if locked is False else lock))
            if _is_at(descriptor, lock):
                _write_holder(descriptor, needed=locked is None)
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # the holder removed the file meanwhile, and this one is no lock


def _write_holder(descriptor: int, needed: bool) -> None:
    """Write into a lock's file who holds it. needed: whether the lock is nothing without it."""
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(asdict(Holder.this_process())).encode(), 0)
    except OSError:  # a full disk, of which whoever writes a result will hear
        if needed:
            raise


def _is_at(descriptor: int, path: Path) -> bool:
    """Tell whether an open file is still the one of this path."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _held_by(holder: Holder | None, folder: Path | str, file: Path | None) -> str:
    """Say who writes to a folder. file: what to remove if nobody does; None: somebody does."""
    who, since = "another process", ""
    if holder is not None:
        who, since = f"process {holder.pid} on {holder.host}", f", since {holder.since}"
    remedy = "wait until it ends, or name another folder with output="
    if file is not None:
        remedy += f"; if it is not running any more, remove {file}"
    return f"{folder}: {who} is writing to it{since}: {remedy}"
