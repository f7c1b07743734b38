"""``cam-data make|check|unpack|pack``: make the built-in set, check, unpack or pack a data set."""

from __future__ import annotations

import sys

from omegaconf import DictConfig

from cam_repro.cli.app import command


@command("data_command")
def _run(cfg: DictConfig) -> None:
    """Make the built-in data set, check a tree, unpack the official archives, or pack."""
    from cam_repro.commands.data import run_data

    status = run_data(cfg)
    if status:
        raise SystemExit(status)


def main() -> None:
    """Read ``cam-data check key=value`` as ``cam-data action=check key=value``, and run it."""
    if len(sys.argv) > 1 and sys.argv[1].isidentifier():
        sys.argv[1] = f"action={sys.argv[1]}"
    _run()


if __name__ == "__main__":
    main()
