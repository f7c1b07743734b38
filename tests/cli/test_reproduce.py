"""cam-reproduce on an experiment of two small networks: what is done is not done again."""

import json
import shlex

import pandas as pd
import pytest
import torch

torch.set_num_threads(1)

EXPERIMENT = """
data: ilsvrc
train: [model.width=0.05, model.input_size=64, model.resize_size=72,
        optim.iterations=6, optim.batch_size=4, tensorboard=false]
eval: [contact_sheet=2]
networks:
  alexnet: {train: [optim.lr=0.01]}
  # A rate so small that nothing moves: what it ends with is what it started from.
  alexnet_gap: {weights: plain, train: [optim.lr=1e-30]}
"""
LAYERS = [f"features.{number}" for number in (0, 3, 6, 8, 10)]


@pytest.fixture
def reproduce(command, tmp_path, tiny_tree):
    folder = tmp_path / "mine" / "experiment"
    folder.mkdir(parents=True)
    (folder / "mini.yaml").write_text(EXPERIMENT)

    def run(*words):
        return command(
            *("reproduce", "--config-dir", str(tmp_path / "mine"), "experiment=mini"),
            *(f"data.root={tiny_tree}", "data.workers=0", "device=cpu", *words),
        )

    return run


def written(folder):
    return {
        str(path.relative_to(folder)): path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file() and path.parent.name != "tables"
    }


def commands_in(text):
    """The command lines announced as [1/4] cam-train ..."""
    return [line.split("] ", 1)[1] for line in text.splitlines() if line.startswith("[")]


def test_everything_once_then_nothing_again(reproduce, tmp_path):
    first = reproduce()
    assert first.status == 0, first.err
    runs = tmp_path / "runs" / "tiny"
    results = written(runs)
    assert {name for name in results if name.endswith("manifest.json")} == {
        "alexnet/train/manifest.json",
        "alexnet/eval/val-backprop/manifest.json",
        "alexnet_gap/train/manifest.json",
        "alexnet_gap/eval/val-cam/manifest.json",
    }
    assert [shlex.split(line)[:2] for line in commands_in(first.err)] == [
        ["cam-train", "model=alexnet"],
        ["cam-eval", "model=alexnet"],
        ["cam-train", "model=alexnet_gap"],
        ["cam-eval", "model=alexnet_gap"],
    ]

    # The tables and the summary hold the scores.
    scores = json.loads((runs / "alexnet_gap/eval/val-cam/scores.json").read_text())
    table = pd.read_csv(runs / "tables" / "table1.csv").set_index("Networks")
    top1 = scores["cls"]["top1"]
    assert table.loc["AlexNet-GAP", "top-1 val. error"] == pytest.approx(top1, abs=0.005)
    assert table["top-1 val. error"].notna().sum() == 2
    summary = [line.split() for line in first.err.splitlines() if line.startswith("alexnet_gap  ")]
    assert summary[-1][1:3] == ["cam", f"{top1:.2f}"]
    assert str(runs.relative_to(tmp_path) / "tables") in first.err
    assert "alexnet_gap/eval/val-cam/contact_sheet.png" in first.err

    # The GAP network started from the layers that it shares with its plain one, and says so.
    plain, gap = (
        torch.load(runs / name / "train" / "last.pt", weights_only=True)["model"]
        for name in ("alexnet", "alexnet_gap")
    )
    for layer in LAYERS:
        assert torch.equal(plain[f"{layer}.weight"], gap[f"{layer}.weight"])
    log = (runs / "alexnet_gap" / "train" / "train.log").read_text()
    lines = [line.split(" ", 2)[2].split() for line in log.splitlines() if "   " in line]
    assert [words[1] for words in lines if words[0] == "taken"] == LAYERS
    assert [words[1] for words in lines if words[0] == "left"] == ["cam_conv.conv", "cam_fc"]
    assert {words[2] for words in lines if words[:2] == ["not", "used"]} == {
        *("classifier.1", "classifier.4", "classifier.6")
    }

    second = reproduce()
    assert second.status == 0, second.err
    assert written(runs) == results
    assert commands_in(second.err) == commands_in(first.err)
    assert second.err.count("is trained already") == 2
    assert second.err.count("scored already") == 2
    assert second.out == first.out  # the tables again


def test_only_what_is_missing_or_stale_is_done(reproduce, command, tmp_path):
    assert reproduce().status == 0
    runs = tmp_path / "runs" / "tiny"
    before = written(runs)
    (runs / "alexnet/eval/val-backprop/manifest.json").unlink()
    assert reproduce().status == 0
    changed = {name for name, time in written(runs).items() if before.get(name) != time}
    assert {name.rsplit("/", 1)[0] for name in changed} == {"alexnet/eval/val-backprop"}

    # Another checkpoint: its old result is no longer one.
    last = runs / "alexnet_gap/train/last.pt"
    state = torch.load(last, weights_only=True)
    state["model"]["cam_fc.weight"].neg_()
    torch.save(state, last)
    before = written(runs)
    assert reproduce().status == 0
    changed = {name for name, time in written(runs).items() if before[name] != time}
    assert {name.rsplit("/", 1)[0] for name in changed} == {"alexnet_gap/eval/val-cam"}


def test_some_of_the_networks_in_another_folder(reproduce, tmp_path):
    done = reproduce("models=[alexnet]", "output=elsewhere", "seed=3")
    assert done.status == 0, done.err
    names = {path.name for path in (tmp_path / "elsewhere" / "tiny").iterdir()}
    assert names == {"alexnet", "tables"}
    manifest = tmp_path / "elsewhere/tiny/alexnet/train/manifest.json"
    assert json.loads(manifest.read_text())["config"]["seed"] == 3
    assert not (tmp_path / "runs").exists()


def test_a_gap_network_without_its_plain_one(reproduce):
    done = reproduce("models=[alexnet_gap]")
    assert done.status == 1
    assert len(done.errors) == 1
    assert "runs/tiny/alexnet/train/last.pt" in done.errors[0]


def test_other_settings_are_not_taken_for_done(reproduce):
    assert reproduce("models=[alexnet]").status == 0
    done = reproduce("models=[alexnet]", "seed=1")
    assert done.status == 1
    assert "seed: 0 there, 1 now" in done.errors[0]
