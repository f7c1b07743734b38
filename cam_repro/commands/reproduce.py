"""Train and score every row of the tables: what ``cam-reproduce`` does.

An experiment (configs/experiment/*.yaml) lists networks. Each is trained by ``cam-train`` and then
scored by every ``cam-eval`` that the tables need. These commands are printed, so that each can be
run by itself; here one process runs all of them, which saves the time to start each.
"""

from __future__ import annotations

import logging
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from cam_repro.commands.common import by_main, open_data
from cam_repro.commands.evaluate import PACKAGE, describe_weights, run_evaluation
from cam_repro.commands.report import PAGE, ReportSettings, run_report
from cam_repro.commands.tables import BOTH, TablesSettings, run_tables
from cam_repro.commands.train import run_training
from cam_repro.config import choices, compose_choice, validate
from cam_repro.data.settings import LoaderSettings
from cam_repro.engine.processes import Processes, join_processes
from cam_repro.engine.resume import LAST
from cam_repro.engine.settings import EvalSettings, TrainSettings
from cam_repro.errors import UserError, if_stopped, one_of
from cam_repro.progress import duration
from cam_repro.runs.examples import CONTACT_SHEET
from cam_repro.runs.folders import (
    KEPT,
    SCORING,
    eval_folder,
    is_complete,
    is_scored,
    refuse_to_replace,
    run_name,
    train_folder,
)
from cam_repro.runs.manifest import read_eval_manifest, read_train_manifest
from cam_repro.runs.replacing import finish_killed
from cam_repro.runs.same_images import WhichImages
from cam_repro.tables.paper import runs_of_the_tables
from cam_repro.tables.sources import PAPER, SOURCES
from cam_repro.words import compose, renamed

log = logging.getLogger(__name__)

FROM_PLAIN = "plain"
"""With ``weights: plain`` a network starts from the trained run of its plain network."""

SETTINGS = {"train": TrainSettings, "eval": EvalSettings}
"""What checks the settings of each command of an experiment."""


@dataclass
class NetworkPlan:
    """Hold what an experiment does with one network.

    weights: what it starts from: null (random), torchvision, package, a file, or ``plain``.
    trained: whether it is trained; if not, these weights are scored as they are. train, eval:
    further arguments of cam-train and cam-eval. saliency: the methods that it is scored with, and
    further arguments of cam-eval for each; none: those that the paper's tables show.
    """

    weights: str | None = None
    trained: bool = True
    train: list[str] = field(default_factory=list)
    eval: list[str] = field(default_factory=list)
    saliency: dict[str, list[str]] = field(default_factory=dict)

    @property
    def has_file(self) -> bool:
        """Tell whether its weights are a file."""
        return self.weights not in (None, "torchvision", PACKAGE, FROM_PLAIN)


@dataclass
class Experiment:
    """Hold an experiment: configs/experiment/*.yaml, with defaults from configs/reproduce.yaml.

    data: the data set. takes: how long all of it takes, for a person to read. sources: each network
    is scored once for each source, with the source's view and box rules. boxes: further box rules
    to score. variant: model.variant of all networks. weights: folder of the files that networks
    name as weights. train, eval: arguments of every cam-train and cam-eval. networks: what is done
    with each network, by its name.
    """

    data: str = "???"
    takes: str | None = None
    sources: list[str] = field(default_factory=lambda: [PAPER.name])
    boxes: list[str] = field(default_factory=list)
    variant: str | None = None
    weights: str | None = None
    train: list[str] = field(default_factory=list)
    eval: list[str] = field(default_factory=list)
    networks: dict[str, NetworkPlan] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.sources:
            one_of("experiment.sources", name, SOURCES)

    def file(self, plan: NetworkPlan) -> Path:
        """Give the path of a network's file of weights."""
        assert plan.weights is not None
        return Path(self.weights or "", plan.weights)


@dataclass
class ReproduceSettings:
    """Hold the settings of ``cam-reproduce``: configs/reproduce.yaml."""

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
    """Hold one command of an experiment.

    command: ``train`` or ``eval``. model: the network's name. folder: where results go. checkpoint:
    the file of weights that a ``cam-eval`` scores; None if the weights are not a file. seconds: how
    long it took; None if it is not done, or not known.
    """

    command: str
    arguments: list[str]
    model: str
    folder: Path
    checkpoint: Path | None = None
    seconds: float | None = None

    def __str__(self) -> str:
        return shlex.join([f"cam-{self.command}", *self.arguments])

    @cached_property
    def config(self) -> DictConfig:
        """Compose its settings: once, as Hydra takes a good tenth of a second for it."""
        return compose(self.command, self.arguments)


@if_stopped("steps that are done are kept, and skipped")
def run_reproduce(cfg: DictConfig, name: str) -> None:
    """Train and score every network of the experiment; write the tables and the report.

    name: the experiment's, for messages.
    """
    settings = validate(cfg, ReproduceSettings)
    plans = _chosen(settings)
    _check_weights(settings.experiment, plans)
    runs = settings.output or settings.runs
    started = time.perf_counter()
    with join_processes(settings.device) as processes:
        data_config = compose("eval", _common(settings, runs)).data
        images = open_data(data_config, processes, "val", with_boxes=True)
        steps = list(list_steps(settings, plans, runs, images.name))
        for step in steps:  # what is misspelt in the last shall not be found after hours
            validate(step.config, SETTINGS[step.command])
        done = _done(steps, images.which)
        _refuse_to_replace(steps, done, images.which)
        _say_plan(name, settings.experiment, steps, done)
        for number, step in enumerate(steps, start=1):
            log.info("\n[%d/%d] %s", number, len(steps), step)
            began = time.perf_counter()
            _run(step, images.which, processes)
            if step not in done:
                step.seconds = time.perf_counter() - began
                done.append(step)
                _say_time_left(steps, done)
        if processes.is_main:
            log.info("")
            run_tables(TablesSettings(runs, images.name, source=BOTH))
            run_report(ReportSettings(runs, images.name))
            _sum_up(steps, Path(runs) / images.name, time.perf_counter() - started)


def _chosen(settings: ReproduceSettings) -> dict[str, NetworkPlan]:
    """Give the plans of the networks that ``models`` names; of all networks if it is null."""
    plans = settings.experiment.networks
    if settings.models is None:
        return plans
    for name in settings.models:
        one_of("models", name, plans)
    return {name: plan for name, plan in plans.items() if name in settings.models}


def _check_weights(experiment: Experiment, plans: dict[str, NetworkPlan]) -> None:
    """Raise UserError if files of weights are missing, before any work is done; name them all."""
    files = {name: experiment.file(plan) for name, plan in plans.items() if plan.has_file}
    missing = {name: file for name, file in files.items() if not file.is_file()}
    if missing:
        names = ", ".join(f"{file} ({name})" for name, file in missing.items())
        others = [name for name in plans if name not in missing] or ["NAME", "..."]
        raise UserError(
            f"no such weights: {names}; name their folder (experiment.weights=DIR), or only the "
            f"other rows (models=[{','.join(others)}])"
        )


def _run(step: Step, images: WhichImages, processes: Processes) -> None:
    """Run a command, unless its results exist. images: those to score."""
    if step.command == "train":  # skips a finished run, refuses one with other settings
        run_training(step.config, step.arguments)
        return
    if _is_scored(step, images):
        log.info("scored already: %s", step.folder)
        by_main(processes, lambda: finish_killed(step.folder))
        return
    run_evaluation(step.config, step.arguments)


def _wanted(step: Step) -> dict[str, Any]:
    """Give the settings of a ``cam-eval`` that decide what it finds and keeps.

    Of the network these are its name and what the command itself says of it: the rest may come from
    a checkpoint.
    """
    config: Any = OmegaConf.to_container(step.config, resolve=True)
    words = [word.lstrip("+") for word in step.arguments]
    named = {
        word.partition("=")[0].removeprefix("model.") for word in words if word.startswith("model.")
    }
    model = {key: value for key, value in config["model"].items() if key in {"name", *named}}
    return {**{key: config.get(key) for key in (*SCORING, *KEPT)}, "model": model}


def _is_scored(step: Step, images: WhichImages) -> bool:
    """Tell whether a ``cam-eval`` has its results. images: those to score."""
    return is_scored(step.folder, step.checkpoint, _wanted(step), images)


def _done(steps: list[Step], images: WhichImages) -> list[Step]:
    """List the steps that need not be run, and note how long each of them took."""
    done: list[Step] = []
    to_train = set()  # what is trained now has to be scored afterwards
    for step in steps:
        if step.command == "train":
            if is_complete(step.folder):
                step.seconds = read_train_manifest(step.folder).seconds
                done.append(step)
            else:
                to_train.add(step.model)
        elif step.model not in to_train and _is_scored(step, images):
            step.seconds = read_eval_manifest(step.folder).seconds
            done.append(step)
    return done


_REMEDY = "move them away, or choose another output="
"""What to do with results that a step would replace."""


def _refuse_to_replace(steps: list[Step], done: list[Step], images: WhichImages) -> None:
    """Raise UserError, before any work, where a step would replace other results that lie there.

    images: those to score.
    """
    left = [step for step in steps if step not in done]
    to_train = {step.model for step in left if step.command == "train"}
    for step in left:
        if step.command == "train" or not is_complete(step.folder):
            continue
        if step.model in to_train:
            raise UserError(
                f"{step.folder}: holds results of a network that is to be trained anew: {_REMEDY}"
            )
        weights = None if step.checkpoint is None else describe_weights(str(step.checkpoint))
        wanted = _wanted(step)
        refuse_to_replace(step.folder, wanted, images, weights, _REMEDY)


def _say_plan(name: str, experiment: Experiment, steps: list[Step], done: list[Step]) -> None:
    """Log what is to be done: a line for each network, with what is done and what is left."""
    log.info(
        "experiment %s%s: %d steps, %d done, %d left",
        name,
        f" ({experiment.takes})" if experiment.takes else "",
        len(steps),
        len(done),
        len(steps) - len(done),
    )
    by_model: dict[str, list[str]] = {}
    for step in steps:
        what = "train" if step.command == "train" else f"score {step.folder.name}"
        state = "done" if step in done else "left"
        by_model.setdefault(step.model, []).append(f"{what}: {state}")
    for model, states in by_model.items():
        log.info("  %-16s %s", model, ", ".join(states))


def _say_time_left(steps: list[Step], done: list[Step]) -> None:
    """Log how long the steps that are left take if each takes as long as the mean of its kind."""
    left = [step for step in steps if step not in done]
    seconds = 0.0
    for command in {step.command for step in left}:
        known = [each.seconds for each in done if each.command == command and each.seconds]
        if not known:
            return
        number = sum(step.command == command for step in left)
        seconds += number * sum(known) / len(known)
    if left:
        log.info(
            "%d of %d steps done; about %s left, by the mean of those done",
            len(done),
            len(steps),
            duration(seconds, to_minutes=True),
        )


def say_experiments(folders: Sequence[Path]) -> None:
    """Log every experiment that there is, with its data set, and how long it takes.

    folders: as for ``config.choices``. Raises UserError, because one has to be named.
    """
    names = choices("experiment", folders)
    log.info("cam-reproduce trains and scores every network of an experiment. There are:")
    for name in names:
        found = validate(OmegaConf.create({**compose_choice("experiment", name)}), Experiment)
        takes = f": {found.takes}" if found.takes else ""
        log.info("  %-19s %2d networks, data=%s%s", name, len(found.networks), found.data, takes)
    raise UserError("no experiment is named, so nothing was started: add experiment=NAME")


def _common(settings: ReproduceSettings, runs: str) -> list[str]:
    """List the arguments that all commands share: data set, loader, device, precision, runs.

    Those that have their default value are left out, except the data set.
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
    """Yield the commands for each network: its training, then its passes for each source.

    runs: folder of all runs. data: name of the data set, which is a folder there.
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
            yield Step("train", _understood("train", words), name, folder)
            start, checkpoint = [], folder / LAST  # cam-eval uses it by default
        methods = plan.saliency or {method: [] for method in _methods(name)}
        for (saliency, more), source in product(methods.items(), experiment.sources):
            view, rules = SOURCES[source].view, SOURCES[source].rules.values()
            words = [*arguments, *start, f"saliency={saliency}", f"view={view}"]
            words += [f"box=[{','.join([*rules, *experiment.boxes])}]", "split=val"]
            words += [*experiment.eval, *plan.eval, *more]
            folder = eval_folder(runs, data, run, "val", saliency, view)
            yield Step("eval", _understood("eval", words), name, folder, checkpoint)


def _understood(command: str, words: list[str]) -> list[str]:
    """Replace old words, which experiments of earlier versions have, and log which."""
    words, notes = renamed(command, words)
    for note in notes:
        log.warning("cam-%s: %s", command, note)
    return words


def _weights(
    experiment: Experiment, plan: NetworkPlan, config: Mapping[str, Any], runs: str, data: str
) -> str | None:
    """Give the value of ``model.weights`` that a network starts from.

    config: the network's settings. runs, data: where the run of its plain network is.
    """
    if plan.weights == FROM_PLAIN:
        plain = run_name({**config, "name": config["plain"]})
        return str(train_folder(runs, data, plain) / LAST)
    return str(experiment.file(plan)) if plan.has_file else plan.weights


def _methods(model: str) -> list[str]:
    """List the saliency methods that the tables show for a network; CAM if it is in no table."""
    return [saliency for name, saliency in runs_of_the_tables() if name == model] or ["cam"]


def _sum_up(steps: list[Step], folder: Path, seconds: float) -> None:
    """Log how long it took, and where tables, report and pictures are."""
    log.info("all in %s", duration(seconds))
    log.info("\ntables:   %s", folder / "tables")
    log.info("report:   %s", folder / PAGE)
    pictures = [s.folder / CONTACT_SHEET for s in steps if s.command == "eval"]
    curves = [s.folder / "curves.png" for s in steps if s.command == "train"]
    log.info("pictures: %s", "\n          ".join(str(p) for p in pictures + curves if p.is_file()))
