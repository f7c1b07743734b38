"""``cam-concept positives=DIR negatives=DIR model=NAME``: learn a concept and localize it."""

from __future__ import annotations

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from cam_repro.cli.app import command, import_torch


@command("concept")
def main(cfg: DictConfig) -> None:
    """Learn a concept from images that show it and images that do not."""
    import_torch()
    from cam_repro.commands.concept import run_concept

    run_concept(cfg, HydraConfig.get().overrides.task)


if __name__ == "__main__":
    main()
