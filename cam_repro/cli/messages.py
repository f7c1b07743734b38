"""Print why a command ends early, in one line on standard error, and exit with status 1."""

from __future__ import annotations

import re
import sys
from typing import NoReturn

from hydra.errors import HydraException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from cam_repro.errors import UserError

TRACEBACK_VARIABLE = "HYDRA_FULL_ERROR"
"""The environment variable that shows the traceback instead of a one-line error."""

STOPPED = "stopped; run it again: training and unpacking go on, scoring and packing start anew"
LEFT = "no longer waiting; the jobs go on: squeue --me lists them, scancel stops them"


def fail(message: str) -> NoReturn:
    """Print one line on standard error and exit with status 1."""
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(1)


def one_line(error: BaseException) -> str | None:
    """Describe a mistake of the user in one line; None for a defect, which keeps its traceback."""
    message = str(error)
    if isinstance(error, (HydraException, OmegaConfBaseException)):  # some are OSErrors too
        # Hydra wraps an error that a constructor raises; the cause says what the user can mend.
        cause = error.__cause__
        message = str(cause) if isinstance(cause, UserError) else _of_hydra(error, message)
    elif isinstance(error, OSError):  # a folder that cannot be made, ...
        return None if error.filename is None else f"{error.filename}: {error.strerror}"
    elif type(error).__module__.startswith("submitit") and "with trace:" not in message:
        # A job was killed or could not be submitted; after two lines comes all that it printed.
        message = " ".join(message.splitlines()[:2])
    elif message.startswith('Could not detect "srun"'):
        message = "hydra/launcher=submitit_slurm: no srun here: start it where SLURM's commands are"
    elif message.startswith("Config group override must be a string"):
        message = "a choice of null cannot be given: leave it out, or name one (--help lists them)"
    elif not isinstance(error, UserError) and not message.startswith("Only one of --run"):
        return None
    return " ".join(message.split())


def _of_hydra(error: HydraException | OmegaConfBaseException, message: str) -> str:
    """Rewrite a message of Hydra or OmegaConf without their internals, in this project's words."""
    unknown = re.match(r"Could not override '([^']+)'", message)
    launcher = re.search(r"Could not find 'hydra/launcher/(submitit_\w+)'", message)
    if unknown:  # Hydra would advise "+key=value", which validation refuses
        message = f"there is no setting {unknown[1]!r}: --help lists them"
        if unknown[1].startswith("data."):
            message += " (those of ILSVRC come with data=ilsvrc)"
        elif unknown[1].startswith("protocol."):
            message += " (those of another protocol come with protocol=NAME)"
        elif unknown[1].startswith("box."):
            message += " (cam-eval has those of each rule, box.NAME.KEY with box=[NAME,...])"
        elif unknown[1].startswith("hydra.launcher."):
            message += " (those of SLURM come with hydra/launcher=submitit_slurm)"
    elif launcher:
        message = f"hydra/launcher={launcher[1]} is not installed: pip install '.[slurm]'"
    elif isinstance(error, OverrideParseException):
        message = f"the argument {error.override!r} cannot be read: quote its value ({message})"
    choices = re.sub(r"\n\t_\w+", "", message)  # _base.yaml is not a choice
    return choices.partition("Config search path")[0]
