"""Every YAML composes, is valid, and builds what it names."""

import re
from dataclasses import fields
from itertools import pairwise, product
from pathlib import Path

import hydra
import numpy as np
import pytest
import torch
from hydra.utils import get_object, instantiate
from omegaconf import OmegaConf

from cam_repro.boxes.base import BoxRule, RankedMaps
from cam_repro.boxes.cues import CueRule
from cam_repro.commands.concept import ConceptSettings
from cam_repro.commands.data import DataCommandSettings
from cam_repro.commands.figures import FiguresSettings
from cam_repro.commands.generic import GenericSettings
from cam_repro.commands.report import ReportSettings
from cam_repro.commands.reproduce import FROM_PLAIN, ReproduceSettings, list_steps
from cam_repro.commands.score import ScoreSettings
from cam_repro.commands.show import ShowSettings
from cam_repro.commands.tables import TablesSettings
from cam_repro.commands.units import UnitsSettings
from cam_repro.config import build, build_named, choices, config_dir, validate
from cam_repro.data.augment import Augmentation
from cam_repro.data.settings import LoaderSettings
from cam_repro.data.views import build_view
from cam_repro.engine.settings import (
    CLASSIFICATION,
    EvalSettings,
    FeaturesSettings,
    TrainSettings,
)
from cam_repro.figures.base import RunFigure
from cam_repro.generic.partitions import Partition
from cam_repro.metrics.protocol import Needs, Protocol
from cam_repro.models import build_network
from cam_repro.models.base import CamNetwork
from cam_repro.models.build import complete
from cam_repro.objectives.build import objective_of
from cam_repro.objectives.gain import Gain
from cam_repro.quality.base import Measure
from cam_repro.quality.build import build_measures
from cam_repro.runs.folders import NO_MODEL, run_name
from cam_repro.saliency.build import saliency_of
from cam_repro.tables.paper import TABLES
from cam_repro.tables.sources import SOURCES
from cam_repro.words import compose

SCHEMAS = {
    "train": TrainSettings,
    "eval": EvalSettings,
    "features": FeaturesSettings,
    "generic": GenericSettings,
    "reproduce": ReproduceSettings,
    "data_command": DataCommandSettings,
    "tables": TablesSettings,
    "report": ReportSettings,
    "score": ScoreSettings,
    "figures": FiguresSettings,
    "show": ShowSettings,
    "units": UnitsSettings,
    "concept": ConceptSettings,
}
COMMANDS = sorted(path.stem for path in config_dir().glob("*.yaml") if path.stem != "base")


def names(group):
    found = choices(group)
    assert found, f"no configs/{group}"
    return found


GROUPS = sorted(path.name for path in config_dir().iterdir() if path.is_dir())


NETWORKS = [name for name in names("model") if name != NO_MODEL]
ADAPTED = ["efficientnet_lite0", "timm"]
"""Networks made elsewhere: they have no width, and norms of their own."""
NOT_TRAINABLE = ["ground_truth", "folder"]
"""Data sets of labels, sizes and boxes alone, or of one split."""
TRAINABLE = [name for name in names("data") if name not in NOT_TRAINABLE]


@pytest.fixture
def valid(compose_config):
    """Composes a command's configuration and checks it as the command does."""

    def valid(command, *words):
        return validate(compose_config(command, *words), SCHEMAS[command])

    return valid


def test_every_file_is_covered_here():
    assert set(GROUPS) == {
        *("model", "data", "optim", "augment", "loader", "recipe", "saliency", "view", "box"),
        *("protocol", "experiment", "figure", "quality", "cues", "train", "partition"),
    }
    assert set(COMMANDS) == set(SCHEMAS)


# --- networks


@pytest.mark.parametrize("name", NETWORKS)
def test_model(valid, name):
    for words in (["data=demo"], ["data=ilsvrc"]):
        more = ["model.timm=resnet18"] if name == "timm" else []
        if name in ADAPTED:
            more += ["recipe=ilsvrc"]
        model = complete(valid("train", f"model={name}", *words, *more).model)
        assert model["name"] == name
        assert model["input_size"] <= model["resize_size"]
        assert {model["weights"]} == {None}
        narrow = build_network(model if name in ADAPTED else {**model, "width": 0.05}, 3)
        assert isinstance(narrow, CamNetwork)
        assert narrow.norm_setting == model.get("norm", "none")
        size = model["input_size"]
        with torch.no_grad():
            logits = narrow.eval()(narrow.normalize(torch.zeros(1, 3, size, size).byte()))
        assert logits.shape == (1, 3)
        assert logits.isfinite().all()
    assert valid("eval", f"model={name}").model["name"] == name
    if model["plain"] is not None:
        assert model["plain"] in NETWORKS


def test_no_model_has_a_name_alone(valid):
    assert set(names("model")) - set(NETWORKS) == {"none"}
    for words in (["data=demo"], ["data=ilsvrc"], ["data=ground_truth"]):
        model = valid("eval", "model=none", *words).model
        assert model == {"name": "none", "row": "no model"}
        assert run_name(model) == NO_MODEL


def test_rows_of_the_tables_have_their_networks(compose_config):
    rows = {name: compose_config("eval", f"model={name}").model.row for name in names("model")}
    assert len(set(rows.values())) == len(rows)
    wanted = {run.model for table in TABLES for row in table.rows for run in row.wanted}
    assert wanted <= rows.keys()
    for row in TABLES[0].rows:
        assert rows[row.wanted[0].model] == row.name


# --- choices


@pytest.mark.parametrize("name", names("data"))
@pytest.mark.parametrize("command", ["train", "eval", "data_command"])
def test_data(valid, name, command):
    words = [f"data={name}", *(["model=nin"] if command == "train" else [])]
    settings = valid(command, *words)
    assert callable(get_object(settings.data["_target_"]))
    assert settings.loader == LoaderSettings()
    if command == "train" and name not in names("recipe"):
        assert settings.optim == valid(command, "model=nin", "data=ilsvrc").optim


@pytest.mark.parametrize("name", names("loader"))
@pytest.mark.parametrize("command", ["train", "eval", "data_command", "reproduce"])
def test_loader(valid, name, command):
    words = [f"loader={name}", "loader.workers=3", *(["model=nin"] if command == "train" else [])]
    assert valid(command, *words).loader.workers == 3


@pytest.mark.parametrize("name", names("augment"))
def test_augment(valid, name):
    settings = valid("train", "model=nin", f"augment={name}").augment
    assert settings.pop("name") == name
    augmentation = instantiate(settings, input_size=4, resize_size=6)
    assert isinstance(augmentation, Augmentation)
    view = augmentation.validation_view()
    assert (view.input_size, view.resize_size) == (4, 6)


@pytest.mark.parametrize("name", names("protocol"))
def test_protocol(valid, name):
    protocol = instantiate(valid("score", f"protocol={name}").protocol)
    assert isinstance(protocol, Protocol)
    assert protocol.name == name


@pytest.mark.parametrize("name", names("quality"))
def test_quality(valid, name):
    settings = valid("eval", f"quality=[{name}]").quality
    assert list(settings) == [name]
    assert isinstance(build_measures(settings)[name], Measure)
    protocol = instantiate(valid("score", f"protocol={name}").protocol)
    assert protocol.needs is Needs.ANSWERS


@pytest.mark.parametrize("name", names("cues"))
def test_cues(valid, name):
    assert valid("eval").cues is None
    rule = build(CueRule, "cues", valid("eval", f"cues={name}", "cues.threshold=0.3").cues)
    assert (rule.threshold, rule.conflicts) == (0.3, "smallest")


@pytest.mark.parametrize("name", names("partition"))
def test_partition(valid, name):
    settings = valid("generic", "features=a", f"partition={name}").partition
    partition = build(Partition, "partition", settings)
    assert partition.name == name
    assert partition.repeats >= 1


@pytest.mark.parametrize("name", names("figure"))
def test_figure(valid, name):
    settings = valid("figures", f"figure={name}", "runs=a").figure
    assert settings["name"] == name
    assert build_named(RunFigure, "figure", settings)[0] == name


@pytest.mark.parametrize("name", names("optim"))
def test_optim(valid, name):
    optim = valid("train", "model=nin", "data=ilsvrc", f"optim={name}").optim
    assert (optim.epochs is None) != (optim.iterations is None)
    expected = OmegaConf.load(config_dir() / "optim" / f"{name}.yaml")
    assert optim.schedule == expected.schedule
    assert optim.lr == expected.lr


@pytest.mark.parametrize("name", names("train"))
def test_train(valid, name):
    settings = valid("train", "model=nin", f"train={name}").train
    objective = objective_of(settings, label_smoothing=0.0)
    assert objective.name == name
    yaml = OmegaConf.load(config_dir() / "train" / f"{name}.yaml")
    assert settings == OmegaConf.to_container(yaml)
    if name == "classification":
        assert valid("train", "model=nin").train == settings == CLASSIFICATION


def test_the_settings_of_gain_are_those_of_its_class(valid):
    settings = valid("train", "model=nin", "train=gain").train
    defaults = {field.name: field.default for field in fields(Gain)}
    del defaults["label_smoothing"]
    assert {k: v for k, v in settings.items() if k not in ("_target_", "name")} == defaults


def networks_of(recipe, data):
    """Part the networks among the recipes, for each data set in another way."""
    ours = sorted(set(NETWORKS) - set(ADAPTED))
    return ours[(names("recipe").index(recipe) + TRAINABLE.index(data)) % N_RECIPES :: N_RECIPES]


N_RECIPES = len(names("recipe"))
MEETINGS = [
    (recipe, data, model)
    for recipe, data in product(names("recipe"), TRAINABLE)
    for model in networks_of(recipe, data)
]


@pytest.mark.parametrize("name", names("recipe"))
@pytest.mark.parametrize("data", TRAINABLE)
def test_recipe(valid, name, data):
    """Any two of a recipe, a data set and a network meet.

    Not all three in every combination: what a data set's file says is of ``data`` alone.
    """
    assert "@package" not in (config_dir() / "data" / f"{data}.yaml").read_text()
    for model in networks_of(name, data):
        settings = valid("train", f"model={model}", f"data={data}", f"recipe={name}")
        build_network({**settings.model, "width": 0.05}, 3)


@pytest.mark.parametrize("two", [(0, 1), (0, 2), (1, 2)], ids=str)
def test_every_two_of_recipes_data_sets_and_networks_meet(two):
    every = [set(each) for each in zip(*MEETINGS, strict=True)]
    ours = set(NETWORKS) - set(ADAPTED)
    assert every == [set(names("recipe")), set(TRAINABLE), ours]
    assert {(met[two[0]], met[two[1]]) for met in MEETINGS} == set(
        product(*(every[i] for i in two))
    )


@pytest.mark.parametrize("name", names("saliency"))
def test_saliency(valid, name):
    saliency = saliency_of(valid("eval", f"saliency={name}").saliency)
    assert saliency.name == name


@pytest.mark.parametrize("name", names("view"))
def test_view(valid, name):
    settings = valid("eval", f"view={name}").view
    view = build_view(settings, {"input_size": 4, "resize_size": 6})
    assert view.name == name
    assert view.merge(np.ones((view.n_crops, 2, 4, 4), np.float32)).shape[0] == 2


EXPECTED_BOXES = {
    "threshold": (8, 8, 23, 15),
    "gradcam": (8, 8, 23, 15),
    "heuristic": (8, 8, 23, 15),
    "graphcut": (8, 8, 23, 15),
    "dt_box": (8, 8, 24, 16),  # x + width, y + height, as the authors' script writes them
    "dt_box_heuristic": (8, 8, 24, 16),
    "whole_image": (0, 0, 31, 23),
    "center": (4, 3, 28, 21),
}


@pytest.mark.parametrize("name", names("box"))
def test_box(valid, name):
    rules = instantiate(valid("eval", f"box=[{name}]").box)
    assert list(rules) == [name]
    assert isinstance(rules[name], BoxRule)
    map_HW = np.zeros((24, 32), np.float32)
    map_HW[8:16, 8:24] = 1  # whole blocks of 8 pixels: the same after dt_box's JPEG
    image_HW3 = np.zeros((24, 32, 3), np.uint8)
    image_HW3[8:16, 8:24] = (255, 128, 0)
    guesses = rules[name](RankedMaps([7], map_HW[None], 32, 24, image_HW3))
    assert guesses[0] == (7, EXPECTED_BOXES[name])


def test_all_boxes_in_one_pass(valid):
    every = ",".join(names("box"))
    box = valid("eval", f"box=[{every}]").box
    assert list(instantiate(box)) == names("box")
    assert list(valid("eval").box) == ["threshold", "heuristic"]
    assert list(valid("eval", "box=center").box) == ["center"]
    assert list(valid("eval", "box=[center, threshold]").box) == ["center", "threshold"]
    changed = instantiate(valid("eval", "box.threshold.threshold=0.3").box)
    assert changed["threshold"].threshold == 0.3
    assert changed["heuristic"].loose == 0.2


# --- experiments


@pytest.mark.parametrize("name", names("experiment"))
def test_experiment(name):
    words = [f"experiment={name}", "data.root=/data"] if name != "demo" else []
    words.append("experiment.weights=/weights")
    with hydra.initialize_config_dir(str(config_dir()), version_base="1.3"):
        settings = validate(hydra.compose("reproduce", words), ReproduceSettings)
        experiment = settings.experiment
        assert experiment.data in names("data")
        assert set(experiment.networks) <= set(NETWORKS)
        assert experiment.sources
        assert set(experiment.sources) <= SOURCES.keys()
        assert set(experiment.boxes) <= set(names("box"))
        steps = list(list_steps(settings, experiment.networks, "runs", "set"))
        trained = []
        for step in steps:
            cfg = compose(step.command, step.arguments)
            line = validate(cfg, SCHEMAS[step.command])
            assert line.model["name"] == step.model
            assert line.data == {**line.data, **({"root": "/data"} if name != "demo" else {})}
            if step.command == "train":
                build_network({**line.model, "width": 0.05}, 3)
                weights = experiment.networks[step.model].weights
                if weights == FROM_PLAIN:
                    # Its plain network comes first, and lies where it is looked for.
                    assert line.model["plain"] in trained
                    assert line.model["weights"] == f"runs/set/{line.model['plain']}/train/last.pt"
                elif weights not in (None, "torchvision", "package"):
                    assert line.model["weights"] == f"/weights/{weights}"
                trained.append(step.model)
            else:
                assert step.model in trained or line.model["weights"] is not None
                assert line.view["name"] in {SOURCES[r].view for r in experiment.sources}
                assert set(line.box) <= set(names("box"))
                parts = step.folder.parts
                assert parts[:4] == ("runs", "set", run_name(line.model), "eval")
        scored = {step.model for step in steps if step.command == "eval"}
        assert scored == set(experiment.networks)


def test_a_network_is_scored_by_the_methods_that_its_plan_names():
    with hydra.initialize_config_dir(str(config_dir()), version_base="1.3"):
        words = ["experiment=gradcam_table", "data.root=/data"]
        settings = validate(hydra.compose("reproduce", words), ReproduceSettings)
        steps = list(list_steps(settings, settings.experiment.networks, "runs", "set"))
        configs = [compose(step.command, step.arguments) for step in steps]
    assert [(step.command, step.folder.as_posix()) for step in steps] == [
        ("eval", "runs/set/vgg/eval/val-backprop"),
        ("eval", "runs/set/vgg/eval/val-cmwp"),
        ("eval", "runs/set/vgg/eval/val-gradcam"),
        ("train", "runs/set/vgg_gap/train"),
        ("eval", "runs/set/vgg_gap/eval/val-cam"),
    ]
    assert [config.saliency.get("layer") for config in configs[:3]] == [None, "features.23", None]
    assert [config.save_maps for config in configs[:3]] == [False, True, False]
    assert all(set(config.box) == {"threshold", "heuristic", "gradcam"} for config in configs[:3])


def test_the_demo_fills_every_row_that_something_here_can_run():
    with hydra.initialize_config_dir(str(config_dir()), version_base="1.3"):
        settings = validate(hydra.compose("reproduce"), ReproduceSettings)
        steps = list(list_steps(settings, settings.experiment.networks, "runs", "demo"))
    scored = {step.folder for step in steps if step.command == "eval"}
    for table in TABLES:
        for row in table.rows:
            folders = {
                Path("runs", "demo", run.model, "eval", f"val-{run.saliency}") for run in row.wanted
            }
            assert not folders or folders & scored, row.name


# --- commands


@pytest.mark.parametrize("command", COMMANDS)
def test_command_defaults(valid, command):
    needed = {
        "train": ["model=nin"],
        "score": ["submission=a", "ground_truth=b"],
        "figures": ["runs=runs"],
        "show": ["image=a"],
        "features": ["model=nin"],
        "units": ["model=nin"],
        "generic": ["features=a", "test=b"],
        "concept": ["positives=a", "negatives=b", "model=nin"],
    }
    settings = valid(command, *needed.get(command, []))
    assert settings.output == ("shown" if command == "show" else None)
    assert getattr(settings, "runs", "runs") == "runs"


@pytest.mark.parametrize(
    "command", ["train", "eval", "reproduce", "data_command", "show", "features", "generic"]
)
def test_every_key_is_explained(command):
    text = (config_dir() / f"{command}.yaml").read_text().split("\nhydra:")[0]
    lines = [line for line in text.splitlines() if re.match(r"(\w|  - )", line)]
    keys = [line for line in lines if not re.match(r"(defaults:|  - (base|_self_)$)", line)]
    assert len(keys) > 3
    for line in keys:
        assert re.search(r"\s# \w", line), f"configs/{command}.yaml: {line}"


def test_a_network_states_its_own_alone():
    """What it leaves out comes from _about.yaml and _base.yaml, which explain those keys once."""
    files = [config_dir() / "model" / f"{name}.yaml" for name in ("_about", "_base")]
    base = OmegaConf.merge(*map(OmegaConf.load, files))
    for name in NETWORKS:
        own = OmegaConf.load(config_dir() / "model" / f"{name}.yaml")
        assert "_self_" in own.pop("defaults")
        again = {key for key in own if key in base and own[key] == base[key]}
        assert again <= {"dropout"}, "0 is said where the paper's other networks have some"


def test_bases_of_other_files_are_not_named_as_choices(command):
    (error,) = command("train", "model=alexnett").errors
    assert set(NETWORKS) <= set(re.findall(r"\w+", error))
    assert "_base" not in error


@pytest.mark.parametrize("group", sorted(set(GROUPS) - {"experiment", "recipe"}))
def test_every_key_of_a_group_is_explained(group):
    bases = sorted((config_dir() / group).glob("_*.yaml"))
    in_base = {"defaults"}.union(*(OmegaConf.load(base) for base in bases))
    for name in [*names(group), *(base.stem for base in bases)]:
        if group == "optim" and name != "step":
            continue  # the others change values of step's
        lines = (config_dir() / group / f"{name}.yaml").read_text().splitlines()
        assert lines[0].startswith("# "), f"configs/{group}/{name}.yaml says first what it is"
        for before, line in pairwise(lines):
            if before.endswith(", ..."):
                continue  # one comment goes on over several keys
            if not name.startswith("_") and line.split(":")[0] in in_base:
                continue  # explained there
            plain = re.match(
                r"(_target_|defaults|name|seed|n_\w+|lr|momentum|iterations|label_smoothing): ",
                line,
            )
            if re.match(r"\w+:", line) and not plain:
                assert re.search(r"\s# (\.\.\. )?\w", line), f"configs/{group}/{name}.yaml: {line}"


@pytest.mark.parametrize("command_name", ["train", "eval", "reproduce", "data", "score"])
def test_help_lists_the_choices_and_the_users_own(command, tmp_path, command_name):
    config = "data_command" if command_name == "data" else command_name
    defaults = OmegaConf.load(config_dir() / f"{config}.yaml").defaults
    groups = {next(iter(each)).split()[-1] for each in defaults if OmegaConf.is_dict(each)}
    groups |= {"box", "quality"} if command_name == "eval" else set()
    for group in groups:
        (tmp_path / group).mkdir()
        (tmp_path / group / "of_mine.yaml").write_text("{}")
        (tmp_path / group / "_part.yaml").write_text("{}")
    done = command(command_name, "--config-dir", str(tmp_path), "--help")
    assert done.status == 0, done.err
    said = done.out.partition("Choices:\n")[2].partition("Settings as they are now")[0]
    listed = {
        line[0]: line[1:]
        for line in (text.split() for text in re.split(r"\n  (?=\w)", f"\n{said}"))
        if line
    }
    assert {group: sorted([*names(group), "of_mine"]) for group in groups} == listed
    assert max(map(len, said.splitlines())) <= 100
