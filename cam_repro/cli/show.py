"""``cam-show image=F``: explain photographs of one's own."""

from __future__ import annotations

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from cam_repro.cli.app import command, import_torch


@command("show")
def main(cfg: DictConfig) -> None:
    """Draw what a network sees in photographs."""
    import_torch()
    from cam_repro.commands.show import run_show

    run_show(cfg, HydraConfig.get().overrides.task)


if __name__ == "__main__":
    main()
