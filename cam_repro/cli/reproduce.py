"""``cam-reproduce``: train and score every network of an experiment, and write the tables."""

from __future__ import annotations

from omegaconf import DictConfig

from cam_repro.cli.app import command


@command("reproduce")
def main(cfg: DictConfig) -> None:
    """Train and score what the experiment lists, skipping what is done, and write the tables."""
    from cam_repro.commands.reproduce import run_reproduce  # slow: imports torch

    run_reproduce(cfg)


if __name__ == "__main__":
    main()
