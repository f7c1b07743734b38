"""cam-reproduce on an experiment of two small networks: what is done is not done again."""

import json
import shlex
from collections import Counter

import hydra
import pandas as pd
import pytest
import torch

from cam_repro.commands.reproduce import ReproduceSettings, list_steps
from cam_repro.config import config_dir, validate
from cam_repro.words import compose

EXPERIMENT = """
data: ilsvrc
train: [model.width=0.05, model.input_size=64, model.resize_size=72,
        optim.iterations=6, optim.batch_size=4, tensorboard=false]
eval: [examples=2]
boxes: [whole_image]
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
            *(f"data.root={tiny_tree}", "loader.workers=0", "device=cpu", *words),
        )

    return run


@pytest.fixture
def reproduced(reproduce, once, tmp_path):
    """Has alexnet trained and scored before; once for all tests."""

    def make():
        done = reproduce("models=[alexnet]")
        assert done.status == 0, done.err

    once(tmp_path / "runs", make, "reproduced")


def written(folder):
    return {
        str(path.relative_to(folder)): path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file() and path.parent.name != "tables" and path.name != "report.html"
    }


def commands_in(text):
    """The command lines announced as [1/4] cam-train ..."""
    return [line.split("] ", 1)[1] for line in text.splitlines() if line.startswith("[")]


def test_everything_once_then_nothing_again(reproduce, tmp_path, monkeypatch):
    composed = []

    def seen(command, words):
        composed.append((command, *words))
        return compose(command, words)

    monkeypatch.setattr("cam_repro.commands.reproduce.compose", seen)
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

    # The tables hold the scores.
    scores = json.loads((runs / "alexnet_gap/eval/val-cam/scores.json").read_text())
    table = pd.read_csv(runs / "tables" / "table1.csv").set_index("Networks")
    top1 = scores["cls"]["top1"]
    assert table.loc["AlexNet-GAP", "top-1 val. error"] == pytest.approx(top1, abs=0.005)
    assert table["top-1 val. error"].notna().sum() == 2
    every = pd.read_csv(runs / "tables" / "runs.csv")
    assert every[["network", "maps", "view", "box"]].apply("-".join, axis=1).tolist() == [
        *(f"alexnet-backprop-squash-{box}" for box in ("threshold", "heuristic", "whole_image")),
        *(f"alexnet_gap-cam-squash-{box}" for box in ("threshold", "heuristic", "whole_image")),
    ]
    loc = scores["loc"]["heuristic"]["top5"]
    assert every["loc top-5"][4] == pytest.approx(loc, abs=0.005)
    assert "\n**All runs**: data set tiny, split val, n = 6." in first.out
    assert str(runs.relative_to(tmp_path) / "tables") in first.err
    assert "\nreport:   runs/tiny/report.html\n" in first.err
    page = (runs / "report.html").read_text()
    assert f"{top1:.2f} <small>" in page
    assert page.count('<figure class="picture">') > 4
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
    lines = [words for words in lines if "layers)" not in words and "cam_conv.conv," not in words]
    assert [words[1] for words in lines if words[0] == "taken"] == LAYERS
    assert [words[1] for words in lines if words[0] == "left"] == ["cam_conv.conv", "cam_fc"]
    assert {words[2] for words in lines if words[:2] == ["not", "used"]} == {
        *("classifier.1", "classifier.4", "classifier.6")
    }

    # The settings of each command were composed once, for all that asks for them.
    assert set(Counter(composed).values()) == {1}
    assert sum(len(words) > 5 for words in composed) == 4

    scored = runs / "alexnet_gap" / "eval" / "val-cam"
    (scored / ".pass").mkdir()  # as if killed before the last step of a pass
    (scored / ".lock").touch()
    second = reproduce()
    assert second.status == 0, second.err
    assert written(runs) == results
    assert not (scored / ".pass").exists()
    assert commands_in(second.err) == commands_in(first.err)
    assert first.err.splitlines()[:3] == [
        "experiment mini: 4 steps, 0 done, 4 left",
        f"  {'alexnet':16} train: left, score val-backprop: left",
        f"  {'alexnet_gap':16} train: left, score val-cam: left",
    ]
    assert "2 of 4 steps done; about 1 min left, by the mean of those done" in first.err
    assert second.err.splitlines()[0] == "experiment mini: 4 steps, 4 done, 0 left"
    assert "steps done; about" not in second.err
    assert second.err.count("is trained already") == 2
    assert second.err.count("scored already") == 2
    assert second.out == first.out  # the tables again


def test_only_what_is_missing_is_done(reproduce, command, tmp_path):
    assert reproduce().status == 0
    runs = tmp_path / "runs" / "tiny"
    before = written(runs)
    (runs / "alexnet/eval/val-backprop/manifest.json").unlink()
    assert reproduce().status == 0
    changed = {name for name, time in written(runs).items() if before.get(name) != time}
    assert {name.rsplit("/", 1)[0] for name in changed} == {"alexnet/eval/val-backprop"}

    # Another checkpoint: what was scored of the one before is not replaced without a word.
    last = runs / "alexnet_gap/train/last.pt"
    state = torch.load(last, weights_only=True)
    state["model"]["cam_fc.weight"].neg_()
    torch.save(state, last)
    before = written(runs)
    refused = reproduce()
    assert refused.status == 1
    assert "val-cam: holds results that this pass would replace (other weights:" in refused.err
    assert written(runs) == before

    # Nor where the network is to be trained anew.
    (runs / "alexnet_gap/train/manifest.json").unlink()
    (runs / "alexnet/eval/val-backprop/manifest.json").unlink()
    refused = reproduce()
    assert refused.status == 1
    assert "val-cam: holds results of a network that is to be trained anew" in refused.err
    assert not commands_in(refused.err), "known before anything is run"


def test_some_of_the_networks_in_another_folder(reproduce, tmp_path):
    done = reproduce("models=[alexnet]", "output=elsewhere", "seed=3")
    assert done.status == 0, done.err
    names = {path.name for path in (tmp_path / "elsewhere" / "tiny").iterdir()}
    assert names == {"alexnet", "tables", "report.html"}
    manifest = tmp_path / "elsewhere/tiny/alexnet/train/manifest.json"
    assert json.loads(manifest.read_text())["config"]["seed"] == 3
    assert not (tmp_path / "runs").exists()


def test_a_gap_network_without_its_plain_one(reproduce):
    done = reproduce("models=[alexnet_gap]")
    assert done.status == 1
    assert len(done.errors) == 1
    assert "runs/tiny/alexnet/train/last.pt" in done.errors[0]


@pytest.mark.usefixtures("reproduced")
def test_other_settings_are_not_taken_for_done(reproduce):
    done = reproduce("models=[alexnet]", "seed=1")
    assert done.status == 1
    assert "seed: 0 there, 1 now" in done.errors[0]


def test_both_sources_side_by_side(reproduce, tmp_path):
    done = reproduce("models=[alexnet]", "experiment.sources=[paper,authors]")
    assert done.status == 0, done.err
    assert [line.partition(" saliency=")[2] for line in commands_in(done.err)[1:]] == [
        "backprop view=squash 'box=[threshold,heuristic,whole_image]' split=val examples=2",
        "backprop view=ten 'box=[dt_box,dt_box_heuristic,whole_image]' split=val examples=2",
    ]
    tables = tmp_path / "runs" / "tiny" / "tables"
    side = pd.read_csv(tables / "table2_sources.csv").set_index("Method")
    line = side.loc["Backprop on AlexNet"].iloc[0]
    assert line["paper run"] == "tiny/alexnet/eval/val-backprop"
    assert line["authors run"] == "tiny/alexnet/eval/val-backprop-ten"
    assert line["authors settings"] == "model.variant=torchvision"
    assert line["authors - paper"] == pytest.approx(line["authors"] - line["paper"], abs=0.01)
    assert (tables / "table2_authors.csv").is_file()

    # The paper's results are done already; what is there of both is shown.
    again = reproduce("models=[alexnet]")
    assert again.status == 0, again.err
    assert again.err.count("scored already") == 1
    assert again.out == done.out


def test_unknown_sources(reproduce):
    done = reproduce("experiment.sources=[paper,talk]")
    assert done.errors == ["error: experiment.sources=talk: choose one of paper, authors"]


def test_a_variant_has_folders_of_its_own(reproduce, tmp_path):
    done = reproduce("experiment.variant=caffe")
    assert done.status == 0, done.err
    runs = tmp_path / "runs" / "tiny"
    names = {path.name for path in runs.iterdir()}
    assert names == {"alexnet_caffe", "alexnet_gap_caffe", "tables", "report.html"}
    assert all("model.variant=caffe" in shlex.split(line) for line in commands_in(done.err))
    assert sum("model.weights=" in line for line in commands_in(done.err)) == 1
    weights = "model.weights=runs/tiny/alexnet_caffe/train/last.pt"
    assert weights in shlex.split(commands_in(done.err)[2])
    manifest = json.loads((runs / "alexnet_gap_caffe/eval/val-cam/manifest.json").read_text())
    assert manifest["model"] == "alexnet_gap_caffe"
    assert manifest["config"]["model"]["variant"] == "caffe"


def test_weights_that_are_not_there_are_named_before_anything_is_done(command, tmp_path):
    (tmp_path / "w").mkdir()
    for name in ("bvlc_reference_caffenet", "bvlc_googlenet", "nin_imagenet"):
        (tmp_path / "w" / f"{name}.caffemodel").touch()
    words = ["reproduce", "experiment=authors", "data.root=/nowhere", "experiment.weights=w"]
    done = command(*words)
    assert (done.status, done.errors) == (
        1,
        [
            "error: no such weights: w/VGG_ILSVRC_16_layers.caffemodel (vgg), "
            "w/alexnetplusCAM_imagenet.caffemodel (alexnet_star_gap), "
            "w/vgg16CAM_train_iter_90000.caffemodel (vgg_gap), "
            "w/imagenet_googlenetCAM_train_iter_120000.caffemodel (googlenet_gap); name their "
            "folder (experiment.weights=DIR), or only the other rows "
            "(models=[alexnet,googlenet,nin,alexnet_gap,googlenet_gmp])"
        ],
    )
    done = command(*words, "models=[alexnet,googlenet,nin,alexnet_gap,googlenet_gmp]")
    assert "data.root=/nowhere: no such folder" in done.errors[0]
    done = command(*words, "models=[vgg]")
    assert done.errors[0].endswith("or only the other rows (models=[NAME,...])")


def test_the_experiments_by_either_source():
    """What each trains, scores and starts from, as command lines."""

    def lines(name):
        with hydra.initialize_config_dir(str(config_dir()), version_base="1.3"):
            words = [f"experiment={name}", "data.root=/d", "experiment.weights=/w"]
            settings = validate(hydra.compose("reproduce", words), ReproduceSettings)
            steps = list(list_steps(settings, settings.experiment.networks, "runs", "ilsvrc"))
        common = ("data=ilsvrc", "data.root=/d", "split=val", "seed=0", "recipe=ilsvrc")
        return [
            " ".join([step.command, *(word for word in step.arguments if word not in common)])
            + f" -> {step.folder.relative_to('runs/ilsvrc')}"
            for step in steps
        ]

    paper, authors = lines("paper"), lines("authors")
    boxes = "view=squash box=[threshold,heuristic]"
    assert [line for line in paper if "vgg" in line] == [
        f"eval model=vgg model.weights=torchvision saliency=backprop {boxes} -> "
        "vgg/eval/val-backprop",
        "train model=vgg_gap model.weights=torchvision -> vgg_gap/train",
        f"eval model=vgg_gap saliency=cam {boxes} -> vgg_gap/eval/val-cam",
    ]
    caffe, boxes = "model.variant=caffe", "view=ten box=[dt_box,dt_box_heuristic]"
    files = {
        "alexnet": ("bvlc_reference_caffenet", ["backprop"]),
        "vgg": ("VGG_ILSVRC_16_layers", ["backprop"]),
        "googlenet": ("bvlc_googlenet", ["cam", "backprop"]),
        "nin": ("nin_imagenet", ["cam"]),
        "alexnet_star_gap": ("alexnetplusCAM_imagenet", ["cam"]),
        "vgg_gap": ("vgg16CAM_train_iter_90000", ["cam"]),
        "googlenet_gap": ("imagenet_googlenetCAM_train_iter_120000", ["cam"]),
    }
    expected = [
        f"eval model={name} {caffe} model.weights=/w/{file}.caffemodel saliency={maps} {boxes} -> "
        f"{name}_caffe/eval/val-{maps}-ten"
        for name, (file, methods) in files.items()
        for maps in methods
    ]
    released = {"alexnet_gap": "bvlc_reference_caffenet", "googlenet_gmp": "bvlc_googlenet"}
    for name, file in released.items():
        expected += [
            f"train model={name} {caffe} model.weights=/w/{file}.caffemodel -> {name}_caffe/train",
            f"eval model={name} {caffe} saliency=cam {boxes} -> {name}_caffe/eval/val-cam-ten",
        ]
    assert sorted(authors) == sorted(expected)


@pytest.mark.usefixtures("reproduced")
def test_other_weights_under_the_same_name_do_not_replace_results(reproduce, command, tmp_path):
    weights = tmp_path / "weights"
    weights.mkdir()
    last = tmp_path / "runs" / "tiny" / "alexnet" / "train" / "last.pt"
    state = torch.load(last, weights_only=True)
    torch.save(state, weights / "their.pt")
    words = ["models=[alexnet]", f"experiment.weights={weights}", "output=elsewhere"]
    words += ["+experiment.networks.alexnet.weights=their.pt"]
    words += ["+experiment.networks.alexnet.trained=false"]
    first = reproduce(*words)
    assert first.status == 0, first.err
    (line,) = commands_in(first.err)
    assert f"model.weights={weights / 'their.pt'}" in shlex.split(line)
    assert "scored already" not in first.err
    assert "scored already" in reproduce(*words).err
    state["model"]["classifier.6.bias"].add_(torch.tensor([0.0, 0.0, 9.0]))
    torch.save(state, weights / "their.pt")
    refused = reproduce(*words)
    assert refused.status == 1
    assert "would replace (other weights: " in refused.errors[0]
    assert not commands_in(refused.err), "known before anything is run"
    done = command(*shlex.split(line.removeprefix("cam-")), "overwrite=true")
    assert done.status == 0, done.err
    assert "scored already" in reproduce(*words).err


@pytest.mark.usefixtures("reproduced")
def test_maps_cues_and_answers_that_are_wanted_are_made_and_kept(reproduce, tmp_path):
    also = '"save_maps=true","cues=sec","quality=[average_drop]"'
    words = ["models=[alexnet]", f'experiment.eval=["examples=0",{also}]']
    folder = tmp_path / "runs" / "tiny" / "alexnet" / "eval" / "val-backprop"
    for number in (1, 2, 3):  # without the last of them, results are not those wanted
        some = ",".join(also.split(",")[:number])
        made = reproduce("models=[alexnet]", f'experiment.eval=["examples=0",{some}]')
        assert made.status == 0, made.err
        names = ("maps", "cues", "quality_average_drop.parquet")
        assert [(folder / name).exists() for name in names] == [i < number for i in range(3)]
    assert "scored already" in reproduce(*words).err
    more = reproduce(*words, "experiment.boxes=[whole_image,center]")
    assert more.status == 0, more.err
    assert (folder / "submission_center.txt").is_file()
    assert (folder / "maps").is_dir()
    other = reproduce(*words, 'experiment.eval=["save_maps=true","model.resize_size=80"]')
    assert other.status == 1
    assert "other settings of model.resize_size" in other.errors[0]
    assert other.errors[0].endswith(": move them away, or choose another output=")
    assert not commands_in(other.err), "known before anything is run"
