"""Train and score every row of the tables: what ``cam-reproduce`` does.

An experiment (configs/experiment/*.yaml) lists networks in order. For each there is a ``cam-train``
and then every ``cam-eval`` that the tables want. They are printed as command lines, which can be
run alone; here one process runs them all, which saves the start-up of each.
"""

from __future__ import annotations

import logging
import shlex
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from cam_repro.commands.common import open_data
from cam_repro.commands.evaluate import run_evaluation
from cam_repro.commands.tables import BOTH, TablesSettings, run_tables
from cam_repro.commands.train import run_training
from cam_repro.config import compose, validate
from cam_repro.data.settings import LoaderSettings
from cam_repro.engine.processes import join_processes
from cam_repro.errors import UserError
from cam_repro.runs.folders import SCORING, eval_folder, is_scored, run_name, train_folder
from cam_repro.tables.paper import runs_of_the_tables
from cam_repro.tables.sources import PAPER, SOURCES

log = logging.getLogger(__name__)

FROM_PLAIN = "plain"
"""``weights: plain`` starts a network from the trained run of its plain one."""

LAST = "last.pt"
"""The checkpoint that is scored, and that other networks start from."""


@dataclass
class NetworkPlan:
    """What an experiment does with one network.

    weights: what it starts from: null, torchvision, a file, or ``plain``. trained: false scores
    these weights as they are. train, eval: further arguments of cam-train and cam-eval.
    """

    weights: str | None = None
    trained: bool = True
    train: list[str] = field(default_factory=list)
    eval: list[str] = field(default_factory=list)

    @property
    def has_file(self) -> bool:
        """Whether its weights are a file."""
        return self.weights not in (None, "torchvision", FROM_PLAIN)


@dataclass
class Experiment:
    """configs/experiment/*.yaml; what one leaves out is in configs/reproduce.yaml.

    sources: each network is scored once for each, in its view and with its box rules.
    boxes: box rules to score besides. networks: what is done with each, by name.
    """

    data: str = "???"
    sources: list[str] = field(default_factory=lambda: [PAPER.name])
    boxes: list[str] = field(default_factory=list)
    variant: str | None = None
    weights: str | None = None
    train: list[str] = field(default_factory=list)
    eval: list[str] = field(default_factory=list)
    networks: dict[str, NetworkPlan] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.sources:
            if name not in SOURCES:
                raise UserError(
                    f"experiment.sources: there is no {name}, only {', '.join(SOURCES)}"
                )

    def file(self, plan: NetworkPlan) -> Path:
        """Say where the file of a network's weights lies."""
        assert plan.weights is not None
        return Path(self.weights or "", plan.weights)


@dataclass
class ReproduceSettings:
    """configs/reproduce.yaml"""

    experiment: Experiment = field(default_factory=Experiment)
    models: list[str] | None = None
    data: dict[str, Any] = field(default_factory=dict)
    loader: LoaderSettings = field(default_factory=LoaderSettings)
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    runs: str = "runs"
    output: str | None = None


@dataclass
class Step:
    """One command of an experiment.

    command: ``train`` or ``eval``. model: name of the network that it is about. folder: the one
    that it fills. checkpoint: the weights that a ``cam-eval`` scores, None where they are no file.
    """

    command: str
    arguments: list[str]
    model: str
    folder: Path
    checkpoint: Path | None = None

    def __str__(self) -> str:
        return shlex.join([f"cam-{self.command}", *self.arguments])


def run_reproduce(cfg: DictConfig) -> None:
    """Train and score every network of the experiment, write the tables, and sum up."""
    settings = validate(cfg, ReproduceSettings)
    plans = _chosen(settings)
    _check_weights(settings.experiment, plans)
    runs = settings.output or settings.runs
    started = time.perf_counter()
    with join_processes(settings.device) as processes:
        data_config = compose("eval", _common(settings, runs)).data
        images = open_data(data_config, processes, "val", with_boxes=True)
        steps = list(list_steps(settings, plans, runs, images.name))
        for number, step in enumerate(steps, start=1):
            log.info("\n[%d/%d] %s", number, len(steps), step)
            _run(step, images.fingerprint)
        if processes.is_main:
            log.info("")
            run_tables(TablesSettings(runs, images.name, source=BOTH))
            _sum_up(steps, Path(runs) / images.name, time.perf_counter() - started)


def _chosen(settings: ReproduceSettings) -> dict[str, NetworkPlan]:
    """Give the plans of the networks that ``models`` names, of all where it names none."""
    plans = settings.experiment.networks
    if settings.models is None:
        return plans
    for name in settings.models:
        if name not in plans:
            raise UserError(f"models: the experiment has no {name}, only {', '.join(plans)}")
    return {name: plan for name, plan in plans.items() if name in settings.models}


def _check_weights(experiment: Experiment, plans: dict[str, NetworkPlan]) -> None:
    """Refuse files of weights that are not there, all in one line, before anything is done."""
    files = {name: experiment.file(plan) for name, plan in plans.items() if plan.has_file}
    missing = {name: file for name, file in files.items() if not file.is_file()}
    if missing:
        names = ", ".join(f"{file} ({name})" for name, file in missing.items())
        others = [name for name in plans if name not in missing] or ["NAME", "..."]
        raise UserError(
            f"no such weights: {names}; name their folder (experiment.weights=DIR), or only the "
            f"other rows (models=[{','.join(others)}])"
        )


def _run(step: Step, fingerprint: str) -> None:
    """Run a command, unless its results are there. fingerprint: of the images to be scored."""
    config = compose(step.command, step.arguments)
    if step.command == "train":  # which knows a finished run, and refuses another one
        run_training(config)
        return
    wanted = {key: OmegaConf.to_container(config[key], resolve=True) for key in SCORING}
    if is_scored(step.folder, step.checkpoint, wanted, fingerprint):
        log.info("scored already: %s", step.folder)
        return
    config.overwrite = True  # what is there is of another checkpoint, or by other settings
    run_evaluation(config, step.arguments)


def _common(settings: ReproduceSettings, runs: str) -> list[str]:
    """List the arguments of every command: the data set, where to compute and where to write.

    All but the data set only where they are not the usual.
    """
    given = [f"data={settings.experiment.data}"]
    given += [f"data.{key}={value}" for key, value in settings.data.items() if value is not None]
    usual = ReproduceSettings()
    for key, value in asdict(settings.loader).items():
        if value != getattr(usual.loader, key):
            given.append(f"loader.{key}={value}")
    machine = {"device": settings.device, "precision": settings.precision, "runs": runs}
    given += [f"{key}={value}" for key, value in machine.items() if value != getattr(usual, key)]
    return given


def list_steps(
    settings: ReproduceSettings, plans: dict[str, NetworkPlan], runs: str, data: str
) -> Iterator[Step]:
    """Yield the commands for each network: its training, then its passes by each source.

    runs: folder of the runs. data: name of the data set there.
    """
    experiment = settings.experiment
    for name, plan in plans.items():
        model = [f"model={name}"]
        if experiment.variant is not None:
            model.append(f"model.variant={experiment.variant}")
        config = compose("eval", model).model
        run = run_name(config)
        arguments = [*model, *_common(settings, runs)]
        weights = _weights(experiment, plan, config, runs, data)
        start = [] if weights is None else [f"model.weights={weights}"]
        checkpoint = experiment.file(plan) if plan.has_file else None
        if plan.trained:
            folder = train_folder(runs, data, run)
            words = [*arguments, f"seed={settings.seed}", *start, *experiment.train, *plan.train]
            yield Step("train", words, name, folder)
            start, checkpoint = [], folder / LAST  # cam-eval takes it unless told otherwise
        for saliency, source in product(_methods(name), experiment.sources):
            view, rules = SOURCES[source].view, SOURCES[source].rules.values()
            words = [*arguments, *start, f"saliency={saliency}", f"view={view}"]
            words += [f"box=[{','.join([*rules, *experiment.boxes])}]", "split=val"]
            words += [*experiment.eval, *plan.eval]
            folder = eval_folder(runs, data, run, "val", saliency, view)
            yield Step("eval", words, name, folder, checkpoint)


def _weights(
    experiment: Experiment, plan: NetworkPlan, config: Mapping[str, Any], runs: str, data: str
) -> str | None:
    """Say what a network starts from, as ``model.weights`` has it.

    config: of the network. runs, data: where the run of its plain one lies.
    """
    if plan.weights == FROM_PLAIN:
        plain = run_name({**config, "name": config["plain"]})
        return str(train_folder(runs, data, plain) / LAST)
    return str(experiment.file(plan)) if plan.has_file else plan.weights


def _methods(model: str) -> list[str]:
    """List the saliency methods that the tables want of a network; CAM where they want none."""
    return [saliency for name, saliency in runs_of_the_tables() if name == model] or ["cam"]


def _sum_up(steps: list[Step], folder: Path, seconds: float) -> None:
    """Say how long it took, and where to look."""
    log.info("all in %d min %02d s", seconds // 60, seconds % 60)
    log.info("\ntables:   %s", folder / "tables")
    pictures = [s.folder / "contact_sheet.png" for s in steps if s.command == "eval"]
    curves = [s.folder / "curves.png" for s in steps if s.command == "train"]
    log.info("pictures: %s", "\n          ".join(str(p) for p in pictures + curves if p.is_file()))
