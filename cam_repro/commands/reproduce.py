"""Every row of the tables: what ``cam-reproduce`` does.

An experiment (configs/experiment/*.yaml) lists networks in order. Each becomes a ``cam-train``
and then every ``cam-eval`` that the tables want, as command lines that are printed and can be run
alone; here they run in one process, which saves the start-up of each.
"""

from __future__ import annotations

import logging
import shlex
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
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
from cam_repro.tables.readings import READINGS, TEXT

log = logging.getLogger(__name__)

FROM_PLAIN = "plain"
"""``weights: plain`` starts a network from the trained run of its plain one."""

LAST = "last.pt"
"""The checkpoint that is scored, and that other networks start from."""


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

    @property
    def has_file(self) -> bool:
        """Whether its weights are a file."""
        return self.weights not in (None, "torchvision", FROM_PLAIN)


@dataclass
class Experiment:
    """configs/experiment/*.yaml; what one leaves out is in configs/reproduce.yaml.

    readings: each network is scored once for each, in its view and with its boxes.
    """

    data: str = "???"
    readings: list[str] = field(default_factory=lambda: [TEXT.name])
    boxes: list[str] = field(default_factory=list)
    variant: str | None = None
    weights: str | None = None
    train: list[str] = field(default_factory=list)
    eval: list[str] = field(default_factory=list)
    networks: dict[str, Network] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.readings:
            if name not in READINGS:
                raise UserError(
                    f"experiment.readings: there is no {name}, only {', '.join(READINGS)}"
                )

    def file(self, network: Network) -> Path:
        """Where the file of a network's weights lies."""
        assert network.weights is not None
        return Path(self.weights or "", network.weights)


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
    _check_weights(settings.experiment, networks)
    runs = settings.output or settings.runs
    started = time.perf_counter()
    with join_processes(settings.device) as processes:
        data_config = compose("eval", _common(settings, runs)).data
        images = open_data(data_config, processes, "val", with_boxes=True)
        steps = list(_steps(settings, networks, runs, images.name))
        for number, step in enumerate(steps, start=1):
            log.info("\n[%d/%d] %s", number, len(steps), step)
            if step.command == "train":  # which knows a finished run, and refuses another one
                run_training(compose("train", step.arguments))
                continue
            config = compose("eval", step.arguments)
            wanted = {key: OmegaConf.to_container(config[key], resolve=True) for key in SCORING}
            if is_scored(step.folder, step.checkpoint, wanted, images.fingerprint):
                log.info("scored already: %s", step.folder)
            else:
                config.overwrite = True  # of another checkpoint, or by other settings
                run_evaluation(config, step.arguments)
        if processes.is_main:
            log.info("")
            run_tables(TablesSettings(runs, images.name, reading=BOTH))
            _sum_up(steps, Path(runs) / images.name, time.perf_counter() - started)


def _chosen(settings: ReproduceSettings) -> dict[str, Network]:
    networks = settings.experiment.networks
    if settings.models is None:
        return networks
    for name in settings.models:
        if name not in networks:
            raise UserError(f"models: the experiment has no {name}, only {', '.join(networks)}")
    return {name: network for name, network in networks.items() if name in settings.models}


def _check_weights(experiment: Experiment, networks: dict[str, Network]) -> None:
    """Refuse files of weights that are not there, all in one line, before anything is done."""
    files = {name: experiment.file(net) for name, net in networks.items() if net.has_file}
    missing = {name: file for name, file in files.items() if not file.is_file()}
    if missing:
        names = ", ".join(f"{file} ({name})" for name, file in missing.items())
        others = [name for name in networks if name not in missing] or ["NAME", "..."]
        raise UserError(
            f"no such weights: {names}; name their folder (experiment.weights=DIR), or only the "
            f"other rows (models=[{','.join(others)}])"
        )


def _common(settings: ReproduceSettings, runs: str) -> list[str]:
    """Arguments of every command: the data set, where to compute and where to write.

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


def _steps(
    settings: ReproduceSettings, networks: dict[str, Network], runs: str, data: str
) -> Iterator[Step]:
    experiment = settings.experiment
    common = _common(settings, runs)
    for name, network in networks.items():
        named = [f"model={name}"]
        if experiment.variant is not None:
            named.append(f"model.variant={experiment.variant}")
        model = compose("eval", named).model
        run = run_name(model)
        trained = train_folder(runs, data, run)
        weights, checkpoint = network.weights, None
        if weights == FROM_PLAIN:
            weights = str(train_folder(runs, data, run_name({**model, "name": model.plain})) / LAST)
        elif network.has_file:
            checkpoint = experiment.file(network)
            weights = str(checkpoint)
        start = [] if weights is None else [f"model.weights={weights}"]
        if network.trained:
            arguments = [*named, *common, f"seed={settings.seed}", *start]
            arguments += [*experiment.train, *network.train]
            yield Step("train", arguments, name, trained)
            start, checkpoint = [], trained / LAST  # what cam-eval takes unless told otherwise
        wanted = [s for m, s in runs_of_the_tables() if m == name] or ["cam"]
        for saliency in wanted:
            for reading in (READINGS[reading] for reading in experiment.readings):
                boxes = ",".join([*reading.rules.values(), *experiment.boxes])
                arguments = [*named, *common, *start, f"saliency={saliency}"]
                arguments += [f"view={reading.view}", f"box=[{boxes}]", "split=val"]
                arguments += [*experiment.eval, *network.eval]
                folder = eval_folder(runs, data, run, "val", saliency, reading.view)
                yield Step("eval", arguments, name, folder, checkpoint)


def _sum_up(steps: list[Step], folder: Path, seconds: float) -> None:
    """How long it took, and where to look."""
    log.info("all in %d min %02d s", seconds // 60, seconds % 60)
    log.info("\ntables:   %s", folder / "tables")
    pictures = [s.folder / "contact_sheet.png" for s in steps if s.command == "eval"]
    curves = [s.folder / "curves.png" for s in steps if s.command == "train"]
    log.info("pictures: %s", "\n          ".join(str(p) for p in pictures + curves if p.is_file()))
