"""What every command shares: finding ``configs/``, Hydra, and errors said in one line."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator
from typing import NoReturn

import hydra
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from cam_repro.config import config_dir
from cam_repro.errors import UserError

TRACEBACK_VARIABLE = "HYDRA_FULL_ERROR"


def fail(error: object) -> NoReturn:
    """Print one line on standard error and leave with status 1."""
    message = str(error)
    unknown = re.match(r"Could not override '([^']+)'", message)
    if unknown:  # Hydra goes on to advise "+key=value", which validation would refuse
        message = f"there is no setting {unknown[1]!r}: --help lists them"
        if unknown[1].startswith("data."):
            message += " (those of ILSVRC come with data=ilsvrc)"
    elif isinstance(error, OverrideParseException):
        message = f"the argument {error.override!r} cannot be read: quote its value ({message})"
    message = message.partition("Config search path")[0]  # Hydra's own innards
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    raise SystemExit(1)


@contextlib.contextmanager
def _full_error(on: bool) -> Iterator[None]:
    """Set or unset HYDRA_FULL_ERROR, and restore it: a command started inside must not see ours."""
    before = os.environ.pop(TRACEBACK_VARIABLE, None)
    if on:
        os.environ[TRACEBACK_VARIABLE] = "1"
    try:
        yield
    finally:
        os.environ.pop(TRACEBACK_VARIABLE, None)
        if before is not None:
            os.environ[TRACEBACK_VARIABLE] = before


@contextlib.contextmanager
def _stored(*names: str) -> Iterator[None]:
    """Give Hydra these YAML files alone, without the folder that they lie in and its groups."""
    store = ConfigStore.instance()
    for name in names:
        store.store(name=name, node=OmegaConf.load(config_dir() / f"{name}.yaml"))
    try:
        yield
    finally:
        for name in names:  # left there they would pass for schemas of the files
            del store.repo[f"{name}.yaml"]


def command(
    config_name: str, groups: bool = True
) -> Callable[[Callable[[DictConfig], None]], Callable[[], None]]:
    """Turn ``run(cfg)`` into a console command configured by ``configs/<config_name>.yaml``.

    groups: whether the folders of ``configs/`` are choices (``data=demo`` reads data/demo.yaml).
    Without them such a key is a plain setting: ``cam-tables data=NAME`` takes any name.

    Mistakes of the user, ours (``UserError``) and those that Hydra or OmegaConf find while they
    compose, end as one line and status 1. Set HYDRA_FULL_ERROR=1 for the traceback. A defect
    always shows its traceback.
    """

    def decorate(run: Callable[[DictConfig], None]) -> Callable[[], None]:
        traceback_wanted = TRACEBACK_VARIABLE in os.environ

        @contextlib.contextmanager
        def errors_in_one_line() -> Iterator[None]:
            try:
                yield
            except (UserError, HydraException, OmegaConfBaseException) as error:
                if traceback_wanted:
                    raise
                # Hydra wraps what a constructor raises; the cause is what the user can mend.
                fail(error.__cause__ if isinstance(error.__cause__, UserError) else error)
            except OSError as error:
                if traceback_wanted or error.filename is None:
                    raise
                fail(f"{error.filename}: {error.strerror}")  # a folder that cannot be made, ...
            except KeyboardInterrupt:
                fail("stopped; started again, training and unpacking go on, scoring begins anew")

        def task(cfg: DictConfig) -> None:
            logging.basicConfig(
                level=logging.INFO, format="%(message)s", stream=sys.stderr, force=True
            )
            # Here besides in main: Hydra prints a line of its own for an exception that it sees.
            with _full_error(traceback_wanted), errors_in_one_line():
                run(cfg)

        hydra_main = hydra.main(
            version_base="1.3",
            config_path=str(config_dir()) if groups else None,
            config_name=config_name,
        )(task)

        def main() -> None:
            stored = contextlib.nullcontext() if groups else _stored("base", config_name)
            # With this set Hydra lets exceptions through instead of printing them its own way.
            with _full_error(True), errors_in_one_line(), stored:
                hydra_main()

        main.__doc__ = run.__doc__
        return main

    return decorate
