"""``cam-generic features=DIR test=DIR``: train and test linear SVMs on features."""

from __future__ import annotations

from omegaconf import DictConfig

from cam_repro.cli.app import command


@command("generic")
def main(cfg: DictConfig) -> None:
    """Train a linear SVM on features of cam-features, and test it."""
    from cam_repro.commands.generic import run_generic

    run_generic(cfg)


if __name__ == "__main__":
    main()
