"""Sweeps, Hydra's ``-m``: one job for each combination of the values given with commas.

Hydra's launchers start the jobs. What is here they do not do: let settings of what is swept wait
for the jobs, keep jobs out of each other's folders, and go on when one fails.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig

from cam_repro.cli.messages import STOPPED, TRACEBACK_VARIABLE, fail, one_line
from cam_repro.config import typed_words
from cam_repro.errors import UserError

if TYPE_CHECKING:
    from cam_repro.engine.processes import Processes

log = logging.getLogger(__name__)

SWEEP = {"-m", "--multirun"}
"""Hydra's flags for a sweep: one job for each combination of the values given with commas."""

FOLDERS = {"model", "model.variant", "data", "split", "saliency", "view"}
"""Settings that the folders of results are named by."""


def sweep_words(words: list[str]) -> tuple[list[str], list[str]]:
    """Split a sweep's command line into flags and settings, the settings as Hydra needs them.

    Before Hydra makes the jobs of ``-m model=a,b model.width=0.5`` it composes a configuration
    without what is swept. That one has no model, so there is no width to be set. A choice of one
    value, ``model.width=choice(0.5)``, counts as swept, so the width waits for the jobs.
    """
    settings = [w for w in words if ("=" in w and not w.startswith("-")) or w.startswith("~")]
    flags = [word for word in words if word not in settings]
    parser = OverridesParser.create()
    swept: list[str] = []
    with contextlib.suppress(HydraException):  # which Hydra will say itself
        overrides = parser.parse_overrides(settings)
        swept = [each.key_or_group for each in overrides if each.is_sweep_override()]
    _refuse_one_folder(settings, swept)
    inside = tuple(f"{key}." for key in swept)
    for index, word in enumerate(settings):
        key, _, value = word.partition("=")
        with contextlib.suppress(HydraException):  # null cannot be chosen
            if key.startswith(inside) and key not in swept:
                choice = f"{key}=choice({value})"
                parser.parse_override(choice)
                settings[index] = choice
    return flags, settings


def _refuse_one_folder(settings: list[str], swept: list[str]) -> None:
    """Raise UserError where jobs that run at the same time would write to one folder.

    Jobs that run one after another see what is there, and refuse it themselves.
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

    Its failure is said at once, in the log of the job, and handed to Hydra as a UserError: the
    other jobs are run all the same, and the command ends with the first failure.
    """
    job = HydraConfig.get()
    in_turn = job.runtime.choices["hydra/launcher"] == "basic"
    before = sys.argv
    flags = [flag for flag in flags if flag not in SWEEP]
    sys.argv = [job.job.name, *flags, *typed_words(job.overrides.task)]  # for the manifest
    if not in_turn:  # Hydra has said it where the sweep was started
        log.info("%s", shlex.join(sys.argv))
        # Its own handler prints already; and it will call every job successful, failed ones too.
        logging.getLogger("submitit").propagate = False
    try:
        run(cfg)
        return
    except KeyboardInterrupt:
        if in_turn or _place().is_main:  # no result for submitit: SLURM may go on with the job
            fail(STOPPED)
        reason = STOPPED
    except Exception as error:
        known = one_line(error)
        reason = known or f"{type(error).__name__}: {error}"
        traceback = known is None or TRACEBACK_VARIABLE in os.environ
        log.error("failed: %s", reason, exc_info=traceback)
    finally:
        sys.argv = before
    if in_turn and _place().world > 1:  # other processes still work at this job: end them
        fail(reason)
    # Not inside "except": the caught error's traceback would keep its network on the GPU.
    raise UserError(reason if in_turn else reason + _log_of_job())


def _place() -> Processes:
    from cam_repro.engine.processes import place_of_this_process  # imports torch, which is slow

    return place_of_this_process()


def _log_of_job() -> str:
    """Say where submitit keeps what this job prints; nothing outside such a job."""
    if "SUBMITIT_EXECUTOR" not in os.environ:
        return ""
    from submitit import JobEnvironment

    return f" (log in {JobEnvironment().paths.folder})"
