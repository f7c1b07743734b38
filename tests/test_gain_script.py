"""scripts/gain.py: its commands are valid, its tables say what the runs say."""

import argparse
import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
from run_builder import RIGHT

from cam_repro.config import validate
from cam_repro.engine.settings import EvalSettings, TrainSettings
from cam_repro.geometry import inside_boxes

ROOT = Path(__file__).parents[1]


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    yield importlib.import_module("gain")
    sys.modules.pop("gain")


def experiment(script, **changes):
    given = {"root": Path("/data"), "runs": Path("r"), "quick": False, "weights": []}
    seeds = {"seeds": [0, 1, 2], "ablation_seeds": [0]}
    return script.experiment_of(argparse.Namespace(**given | seeds | changes))


def test_every_command_is_valid(script, compose_config):
    commands = list(experiment(script).commands())
    schemas = {"train": TrainSettings, "eval": EvalSettings}
    settings = [validate(compose_config(c, *words), schemas[c]) for c, *words in commands]
    trainings = [each for each in settings if isinstance(each, TrainSettings)]
    # Of each set the training to start from, two variants with three seeds, and six with one.
    assert len(trainings) == 2 * (1 + 2 * 3 + 6)
    assert len(commands) == 2 * len(trainings) - 2
    for each in trainings:
        assert each.objective.name == each.train["name"]
    tuned = [each for each in trainings if each.model["weights"] is not None]
    for name, iterations in (("demo", 124), ("tinyimagenet40", 150)):
        of_set = [each for each in tuned if f"r/{name}/" in each.output]
        assert {each.model["weights"] for each in of_set} == {f"r/{name}/trained/train/last.pt"}
        assert len({each.output for each in of_set}) == len(of_set) == 12
        # But for the seed and what is minimised, all are the same training.
        assert {each.optim.iterations for each in of_set} == {iterations}
        assert len({str((each.optim, each.model, each.augment, each.data)) for each in of_set}) == 1
    masks = {each.train["masks"] for each in tuned if each.train["name"] == "gain"}
    assert masks == {"none", "masks", "boxes"}


def test_a_trained_network_is_not_trained_again(script, tmp_path):
    (tmp_path / "w.pt").touch()
    given = experiment(script, root=None, weights=[f"demo={tmp_path}/w.pt"])
    commands = list(given.commands())
    assert all("model.weights=" in " ".join(words) for words in commands)
    assert f"model.weights={tmp_path}/w.pt" in commands[0]
    for wrong in (f"tinyimagnet40={tmp_path}/w.pt", f"{tmp_path}/w.pt", "demo=gone.pt"):
        with pytest.raises(SystemExit, match=rf"^error: --weights {wrong}: DATA=FILE, DATA one of"):
            experiment(script, root=None, weights=[wrong])
    with pytest.raises(SystemExit, match=r"^error: --quick uses the built-in set alone"):
        experiment(script, quick=True)
    assert "data.n_train=36" in next(iter(experiment(script, quick=True, root=None).commands()))


def test_numbers_and_their_paired_differences(script, make_run):
    mask_HW = inside_boxes([RIGHT], 20, 20).astype(np.float32)
    folders = []
    for name, cls_right, loc_right in (("labels", 1, 2), ("gain", 3, 2)):
        folder = make_run("nin", folder=name, cls_right=cls_right, loc_right=loc_right, maps=True)
        (folder / "maps").mkdir()
        for i in range(4):
            right = i < loc_right + (name == "gain")
            np.save(folder / "maps" / f"image{i:05d}.npy", mask_HW if right else 1 - mask_HW)
        folders.append(folder)
    plain, gain = folders
    alone = script.numbers(plain, None)
    assert [alone[name] for name in script.NUMBERS] == [75, 75, 50, 50]
    assert alone["cls top-1 change"] is None
    cells = script.numbers(gain, plain)
    assert cells["images"] == 4
    assert [cells[name] for name in script.NUMBERS] == [25, 50, 50, 75]
    assert [cells[f"{name} change"] for name in script.NUMBERS] == [-50, -25, 0, 25]
    assert (cells["energy in box change from"], cells["energy in box change to"]) == (0, 75)
    assert (cells["GT-known change from"], cells["GT-known change to"]) == (0, 0)


def test_the_page_has_each_seed_and_their_mean(script):
    def row(variant, seed, value, change):
        against = None if change is None else "labels"
        cells = {"data": "demo", "variant": variant, "seed": seed, "against": against}
        for name in script.NUMBERS:
            cells[name] = value
            ends = (None, None) if change is None else (change - 1, change + 2)
            for end, number in zip(("", " from", " to"), (change, *ends), strict=True):
                cells[f"{name} change{end}"] = number
        return {**cells, "images": 500, "train seconds": 60.4}

    rows = [row("labels", 0, 20.0, None), row("gain", 0, 18.0, -2.0), row("gain", 1, 19.0, 1.0)]
    lines = script.in_markdown(rows).splitlines()
    assert "## demo, 500 images" in lines
    found = [[cell.strip() for cell in line.split("|")[1:5]] for line in lines if "| " in line]
    assert found[1:] == [
        ["labels", "", "0", "20.0"],
        ["gain", "labels", "0", "18.0 (-2.0, -3.0 to +0.0)"],
        ["gain", "labels", "1", "19.0 (+1.0, +0.0 to +3.0)"],
        ["gain", "labels", "mean", "18.5, 18.0 to 19.0 (-0.5)"],
    ]
