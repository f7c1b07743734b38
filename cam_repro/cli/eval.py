"""``cam-eval split=val``: predict classes and boxes, and score them."""

from __future__ import annotations

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from cam_repro.cli.app import command, import_torch
from cam_repro.threads import sleep_while_waiting


@command("eval")
def main(cfg: DictConfig) -> None:
    """Score one network, or every trained one that has no result yet."""
    from cam_repro.commands.baseline import is_baseline, run_baseline

    if is_baseline(cfg):
        run_baseline(cfg)
        return
    sleep_while_waiting()
    import_torch()
    from cam_repro.commands.evaluate import run_evaluation

    run_evaluation(cfg, HydraConfig.get().overrides.task)


if __name__ == "__main__":
    main()
