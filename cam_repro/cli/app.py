"""What every command shares: finding ``configs/``, Hydra, and errors said in one line."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from cam_repro.errors import UserError

TRACEBACK_VARIABLE = "HYDRA_FULL_ERROR"


def config_dir() -> Path:
    """The folder of YAML files: inside an installed wheel, beside the package in a checkout."""
    package = Path(__file__).resolve().parents[1]
    installed, checkout = package / "configs", package.parent / "configs"
    return installed if installed.is_dir() else checkout


def fail(message: object) -> NoReturn:
    """Print one line on standard error and leave with status 1."""
    line = " ".join(str(message).split())
    print(f"error: {line}", file=sys.stderr)
    raise SystemExit(1)


def command(config_name: str) -> Callable[[Callable[[DictConfig], None]], Callable[[], None]]:
    """Turn ``run(cfg)`` into a console command configured by ``configs/<config_name>.yaml``.

    Mistakes of the user, ours (``UserError``) and those that Hydra or OmegaConf find while they
    compose, end as one line and status 1. Set HYDRA_FULL_ERROR=1 for the traceback. A defect
    always shows its traceback.
    """

    def decorate(run: Callable[[DictConfig], None]) -> Callable[[], None]:
        def task(cfg: DictConfig) -> None:
            logging.basicConfig(
                level=logging.INFO, format="%(message)s", stream=sys.stderr, force=True
            )
            run(cfg)

        hydra_main = hydra.main(
            version_base="1.3", config_path=str(config_dir()), config_name=config_name
        )(task)

        def main() -> None:
            traceback_wanted = TRACEBACK_VARIABLE in os.environ
            # With this set Hydra lets exceptions through instead of printing them its own way.
            os.environ[TRACEBACK_VARIABLE] = "1"
            try:
                hydra_main()
            except (UserError, HydraException, OmegaConfBaseException) as error:
                if traceback_wanted:
                    raise
                fail(error)
            except KeyboardInterrupt:
                fail("stopped; the same command goes on from the last checkpoint or image")

        main.__doc__ = run.__doc__
        return main

    return decorate
