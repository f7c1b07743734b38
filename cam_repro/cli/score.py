"""``cam-score``: score anybody's guesses or maps by the official metric or another protocol."""

from __future__ import annotations

from omegaconf import DictConfig

from cam_repro.cli.app import command


@command("score")
def main(cfg: DictConfig) -> None:
    """Score a submission or maps; print JSON to standard output, a table to standard error."""
    from cam_repro.commands.score import run_score  # slow imports

    run_score(cfg)


if __name__ == "__main__":
    main()
