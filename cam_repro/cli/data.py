"""``cam-data make|check|unpack|pack``: make the built-in set, check, unpack or pack a data set."""

from __future__ import annotations

from omegaconf import DictConfig

from cam_repro.cli.app import command


@command("data_command")
def main(cfg: DictConfig) -> None:
    """Make the built-in data set, check a tree, unpack the official archives, or pack."""
    from cam_repro.commands.data import run_data

    status = run_data(cfg)
    if status:
        raise SystemExit(status)


if __name__ == "__main__":
    main()
