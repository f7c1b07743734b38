"""``cam-features model=NAME``: write what a network's class layer takes, of each image."""

from __future__ import annotations

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from cam_repro.cli.app import command, import_torch


@command("features")
def main(cfg: DictConfig) -> None:
    """Write the features of a split."""
    import_torch()
    from cam_repro.commands.features import run_features

    run_features(cfg, HydraConfig.get().overrides.task)


if __name__ == "__main__":
    main()
