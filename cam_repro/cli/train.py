"""``cam-train model=NAME``: train a network."""

from __future__ import annotations

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from cam_repro.cli.app import command, import_torch


@command("train")
def main(cfg: DictConfig) -> None:
    """Train a network; write checkpoints, log and curves to the run's folder."""
    import_torch()
    from cam_repro.commands.train import run_training

    run_training(cfg, HydraConfig.get().overrides.task)


if __name__ == "__main__":
    main()
