"""``cam-data make|check``: make the built-in data set, or check a tree."""

from __future__ import annotations

import sys

from omegaconf import DictConfig

from cam_repro.cli.app import command


@command("data_command")
def _run(cfg: DictConfig) -> None:
    """Make the built-in data set, or check a tree and exit with 1 where it has faults."""
    from cam_repro.jobs.data import run_data  # torch, which --help can do without

    run_data(cfg)


def main() -> None:
    """Take ``cam-data check key=value`` as ``action=check key=value``."""
    if len(sys.argv) > 1 and sys.argv[1].isidentifier():
        sys.argv[1] = f"action={sys.argv[1]}"
    _run()


if __name__ == "__main__":
    main()
