import json
import logging
import re

import pytest
import torch
from omegaconf import OmegaConf

from cam_repro.config import config_dir


@pytest.fixture
def plain(command, tiny_run, tmp_path):
    """A trained AlexNet at ``runs/tiny/alexnet``."""
    done = command("train", *tiny_run, "model=alexnet", "optim.iterations=1")
    assert done.status == 0, done.err
    return tmp_path / "runs" / "tiny" / "alexnet" / "train" / "last.pt"


def test_results_go_to_the_data_sets_folder_and_are_named(command, tiny_run, tmp_path):
    done = command("train", *tiny_run, "optim.iterations=1")
    assert done.status == 0, done.err
    folder = tmp_path / "runs" / "tiny" / "alexnet_gap" / "train"
    assert (folder / "manifest.json").is_file()
    assert "  runs/tiny/alexnet_gap/train/last.pt" in done.err.splitlines()
    assert "  runs/tiny/alexnet_gap/train/curves.png" in done.err.splitlines()
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
    assert done.out == ""


def test_the_warmup_of_a_recipe_is_shortened_to_a_short_run(command, tiny_run, tmp_path):
    """One that the user gives is refused (test_bad_input.py)."""
    done = command("train", *tiny_run, "recipe=demo", "optim.epochs=null", "optim.iterations=10")
    assert done.status == 0, done.err
    said = "optim.warmup=20, the recipe's, is longer than the run of 10 iterations: 1 instead"
    assert said in done.err.splitlines()
    folder = tmp_path / "runs" / "tiny" / "alexnet_gap" / "train"
    assert json.loads((folder / "manifest.json").read_text())["config"]["optim"]["warmup"] == 1
    again = command("train", *tiny_run, "recipe=demo", "optim.epochs=null", "optim.iterations=10")
    assert again.status == 0, again.err
    assert "trained already" in again.err


@pytest.mark.parametrize("is_link", [False, True])
def test_validation_on_training_images_is_said(command, tiny_run, make_tree, tmp_path, is_link):
    train = make_tree(tmp_path / "tree") / "ILSVRC/Data/CLS-LOC/train"
    (tmp_path / "link").symlink_to(train)
    val = tmp_path / "link" if is_link else train
    words = [word for word in tiny_run if not word.startswith("data")]
    words += ["data=ilsvrc", f"data.root={tmp_path}/tree", f"data.train={train}", f"data.val={val}"]
    done = command("train", *words, "data.cache=null")
    assert done.status == 0, done.err
    said = rf"12 of 12 validation images are training images too, such as {val}/n\d+/\w+\.JPEG"
    (line,) = [line for line in done.err.splitlines() if re.match(said, line)]
    assert line.endswith(": the validation error says nothing of other images")
    assert "training images too" not in command("train", *tiny_run).err


def test_the_log_file_lists_every_layer_taken_and_left(command, tiny_run, plain):
    done = command("train", *tiny_run, f"model.weights={plain}", "optim.lr=1e-30")
    assert done.status == 0, done.err
    assert f"weights {plain}: 5 layers taken, 2 not in the file" in done.err
    before, after = (
        torch.load(path, weights_only=True)["model"]
        for path in (plain, plain.parents[2] / "alexnet_gap" / "train" / "last.pt")
    )
    log = (plain.parents[2] / "alexnet_gap" / "train" / "train.log").read_text().splitlines()
    listed = [line.split(" ", 2)[2] for line in log if line[:2] == "20"]
    assert listed[0].startswith("cam-train model=alexnet_gap ")
    assert listed[1].startswith("data set tiny: 3 classes, 12 train images in ")
    for number in (0, 3, 6, 8, 10):
        assert f"  taken      features.{number}" in listed
        for part in ("weight", "bias"):
            name = f"features.{number}.{part}"
            assert torch.equal(before[name], after[name])
    assert {
        "  left       cam_conv.conv (not in the file)",
        "  left       cam_fc (not in the file)",
        "  not used   classifier.6 (in the file)",
    } <= set(listed)
    assert [line for line in done.err.splitlines() if line.startswith("  ")][:3] == [
        "  taken      features.0-10 (5 layers)",
        "  left       cam_conv.conv, cam_fc (not in the file)",
        "  not used   classifier.1-6 (3 layers) (in the file)",
    ]


def test_layers_of_another_shape_are_left_with_a_word(command, tiny_run):
    # conv5 of AlexNet*-GAP has half as many units again as that of AlexNet.
    words = [*tiny_run, "model.width=0.25", "optim.iterations=1"]
    assert command("train", *words, "model=alexnet", "output=plain").status == 0
    done = command("train", *words, "model=alexnet_star_gap", "model.weights=plain/last.pt")
    assert done.status == 0, done.err
    assert (
        "4 layers taken, 3 not in the file and left at their initial values, 1 of another shape"
        in done.err
    )
    left = "  left       features.10.weight (64x64x3x3 in the file, 96x64x3x3 in the network)"
    assert left in done.err.splitlines()


def test_the_recipe_is_that_of_the_data_set_unless_given(compose_config):
    demo = compose_config("train", "model=vgg_gap")
    recipe = OmegaConf.load(config_dir() / "recipe" / "demo.yaml")
    for group in ("model", "optim"):
        assert {key: demo[group][key] for key in recipe[group]} == recipe[group]
    assert demo.model.width < 1
    real = compose_config("train", "model=vgg_gap", "data=ilsvrc")
    assert (real.model.width, real.model.norm, real.model.input_size) == (1.0, "none", 224)
    assert (real.optim.schedule, real.optim.lr, real.optim.step) == ("step", 0.001, 40000)
    assert (real.optim.iterations, real.optim.batch_size, real.optim.bias_lr) == (160000, 64, 2.0)
    mixed = compose_config("train", "model=vgg_gap", "recipe=ilsvrc", "model.width=0.5")
    assert (mixed.model.width, mixed.optim.schedule) == (0.5, "step")
    # A word of the user's wins over the recipe.
    assert compose_config("train", "model=vgg_gap", "model.width=0.5").model.width == 0.5


def test_root_logger_is_left_alone_by_the_fixture(command):
    """The fixture that runs commands here must not take pytest's log handlers away."""
    before = list(logging.getLogger().handlers)
    assert command("train").status == 1
    assert logging.getLogger().handlers == before
