"""Every row of the tables: what ``cam-reproduce`` does.

An experiment (configs/experiment/*.yaml) lists networks in order. Each becomes a ``cam-train``
and then the ``cam-eval`` that the tables want, as command lines that are printed and can be run
alone; here they run in one process, which saves the start-up of each.
"""

from __future__ import annotations

import json
import logging
import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra import compose
from omegaconf import DictConfig, OmegaConf

from cam_repro.config import validate
from cam_repro.engine.device import processes
from cam_repro.errors import UserError
from cam_repro.jobs.common import open_data
from cam_repro.jobs.evaluate import run_evaluation
from cam_repro.jobs.tables import TablesSettings, run_tables
from cam_repro.jobs.train import run_training
from cam_repro.runs import SCORING, eval_folder, is_scored, train_folder
from cam_repro.tables.paper import runs_of_the_tables

log = logging.getLogger(__name__)

FROM_PLAIN = "plain"
"""``weights: plain`` starts a network from the trained run of its plain one."""


@dataclass
class Network:
    """What an experiment says of one network.

    weights: null, torchvision, a file, or ``plain``. trained: false scores the weights as they
    are. train, eval: further arguments of cam-train and cam-eval.
    """

    weights: str | None = None
    trained: bool = True
    train: list[str] = field(default_factory=list)
    eval: list[str] = field(default_factory=list)


@dataclass
class Experiment:
    """configs/experiment/*.yaml"""

    data: str = "???"
    train: list[str] = field(default_factory=list)
    eval: list[str] = field(default_factory=list)
    views: list[str] = field(default_factory=lambda: ["squash"])
    networks: dict[str, Network] = field(default_factory=dict)


@dataclass
class ReproduceSettings:
    """configs/reproduce.yaml"""

    experiment: Experiment = field(default_factory=Experiment)
    models: list[str] | None = None
    data: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    runs: str = "runs"
    output: str | None = None


@dataclass
class Step:
    """One command: its arguments, what it is about, and the folder that it fills."""

    command: str
    arguments: list[str]
    network: str
    folder: Path
    checkpoint: Path | None = None

    def __str__(self) -> str:
        return shlex.join([f"cam-{self.command}", *self.arguments])


def run_reproduce(cfg: DictConfig) -> None:
    """Train and score every network of the experiment, write the tables, and sum up."""
    settings = validate(cfg, ReproduceSettings)
    networks = _chosen(settings)
    runs = settings.output or settings.runs
    started = time.perf_counter()
    with processes(settings.device) as group:
        data_config = compose("eval", _about_data(settings)).data
        images, _ = open_data(data_config, group, "val", with_boxes=False)
        steps = list(_steps(settings, networks, runs, images.name))
        for number, step in enumerate(steps, start=1):
            log.info("\n[%d/%d] %s", number, len(steps), step)
            if step.command == "train":  # which knows a finished run, and refuses another one
                run_training(compose("train", step.arguments))
                continue
            config = compose("eval", step.arguments)
            wanted = {key: OmegaConf.to_container(config[key], resolve=True) for key in SCORING}
            if is_scored(step.folder, step.checkpoint, wanted):
                log.info("scored already: %s", step.folder)
            else:
                run_evaluation(config, step.arguments)
        if group.is_main:
            log.info("")
            run_tables(TablesSettings(runs, images.name, view=settings.experiment.views[0]))
            _sum_up(steps, Path(runs) / images.name, time.perf_counter() - started)


def _chosen(settings: ReproduceSettings) -> dict[str, Network]:
    networks = settings.experiment.networks
    if settings.models is None:
        return networks
    for name in settings.models:
        if name not in networks:
            raise UserError(f"models: the experiment has no {name}, only {', '.join(networks)}")
    return {name: network for name, network in networks.items() if name in settings.models}


def _about_data(settings: ReproduceSettings) -> list[str]:
    """Arguments of every command that name the data set."""
    given = [f"data.{key}={value}" for key, value in settings.data.items() if value is not None]
    return [f"data={settings.experiment.data}", *given]


def _about_machine(settings: ReproduceSettings, runs: str) -> list[str]:
    """Arguments of every command that say where to compute and where to write, if not the usual."""
    given = {"device": settings.device, "precision": settings.precision, "runs": runs}
    usual = ReproduceSettings()
    return [f"{key}={value}" for key, value in given.items() if value != getattr(usual, key)]


def _steps(
    settings: ReproduceSettings, networks: dict[str, Network], runs: str, data: str
) -> Iterator[Step]:
    experiment = settings.experiment
    common = [*_about_data(settings), *_about_machine(settings, runs)]
    for name, network in networks.items():
        model = compose("eval", [f"model={name}"]).model
        trained = train_folder(runs, data, name)
        weights = network.weights
        if weights == FROM_PLAIN:
            weights = str(train_folder(runs, data, model.plain) / "last.pt")
        start = [] if weights is None else [f"model.weights={weights}"]
        if network.trained:
            arguments = [f"model={name}", *common, f"seed={settings.seed}", *start]
            arguments += [*experiment.train, *network.train]
            yield Step("train", arguments, name, trained)
            start = []  # the run's own checkpoint
        checkpoint = trained / "last.pt" if network.trained else None
        wanted = [s for m, s in runs_of_the_tables() if m == name] or ["cam"]
        for saliency in wanted:
            for view in experiment.views:
                arguments = [f"model={name}", *common, *start]
                arguments += [f"saliency={saliency}", f"view={view}", "split=val"]
                arguments += [*experiment.eval, *network.eval]
                folder = eval_folder(runs, data, name, "val", saliency, view)
                yield Step("eval", arguments, name, folder, checkpoint)


def _sum_up(steps: list[Step], folder: Path, seconds: float) -> None:
    """One line a scored run, then where to look."""
    log.info("\n%-18s %-9s %15s %15s", "network", "maps", "cls top-1/top-5", "loc top-1/top-5")
    for step in steps:
        scores_file = step.folder / "scores.json"
        if step.command == "eval" and scores_file.is_file():
            scores = json.loads(scores_file.read_text(encoding="utf-8"))
            boxes = next(iter(scores["loc"].values()))
            saliency = step.folder.name.partition("-")[2]
            log.info(
                "%-18s %-9s %7.2f / %5.2f %7.2f / %5.2f",
                step.network,
                saliency,
                scores["cls"]["top1"],
                scores["cls"]["top5"],
                boxes["top1"],
                boxes["top5"],
            )
    log.info("errors in percent; all in %d min %02d s", seconds // 60, seconds % 60)
    log.info("\ntables:   %s", folder / "tables")
    pictures = [s.folder / "contact_sheet.png" for s in steps if s.command == "eval"]
    curves = [s.folder / "curves.png" for s in steps if s.command == "train"]
    log.info("pictures: %s", "\n          ".join(str(p) for p in pictures + curves if p.is_file()))
