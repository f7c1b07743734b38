"""Print why a command ends early, in one line on standard error, and exit with a status not 0."""

from __future__ import annotations

import os
import re
import shlex
import sys
import sysconfig
import traceback
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import NoReturn

from hydra.errors import HydraException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from cam_repro.errors import Stopped, UserError, choose, did_you_mean
from cam_repro.files import FULL
from cam_repro.signals import ignore_signals

PACKAGE = Path(__file__).parents[1]
"""The folder of this package."""

TRACEBACK_VARIABLE = "HYDRA_FULL_ERROR"
"""The environment variable that shows the traceback instead of a one-line error."""

INTERRUPTED = 130
"""The exit status after Ctrl-C, as shells have it: 128 and the number of the signal."""

NOTHING_DONE = "nothing was done yet"
"""What is kept of a command that was stopped before its work began."""

QUEUED = "no longer waiting; the jobs go on: squeue --me lists them, scancel stops them"
"""What is said if not the work was stopped, but waiting for jobs in SLURM's queue."""

Known = Callable[[], tuple[list[str], Mapping[str, list[str]]]]
"""Gives the keys of a command's settings, and the choices of each of its groups."""


def fail(message: str) -> NoReturn:
    """Print one line on standard error and exit with status 1."""
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(1)


def stop(stopped: KeyboardInterrupt) -> NoReturn:
    """Print what is kept of a stopped command and how to go on, and exit with status 130.

    Of several processes one prints it. Further signals are ignored: nothing is left to be stopped.
    """
    ignore_signals()
    if os.environ.get("RANK", "0") == "0":
        if sys.stderr.isatty():
            print(file=sys.stderr)  # after the terminal's ^C, or a bar
        print(how_stopped(stopped), file=sys.stderr)
    raise SystemExit(INTERRUPTED)


def how_stopped(stopped: KeyboardInterrupt) -> str:
    """Say in one line what is kept of a stopped command, and which command goes on."""
    if "hydra/launcher=submitit_slurm" in sys.argv:
        return QUEUED
    kept = str(stopped) if isinstance(stopped, Stopped) else NOTHING_DONE
    typed = shlex.join([sys.argv[0].rpartition("/")[2], *sys.argv[1:]])
    return f"stopped: {kept}. To go on: {typed}"


def one_line(error: BaseException, known: Known | None = None) -> str | None:
    """Describe a mistake of the user in one line; None for a defect, which keeps its traceback.

    The user's own code may raise anything; then the line names the place.
    known: what a misspelt word of the command line may be meant to be; None: not known.
    """
    message = str(error)
    if isinstance(error, (HydraException, OmegaConfBaseException)):  # some are OSErrors too
        # Hydra wraps an error that a constructor raises; the cause says what the user can mend.
        cause = error.__cause__
        message = str(cause) if isinstance(cause, UserError) else _of_hydra(error, message, known)
    elif isinstance(error, OSError):  # a folder that cannot be made, ...
        if error.filename is not None:
            return f"{error.filename}: {error.strerror}"
        full = FULL.get(error.errno or 0)
        if full is not None:
            return f"{full}: free some space and run the command again"
        return _of_own_code(error)
    elif type(error).__module__.startswith("submitit") and "with trace:" not in message:
        # A job was killed or could not be submitted; after two lines comes all that it printed.
        message = " ".join(message.splitlines()[:2])
    elif message.startswith('Could not detect "srun"'):
        message = "hydra/launcher=submitit_slurm: no srun here: start it where SLURM's commands are"
    elif message.startswith("Config group override must be a string"):
        message = "a choice of null cannot be given: leave it out, or name one (--help lists them)"
    elif message.startswith("Only one of --run"):
        message = "of the flags -m, --cfg, --info and -sc only one can be given"
    elif not isinstance(error, UserError):
        return _of_own_code(error)
    return " ".join(message.split())


def _of_own_code(error: BaseException) -> str | None:
    """Describe an error of the user's own code, as of a network that a YAML names, by its place.

    That is the last place on the error's way that is neither in this package nor in an installed
    one. None: there is none. An error in a worker process has its way in its message.
    """
    frames = traceback.extract_tb(error.__traceback__)
    places = [(frame.filename, str(frame.lineno), frame.name) for frame in frames]
    name, message = type(error).__name__, str(error)
    in_worker = re.match(r"Caught (\w+) in DataLoader worker", message)
    if in_worker:
        name = in_worker[1]
        places += re.findall(r'File "(.+)", line (\d+), in (\S+)', message)
        ends = re.findall(
            rf"^(?:[\w.]+\.)?{name}(?:: (.*?))?\s*\Z", message, re.MULTILINE | re.DOTALL
        )
        message = ends[-1] if ends else ""
    for file, line, function in reversed(places):
        if _is_own(Path(file)):
            said = " ".join(f"{name}: {message}".split()).removesuffix(":")
            where = f"{file}, line {line}, in {function}"
            return f"{where}: {said} ({TRACEBACK_VARIABLE}=1 shows more)"
    return None


def _is_own(file: Path) -> bool:
    """Tell whether a file of Python code is neither this package's nor an installed one's.

    Nor is it one of those that torch.compile writes.
    """
    installed = map(sysconfig.get_path, ("stdlib", "platstdlib", "purelib", "platlib"))
    folders = [PACKAGE, *map(Path, installed)]
    compiled = os.environ.get("TORCHINDUCTOR_CACHE_DIR")
    folders += [Path(compiled)] if compiled else []
    # What Debian's packages install lies in none of these folders.
    is_installed = any(
        part in ("site-packages", "dist-packages") or part.startswith("torchinductor_")
        for part in file.parts
    )
    return (
        file.is_file()
        and not is_installed
        and not any(file.is_relative_to(folder) for folder in folders)
    )


def _of_hydra(
    error: HydraException | OmegaConfBaseException, message: str, known: Known | None
) -> str:
    """Rewrite a message of Hydra or OmegaConf without their internals, in this project's words."""
    unknown = re.match(r"Could not override '([^']+)'", message)
    launcher = re.search(r"Could not find 'hydra/launcher/(submitit_\w+)'", message)
    choice = re.search(r"Could not find '([\w/@.-]+)/([^/']*)'", message)
    sweep = re.match(r"Ambiguous value for argument '([^']+)'", message)
    if unknown:  # Hydra would advise "+key=value", which validation refuses
        return no_setting(unknown[1], known)
    if launcher:
        return f"hydra/launcher={launcher[1]} is not installed: pip install '.[slurm]'"
    if choice:
        options = message.partition("Available options in")[2].partition("Config search path")[0]
        names = [name for name in options.split()[1:] if not name.startswith("_")]
        return f"{choice[1]}={choice[2]}: {choose(choice[2], names)}"
    if sweep:
        return f"{sweep[1]}: for a job with each of these values add -m; a list is [a,b]"
    if isinstance(error, OverrideParseException):
        return _not_read(error.override, message, known)
    return message.partition("Config search path")[0]


def no_setting(key: str, known: Known | None) -> str:
    """Say that there is no setting of this name, which it may be meant to be, or what has it."""
    near = did_you_mean(key, known()[0]) if known is not None else ""
    if near:
        return f"there is no setting {key!r}{near}"
    message = f"there is no setting {key!r}: --help lists them"
    if key.startswith("data."):
        message += " (those of ILSVRC come with data=ilsvrc)"
    elif key.startswith("protocol."):
        message += " (those of another protocol come with protocol=NAME)"
    elif key.startswith("box."):
        message += " (cam-eval has those of each rule, box.NAME.KEY with box=[NAME,...])"
    elif key.startswith("hydra.launcher."):
        message += " (those of SLURM come with hydra/launcher=submitit_slurm)"
    return message


def _not_read(word: str, message: str, known: Known | None) -> str:
    """Say why an argument cannot be read: it has no ``=``, or its value has special characters."""
    if "=" not in word:
        before = next((last for last, each in pairwise(sys.argv) if each == word), "")
        if before.endswith("="):
            return f"the argument {word!r} has no '=': write {before}{word}, without a blank"
        keys, groups = known() if known is not None else ([], {})
        meant = [f"{group}={word}" for group, names in groups.items() if word in names]
        near = f"; did you mean {' or '.join(meant)}?" if meant else ""
        form = f"{word}=VALUE" if word in keys else "KEY=VALUE"
        return f"the argument {word!r} has no '=': a setting is written {form}{near}"
    reason = next(iter(message.splitlines()), "").removeprefix(f"Error parsing override {word!r}")
    word = re.sub("^classes=", "class=", word)  # as it was typed (words.py)
    key, _, value = word.partition("=")
    if value.count("[") != value.count("]") or value.count("{") != value.count("}"):
        remedy = "close its brackets"
    else:
        quote = "'" if '"' in value else '"'
        remedy = f"if its value is a text, write {shlex.quote(f'{key}={quote}{value}{quote}')}"
    return f"the argument {word!r} cannot be read ({reason.strip() or 'as key=value'}): {remedy}"
