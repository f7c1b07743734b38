"""Run sweeps (Hydra's ``-m``): one job for each combination of the values given with commas.

Hydra's launchers start the jobs. This module adds three things: settings such as ``model.width``
can be given although ``model`` is swept, jobs cannot write to each other's folders, and the other
jobs go on when one fails.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import sys
from collections.abc import Callable, Sequence

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig

from cam_repro.cli.messages import TRACEBACK_VARIABLE, fail, how_stopped, one_line, stop
from cam_repro.engine.processes import place_of_this_process
from cam_repro.errors import UserError
from cam_repro.words import SWEEP, typed_words

log = logging.getLogger(__name__)

FOLDERS = {"model", "model.variant", "data", "split", "saliency", "view"}
"""Settings that are part of the names of folders of results."""


def sweep_settings(settings: Sequence[str]) -> list[str]:
    """Adapt the settings of a sweep's command line for Hydra.

    Before Hydra makes the jobs of ``-m model=a,b model.width=0.5``, it composes a configuration
    without the swept settings. This has no model, so Hydra would refuse ``model.width``. Written as
    a choice of one value, ``model.width=choice(0.5)``, the width counts as swept too, and is only
    set in the jobs.
    """
    settings = list(settings)
    parser = OverridesParser.create()
    swept: list[str] = []
    with contextlib.suppress(HydraException):  # Hydra reports it later
        overrides = parser.parse_overrides(settings)
        swept = [each.key_or_group for each in overrides if each.is_sweep_override()]
    _refuse_one_folder(settings, swept)
    prefixes = tuple(f"{key}." for key in swept)
    for index, word in enumerate(settings):
        key, _, value = word.partition("=")
        with contextlib.suppress(HydraException):  # choice(null) is not allowed
            if key.startswith(prefixes) and key not in swept:
                choice = f"{key}=choice({value})"
                parser.parse_override(choice)
                settings[index] = choice
    return settings


def _refuse_one_folder(settings: list[str], swept: list[str]) -> None:
    """Raise UserError if jobs that run at the same time would write to the same folder.

    Jobs that run one after another need no check here: each refuses a folder that is in use.
    """
    given = dict(word.partition("=")[::2] for word in settings)
    if given.get("hydra/launcher", "basic") == "basic":
        return
    places = {key: given[key] for key in ("output", "runs") if key in given}
    if any(key in swept or "${" in value for key, value in places.items()):
        return
    for key in swept:
        if "output" in places or key not in FOLDERS:
            raise UserError(
                f"jobs that differ in {key} would write to one folder at the same time: give each "
                f"its own, as in 'output=sweep/${{{key}}}'"
            )


def run_job(run: Callable[[DictConfig], None], cfg: DictConfig, flags: list[str]) -> None:
    """Run one job of a sweep.

    run: the command's function. flags: the sweep's flags.
    A failure is logged at once and raised as a UserError. Hydra then still runs the other jobs, and
    the command ends with the first failure.
    """
    job = HydraConfig.get()
    in_turn = job.runtime.choices["hydra/launcher"] == "basic"
    before = sys.argv
    flags = [flag for flag in flags if flag not in SWEEP]
    sys.argv = [job.job.name, *flags, *typed_words(job.overrides.task)]  # for the manifest
    if not in_turn:  # else Hydra has logged the command already
        log.info("%s", shlex.join(sys.argv))
        # submitit has its own handler, and logs that a job was successful even if it failed.
        logging.getLogger("submitit").propagate = False
    try:
        run(cfg)
        return
    except KeyboardInterrupt as stopped:
        if in_turn:
            raise  # the whole sweep stops
        if place_of_this_process().is_main:  # exit without a result: SLURM may go on with the job
            stop(stopped)
        reason = how_stopped(stopped)
    except Exception as error:
        known = one_line(error)
        reason = known or f"{type(error).__name__}: {error}"
        traceback = known is None or TRACEBACK_VARIABLE in os.environ
        log.error("failed: %s", reason, exc_info=traceback)
    finally:
        sys.argv = before
    if (
        in_turn and place_of_this_process().world > 1
    ):  # the other processes of this job must end too
        fail(reason)
    # Not raised within "except": the first error's traceback would keep its network on the GPU.
    raise UserError(reason if in_turn else reason + _log_of_job())


def _log_of_job() -> str:
    """Name for a message the folder of this job's log; empty if submitit did not start the job."""
    if "SUBMITIT_EXECUTOR" not in os.environ:
        return ""
    from submitit import JobEnvironment

    return f" (log in {JobEnvironment().paths.folder})"
