"""Mistakes in a user's own YAML or class end in one line, and cost no results that are there."""

import sys

import pytest

from cam_repro.boxes.build import build_rules
from cam_repro.cli.messages import one_line
from cam_repro.engine.resume import run_identity
from cam_repro.engine.settings import TrainSettings
from cam_repro.errors import UserError
from cam_repro.saliency.build import saliency_of

SQUASH_CROP = "cam_repro.data.augment.SquashCrop"


@pytest.fixture
def train(command, tiny_run, tmp_path):
    """Trains for one iteration into ``out``, with YAML files of the folder ``mine``."""
    words = [*tiny_run, "data.cache=null", "optim.iterations=1", "output=out"]

    def run(*more):
        return command("train", *words, "--config-dir", str(tmp_path / "mine"), *more)

    (tmp_path / "mine" / "augment").mkdir(parents=True)
    return run


def own_augment(tmp_path, name, text):
    (tmp_path / "mine" / "augment" / f"{name}.yaml").write_text(text)


@pytest.mark.parametrize(
    ("text", "words", "said"),
    [
        ("name: a\n", [], "augment._target_ is not given: name a class in its YAML"),
        (f"_target_: {SQUASH_CROP}\n", [], "augment.name is not given: state the NAME of"),
        (
            "_target_: cam_repro.data.views.Squash\nname: a\n",
            [],
            "augment._target_=cam_repro.data.views.Squash: is no Augmentation; derive the class",
        ),
        (
            f"_target_: {SQUASH_CROP}\nname: a\n",
            ["+augment.foo=1"],
            "error: augment.foo: SquashCrop has no such setting",
        ),
    ],
)
def test_a_wrong_augmentation_costs_no_old_run(train, tmp_path, text, words, said):
    assert train().status == 0
    before = {path: path.read_bytes() for path in (tmp_path / "out").glob("*.*")}
    own_augment(tmp_path, "a", text)
    done = train("augment=a", *words, "overwrite=true")
    assert done.status == 1
    assert len(done.errors) == 1, done.err
    assert said in done.errors[0]
    after = {path: path.read_bytes() for path in before if path.suffix != ".log"}
    assert after == {path: before[path] for path in after}


def test_a_run_is_known_by_the_class_of_its_augmentation(train, tmp_path):
    own_augment(tmp_path, "a", f"_target_: {SQUASH_CROP}\nname: same\n")
    own_augment(tmp_path, "b", "_target_: cam_repro.data.augment.RandomResizedCrop\nname: same\n")
    assert train("augment=a").status == 0
    done = train("augment=b")
    assert done.status == 1
    assert "holds a run with other settings (augment._target_: " in done.errors[0]


def test_the_built_in_augmentations_are_known_by_name_as_in_earlier_checkpoints():
    class Set:
        name, fingerprint = "s", "f"

    settings = TrainSettings(
        model={"name": "nin"}, augment={"_target_": SQUASH_CROP, "name": "squash_crop"}
    )
    assert run_identity(settings, Set())["augment"] == "squash_crop"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"center": 0.5}, r"^box\.center=0\.5: a setting of a box rule is box\.center\.KEY=VALUE$"),
        ({"mine": {"scale": 1}}, r"^box\.mine\._target_ is not given"),
        (
            {"mine": {"_target_": "pathlib.Path"}},
            r"^box\.mine\._target_=pathlib\.Path: is no BoxRule; derive the class from",
        ),
    ],
)
def test_what_is_no_box_rule(settings, said):
    with pytest.raises(UserError, match=said):
        build_rules(settings)


NETWORK = """# @package _global_
model:
  _target_: cam_repro.models.nin.Nin
  name: nin
hydra:
  {}
"""
MAKE = "{_target_: pathlib.Path.mkdir, self: {_target_: pathlib.Path, _args_: [made]}}"
LOG = "{version: 1, handlers: {h: {(): pathlib.Path.mkdir, self: made}}, root: {handlers: [h]}}"


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        (f"callbacks: {{one: {MAKE}}}", "hydra.callbacks is set, by which code could be called"),
        (f"job_logging: {LOG}", "hydra.job_logging.root is set, by which code could be called"),
        (f"hydra_logging: {LOG}", "hydra.hydra_logging.root is set, by which code"),
        ("job: {env_set: {PYTHONPATH: .}}", "hydra.job.env_set is set, by which code"),
        ("run: {dir: made}", "hydra.run.dir is set, by which code could be called or files"),
        ("output_subdir: made", "hydra.output_subdir is set, by which code could be called or"),
        ("launcher: {_target_: pathlib.Path}", "hydra.launcher=pathlib.Path: is none of Hydra's"),
        ("sweeper: {_target_: pathlib.Path}", "hydra.sweeper=pathlib.Path: is none of Hydra's"),
    ],
)
def test_a_network_of_somebodys_cannot_make_hydra_call_a_function(command, tmp_path, setting, said):
    (tmp_path / "mine" / "model").mkdir(parents=True)
    (tmp_path / "mine" / "model" / "calls.yaml").write_text(NETWORK.format(setting))
    done = command("train", "model=calls", "--config-dir", str(tmp_path / "mine"))
    (error,) = done.errors
    assert error.startswith(f"error: {said}")
    assert error.endswith("remove it")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_two_yamls_may_use_one_saliency_class():
    target = "cam_repro.saliency.backprop.Backprop"
    one = saliency_of({"_target_": target, "name": "raw", "blur": 0})
    two = saliency_of({"_target_": target, "name": "smooth", "blur": 0.1})
    assert (one.name, one.blur, two.name, two.blur) == ("raw", 0, "smooth", 0.1)


SET = """
from cam_repro.classes import classes_of
from cam_repro.data.image_set import ImageSet
from cam_repro.data.images import ImageFiles
from cam_repro.data.sources import DataSource
from cam_repro.truth import RaggedBoxes
import numpy as np
from pathlib import Path


class Own(DataSource):
    def __init__(self, name, label=0, pixels=True):
        self.name, self.label, self.pixels = name, label, pixels

    def open(self, split, with_boxes=True):
        names = ["a.png"]
        return ImageSet(
            name=self.name, split=split, folder=Path("."), classes=classes_of(["x", "y"]),
            ids=names, labels_N=np.array([self.label]), boxes=RaggedBoxes.none(1),
            store=ImageFiles(Path("."), names) if self.pixels else None,
        )
"""


@pytest.fixture
def own_set(tmp_path, monkeypatch):
    (tmp_path / "own_set_module.py").write_text(SET)
    folder = tmp_path / "mine" / "data"
    folder.mkdir(parents=True)
    (folder / "own.yaml").write_text("_target_: own_set_module.Own\nname: own\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return ["--config-dir", str(folder.parent), "data=own"]


def test_images_without_a_label_are_not_trained_on(command, own_set):
    done = command("train", *own_set, "model=alexnet", "+data.label=-1", "optim.iterations=1")
    assert done.status == 1
    assert "not all train images have a label, which training needs" in done.errors[0]


def test_a_set_without_pixels_is_not_checked(command, own_set):
    done = command("data", "check", *own_set, "+data.pixels=false")
    assert done.status == 1
    assert "cam-data needs a data set with images" in done.errors[0]


def test_an_experiment_with_old_words_and_one_with_wrong_ones(command, tmp_path, tiny_tree):
    folder = tmp_path / "mine" / "experiment"
    folder.mkdir(parents=True)
    text = "data: ilsvrc\ntrain: [optim.iterations=1]\neval: [{}]\nnetworks: {{alexnet: {{}}}}\n"
    words = ["--config-dir", str(folder.parent), "experiment=old", f"data.root={tiny_tree}"]
    (folder / "old.yaml").write_text(text.format("box.threshold=0.3, box.nonsense.x=1"))
    done = command("reproduce", *words)
    assert done.status == 1
    assert "cam-eval: box.threshold is called box.threshold.threshold now" in done.err
    assert done.errors == [
        "error: there is no setting 'box.nonsense.x': --help lists them (cam-eval has those of "
        "each rule, box.NAME.KEY with box=[NAME,...])"
    ]
    assert not (tmp_path / "runs").exists() or not list((tmp_path / "runs").rglob("*.pt"))


PARTS = """
import torch
from torch import nn

from cam_repro.boxes.base import BoxRule
from cam_repro.models.base import PooledNetwork


class Forgets(PooledNetwork):
    minimum_input = 32
    class_layer_name = "fc"

    def __init__(self, num_classes):
        self.fc = nn.Linear(4, num_classes)

    def _extract(self, x_NCHW):
        return x_NCHW


class Lacks(PooledNetwork):
    minimum_input = 32


class Misfits(PooledNetwork):
    minimum_input = 32
    class_layer_name = "fc"

    def __init__(self, num_classes):
        super().__init__(num_classes, 1.0, "none", 0.0)
        self.conv = nn.Conv2d(3, 5, 3, padding=1)
        self.fc = nn.Linear(4, num_classes)

    def _extract(self, x_NCHW):
        return self.conv(x_NCHW)


class Narrow(PooledNetwork):
    minimum_input = 32

    def __init__(self):
        pass

    def _extract(self, x_NCHW):
        return x_NCHW


class Wants(BoxRule):
    def __init__(self, size):
        self.size = size

    def __call__(self, maps):
        return []


class Divides(BoxRule):
    needs_maps = False

    def __call__(self, maps):
        return 1 / 0
"""


@pytest.fixture
def own_parts(tiny_run, tmp_path, monkeypatch):
    """Writes a module and YAML files; gives the words that name them and the module's file."""
    module = tmp_path / "own_parts_module.py"
    module.write_text(PARTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "own_parts_module", raising=False)
    for group, names in {
        "model": ("Forgets", "Misfits", "Lacks", "Narrow"),
        "box": ("Divides", "Wants"),
    }.items():
        folder = tmp_path / "mine" / group
        folder.mkdir(parents=True)
        for name in names:
            text = f"_target_: own_parts_module.{name}\n"
            if group == "model":
                text += f"name: {name.lower()}\nrow: R\ninput_size: 32\nresize_size: 32\n"
            (folder / f"{name.lower()}.yaml").write_text(text)
    data = [word for word in tiny_run if not word.startswith("model.")]
    return [*data, "--config-dir", str(tmp_path / "mine")], module


def for_command(name, words):
    """Leave out the words of training if the command is another."""
    starts = () if name == "train" else ("optim.", "tensorboard")
    return [word for word in words if not word.startswith(starts)]


def line_of(module, text):
    lines = module.read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


def test_an_error_in_ones_own_code_is_one_line_that_names_the_place(command, own_parts):
    words, module = own_parts
    done = command("train", *words, "model=forgets")
    assert done.status == 1
    line = line_of(module, "self.fc = ")
    (said,) = done.errors
    assert said.startswith(
        f"error: {module}, line {line}, in __init__: AttributeError: cannot assi"
    )
    assert said.endswith("(HYDRA_FULL_ERROR=1 shows more)")
    assert "Traceback" not in done.err


def test_parts_of_ones_own_network_that_do_not_fit_are_one_line(command, own_parts):
    words, _ = own_parts
    done = command("train", *words, "model=misfits")
    assert done.status == 1
    (said,) = done.errors
    assert said.startswith("error: Misfits: it fails on an image of 32x32 pixels (")
    assert said.endswith("shapes cannot be multiplied (1x5 and 4x3))")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["train", "model=narrow"],
            "model: Narrow: got an unexpected keyword argument 'num_classes': its __init__ must",
        ),
        (["train", "model=lacks"], "model._target_=own_parts_module.Lacks: the class lacks _extr"),
        (
            ["eval", "model=none", "box=wants"],
            "box.wants: Wants: missing a required argument: 'size': state it in the YAML",
        ),
    ],
)
def test_what_a_class_of_ones_own_lacks_is_named(command, own_parts, words, said):
    (name, *words), (shared, _) = words, own_parts
    (error,) = command(name, *for_command(name, shared), *words).errors
    assert error.startswith(f"error: {said}")


def test_an_error_in_ones_own_box_rule_is_one_line(command, own_parts):
    words, module = own_parts
    done = command("eval", *for_command("eval", words), "model=none", "box=divides")
    assert done.status == 1
    line = line_of(module, "1 / 0")
    place = f"error: {module}, line {line}, in __call__: ZeroDivisionError: division by zero"
    assert done.errors == [f"{place} (HYDRA_FULL_ERROR=1 shows more)"]


@pytest.fixture
def own_and_installed(tmp_path):
    """A file of one's own and one of an installed package."""
    own, installed = tmp_path / "mine.py", tmp_path / "site-packages" / "theirs.py"
    for file in (own, installed):
        file.parent.mkdir(exist_ok=True)
        file.touch()
    return own, installed


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        (ValueError, "ValueError: a: b", "ValueError: a: b"),
        (ValueError, "ValueError: no ValueError: x", "ValueError: no ValueError: x"),
        (ValueError, "ValueError: two\nlines", "ValueError: two lines"),
        (AssertionError, "AssertionError", "AssertionError"),
        (OSError, "PIL.OSError: cannot read", "OSError: cannot read"),
    ],
)
def test_an_error_in_a_worker_names_the_place_in_ones_own_code(own_and_installed, kind, text, said):
    own, installed = own_and_installed
    way = f'  File "{own}", line 3, in read\n  File "{installed}", line 9, in open\n'
    head = (
        f"Caught {kind.__name__} in DataLoader worker process 0.\nOriginal Traceback (most recent"
    )
    of_worker = f"{head} call last):\n{way}{text}\n"
    place = f"{own}, line 3, in read"
    assert one_line(kind(of_worker)) == f"{place}: {said} (HYDRA_FULL_ERROR=1 shows more)"
    assert one_line(kind(of_worker.replace(str(own), "nowhere.py"))) is None


def raised_in(file, error):
    """The error, raised by a function of a file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("def fail(error):\n    raise error\n")
    made = {}
    exec(compile(file.read_text(), str(file), "exec"), made)
    try:
        made["fail"](error)
    except Exception as raised:
        raised.__traceback__ = raised.__traceback__.tb_next  # not this file
        return raised


@pytest.mark.parametrize(
    ("folder", "is_own"),
    [
        ("here", True),
        ("lib/site-packages", False),
        ("torchinductor_me/ab", False),
        ("cache", False),
    ],
)
def test_whose_code_failed(tmp_path, monkeypatch, folder, is_own):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    file = tmp_path / folder / "code.py"
    for error in (TimeoutError("no answer"), RuntimeError("")):
        said = f"{type(error).__name__}: {error}".removesuffix(": ")
        place = f"{file}, line 2, in fail: {said} (HYDRA_FULL_ERROR=1 shows more)"
        assert one_line(raised_in(file, error)) == (place if is_own else None)
