"""Record where a number comes from: command, revision, versions, time."""

from __future__ import annotations

import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import cam_repro
from cam_repro.runs.manifest import Provenance

LIBRARIES = ("torch", "torchvision", "numpy", "opencv-python-headless", "pillow", "pandas")


def git_revision() -> str | None:
    """Give the revision of the source tree that the package runs from; None for a wheel."""
    source = Path(cam_repro.__file__).resolve().parents[1]
    if not (source / ".git").exists():
        return None

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(source), *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("-dirty" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):  # no git here, or nothing committed
        return None


def typed_command() -> str:
    """Give the command that is running, as it was typed."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def provenance() -> Provenance:
    """Record the command that is running, the versions that it runs with, and the time."""
    return Provenance(
        command=typed_command(),
        git=git_revision(),
        versions={
            "cam_repro": cam_repro.__version__,
            "python": platform.python_version(),
            **{library: version(library) for library in LIBRARIES},
        },
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
