"""``cam-units model=NAME class=[A,B]``: show which units a class has, and what these see."""

from __future__ import annotations

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from cam_repro.cli.app import command, import_torch


@command("units")
def main(cfg: DictConfig) -> None:
    """Draw the class-specific units of a network."""
    import_torch()
    from cam_repro.commands.units import run_units

    run_units(cfg, HydraConfig.get().overrides.task)


if __name__ == "__main__":
    main()
