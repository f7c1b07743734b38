"""``cam-units``, from the command line to the figure and its table."""

import csv

import pytest
import torch
from PIL import Image

from cam_repro.commands import units
from cam_repro.config import compose_choice
from cam_repro.engine.checkpoint import save_checkpoint
from cam_repro.models.build import build_network

BOX = ("x", "y", "x0", "y0", "x1", "y1")


@pytest.fixture
def words(tiny_tree, tmp_path):
    """Words for ``cam-units`` that name a network of three classes, and images."""
    sizes = {"width": 0.05, "input_size": 64, "resize_size": 72}
    config = {**compose_choice("model", "alexnet_gap"), **sizes}
    torch.manual_seed(0)
    state = {"optimizer": {}, "progress": {}, "identity": "", "model_config": config}
    state["model"] = build_network(config, 3).state_dict()
    state["classes"] = ["n00001000", "n00001010", "n00001020"]
    save_checkpoint(tmp_path / "net.pt", state)
    weights = f"model.weights={tmp_path}/net.pt"
    return [
        *("model=alexnet_gap", weights, "data=ilsvrc", f"data.root={tiny_tree}"),
        *("loader.workers=0", "device=cpu"),
    ]


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_figure_and_a_table_of_the_trained_network(command, words, tmp_path):
    made = command("units", *words, "units=2", "count=3", "output=there/units.png")
    assert made.status == 0, made.err
    assert "drawn: there/units.png, and as a table: there/units.csv" in made.err
    rows = rows_of(tmp_path / "there" / "units.csv")
    assert list(dict.fromkeys(row["name"] for row in rows)) == ["class 0", "class 1", "class 2"]
    for index in range(3):
        of_class = [row for row in rows if row["class"] == str(index)]
        units = list(dict.fromkeys((row["unit"], float(row["weight"])) for row in of_class))
        assert len(units) == 2
        assert units[0][1] >= units[1][1] > 0
        for unit, _ in units:
            active = [row for row in of_class if row["unit"] == unit]
            assert [row["rank"] for row in active] == ["1", "2", "3"]
            maxima = [float(row["maximum"]) for row in active]
            assert maxima == sorted(maxima, reverse=True)
            for row in active:
                x, y, x0, y0, x1, y1 = (int(row[key]) for key in BOX)
                assert 0 <= x0 <= x <= x1 < 32
                assert 0 <= y0 <= y <= y1 < 24
                assert row["image"].startswith("ILSVRC2012_val_0000000")
    with Image.open(tmp_path / "there" / "units.png") as figure:
        assert figure.height > figure.width / 2


def test_one_class_by_its_name(command, words, tmp_path):
    made = command("units", *words, "class=class 1", "output=one.svg")
    assert made.status == 0, made.err
    assert {row["class"] for row in rows_of(tmp_path / "one.csv")} == {"1"}
    text = (tmp_path / "one.svg").read_text()
    assert ">class 1<" in text
    assert ">class 0<" not in text
    assert "AlexNet-GAP: the units of each class, and where they are most active" in text
    assert "of the 6 images of tiny, val" in text


def test_of_a_network_of_many_classes_some_are_named(command, words, monkeypatch):
    monkeypatch.setattr(units, "MOST_CLASSES", 2)
    (error,) = command("units", *words).errors
    assert error == (
        "error: the network has 3 classes, and all are shown of up to 2 alone: name those to show, "
        "as class=[A,B]"
    )
    assert command("units", *words, "class=[0,2]").status == 0


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["class=class 7"], "class class 7: the network has no class of this name"),
        (["units=0"], "units=0: must be 1 or more"),
        (["count=-1"], "count=-1: must be 1 or more"),
        (["threshold=1"], "threshold=1.0: must be a share"),
        (["output=units.gif"], "end its name so"),
        (["split=wall"], "split=wall"),
        (["model.weights=x.pt"], "there is no such file"),
        (["class=[]"], "no class is left to show"),
        (["class=[dog"], "the argument 'class=[dog' cannot be read"),
    ],
)
def test_mistakes_end_in_one_line_and_leave_nothing(command, words, tmp_path, more, message):
    made = command("units", *words, *more)
    assert made.status == 1
    (error,) = made.errors
    assert message in error
    assert not list(tmp_path.glob("units.*"))


def test_the_network_that_was_trained_on_the_data_is_taken(command, words, tiny_run):
    assert command("train", *tiny_run, "runs=runs").status == 0
    made = command("units", words[0], *words[2:], "class=0", "runs=runs")
    assert made.status == 0, made.err
    assert "weights runs/tiny/alexnet_gap/train/last.pt" in made.err


def test_a_network_without_cam_is_refused(command, words, tiny_run):
    plain = ["model=alexnet", "model.width=0.05", "model.input_size=64", "model.resize_size=72"]
    trained = [word for word in tiny_run if not word.startswith("model")]
    assert command("train", *plain, *trained, "runs=runs").status == 0
    made = command("units", "model=alexnet", *words[2:])
    assert made.errors == [
        "error: model=alexnet: has no units of a class, as it has no linear layer over pooled maps:"
        " choose a network with CAM, such as googlenet_gap"
    ]


def test_no_network_is_named(command):
    (error,) = command("units").errors
    assert "model is not given: add model=NAME" in error
