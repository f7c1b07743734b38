"""``cam-reproduce``: train and score every network of an experiment, and write the tables."""

from __future__ import annotations

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from cam_repro.cli.app import command, import_torch
from cam_repro.words import composed_from


@command("reproduce")
def main(cfg: DictConfig) -> None:
    """Train and score what the experiment lists, skipping what is done, and write the tables."""
    import_torch()
    from cam_repro.commands.reproduce import run_reproduce, say_experiments

    job = HydraConfig.get()
    if not any(word.startswith("experiment=") for word in job.overrides.task):
        say_experiments(composed_from())
    run_reproduce(cfg, job.runtime.choices["experiment"])


if __name__ == "__main__":
    main()
