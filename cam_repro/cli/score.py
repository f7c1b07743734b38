"""``cam-score``: the official metric, and other protocols, for anybody's guesses and maps."""

from __future__ import annotations

from omegaconf import DictConfig

from cam_repro.cli.app import command


@command("score")
def main(cfg: DictConfig) -> None:
    """Score a submission or maps; JSON on standard output, a table on standard error."""
    from cam_repro.commands.score import run_score  # what --help can do without

    run_score(cfg)


if __name__ == "__main__":
    main()
