"""The data sets that people use, in their own forms, through all commands."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from cam_repro.classes import ilsvrc_classes
from cam_repro.config import compose_choice
from cam_repro.models import build_network

COMPUTING = ["loader.workers=0", "device=cpu", "precision=fp32"]
BY_BOXES = ["gt_known", "max_box_acc", "max_box_acc_v2", "pointing_game", "energy_in_box"]


@pytest.fixture
def imagenette(tmp_path):
    """A mock of imagenette2, which is a tree of classes as torchvision wants it, with its CSV."""
    root = tmp_path / "imagenette2-160"
    for number, wnid in enumerate(("n01440764", "n02102040", "n03888257")):
        for split, name in (("train", f"{wnid}_36"), ("val", "ILSVRC2012_val_0000{}293")):
            for i in (1, 2):
                path = root / split / wnid / f"{name.format(number)}{i}.JPEG"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (40, 30), (80 * number, 90 * i, 0)).save(path)
    (root / "noisy_imagenette.csv").write_text("path,noisy_labels_0,is_valid\n")
    return ["data=ilsvrc", f"data.root={root}", "data.cache=null"]


@pytest.fixture
def through(command, tiny_run, tmp_path):
    """Checks and packs a data set, trains on it for 2 iterations, and scores that network."""

    def run(name, data, *words):
        checked = command("data", "check", *data)
        assert (checked.status, checked.errors) == (0, []), checked.err
        packed = command("data", "pack", *data, f"output={tmp_path / 'packed'}", "size=32")
        assert packed.status == 0, packed.err
        own = [word for word in tiny_run if not word.startswith(("data", "optim"))]
        trained = command("train", *own, *data, "optim.iterations=2", "optim.batch_size=2")
        assert trained.status == 0, trained.err
        done = command("eval", *data, *COMPUTING, "save_maps=true", *words)
        assert done.status == 0, done.err
        split = next((word[6:] for word in words if word.startswith("split=")), "val")
        return tmp_path / "runs" / name / "alexnet_gap" / "eval" / f"{split}-cam"

    return run


def scores(command, folder, protocols, *words):
    """The JSON of each protocol, of a run."""
    found = {}
    for protocol in protocols:
        done = command("score", f"protocol={protocol}", f"submission={folder}", *words)
        assert done.status == 0, done.err
        found[protocol] = json.loads(done.out)
    return found


def test_cub(make_cub, through, command):
    data = ["data=cub", f"data.root={make_cub()}"]
    folder = through("cub", data)
    found = scores(command, folder, BY_BOXES)
    assert found["gt_known"]["n_images"] == found["energy_in_box"]["n_images"] == 3
    alone = command("score", "protocol=max_box_acc_v2", f"maps={folder / 'maps'}", *data)
    assert alone.status == 0, alone.err
    assert json.loads(alone.out)["mean"] == found["max_box_acc_v2"]["mean"]
    tests = command("eval", *data, *COMPUTING, "split=test", "model=alexnet_gap")
    assert tests.status == 0, tests.err


def test_metadata_with_boxes(make_wsol, through, command):
    data = make_wsol("CUB")
    folder = through("cub", data, "split=test")
    found = scores(command, folder, BY_BOXES)
    assert found["gt_known"]["n_images"] == found["energy_in_box"]["n_images"] == 4
    metadata = f"ground_truth={data[2].partition('=')[2]}/test"
    alone = command("score", "protocol=max_box_acc", f"maps={folder / 'maps'}", metadata)
    assert alone.status == 0, alone.err
    assert json.loads(alone.out)["max_box_acc"] == found["max_box_acc"]["max_box_acc"]


def test_metadata_with_masks(make_wsol, through, command):
    data = make_wsol("OpenImages")
    folder = through("openimages30k", data, "split=test")
    pxap = scores(command, folder, ["pxap"], *data, "split=test")["pxap"]
    assert pxap["n_images"] == 4
    root, metadata = (word.partition("=")[2] for word in data[1:])
    words = [f"ground_truth={metadata}/test", f"masks={root}"]
    alone = command("score", "protocol=pxap", f"maps={folder / 'maps'}", *words)
    assert alone.status == 0, alone.err
    assert json.loads(alone.out)["pxap"] == pxap["pxap"]


def test_tiny_imagenet(make_tiny, through, command):
    folder = through("tiny-imagenet-200", ["data=tiny_imagenet", f"data.root={make_tiny()}"])
    assert scores(command, folder, BY_BOXES)["gt_known"]["n_images"] == 4


def test_imagenette_is_a_tree_of_ilsvrc(imagenette, through):
    folder = through("imagenette2-160", imagenette)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["data"]["n_classes"] == 3
    assert manifest["data"]["class_names"] == ["tench", "English springer", "parachute"]


@pytest.fixture
def of_ilsvrc(tmp_path):
    """A file of weights of a small network with ILSVRC's 1,000 outputs, and its network."""
    torch.manual_seed(0)
    words = {"name": "alexnet_gap", "width": 0.05, "input_size": 64, "resize_size": 72}
    network = build_network({**compose_choice("model", "alexnet_gap"), **words}, 1000)
    torch.save(network.state_dict(), tmp_path / "ilsvrc.pth")
    model = [f"model={words['name']}"] + [f"model.{k}={v}" for k, v in words.items() if k != "name"]
    return [*model, f"model.weights={tmp_path / 'ilsvrc.pth'}"]


def best(folder):
    """The classes of each image, best first, and the probability of each."""
    table = pq.read_table(folder / "predictions.parquet", columns=["classes", "probabilities"])
    return table.to_pydict()


def test_a_network_of_1000_classes_on_a_part_of_them(command, imagenette, of_ilsvrc, tmp_path):
    """Refused with both remedies: all its outputs compete, or those of the data set alone."""
    words = [*imagenette, *COMPUTING, *of_ilsvrc]
    (refused,) = command("eval", *words).errors
    assert refused.endswith(
        "class layer cam_fc has 1000 classes, the data set has 3; if they are among ILSVRC's, "
        "model.take_classes=true takes their outputs alone, or data.classes=ilsvrc all 1,000"
    )
    taken = command("eval", *words, "model.take_classes=true", "output=taken")
    assert taken.status == 0, taken.err
    assert "of their 1,000 classes the data set's 3 are taken; the others do not" in taken.err
    every = command("eval", *words, "data.classes=ilsvrc", "output=every", "save_maps=true")
    assert every.status == 0, every.err
    manifest = json.loads((tmp_path / "taken" / "manifest.json").read_text())
    assert manifest["config"]["model"]["take_classes"] is True
    state = torch.load(tmp_path / "ilsvrc.pth", weights_only=True)
    rows = [ilsvrc_classes().index_of(w) for w in ("n01440764", "n02102040", "n03888257")]
    state["cam_fc.weight"] = state["cam_fc.weight"][rows]
    torch.save(state, tmp_path / "ilsvrc.pth")
    alone = command("eval", *words, "output=alone")
    assert alone.status == 0, alone.err
    assert best(tmp_path / "taken") == best(tmp_path / "alone")
    assert all(max(row) >= 3 for row in best(tmp_path / "every")["classes"])
    assert all(sorted(row) == [0, 1, 2] for row in best(tmp_path / "taken")["classes"])


def test_classes_that_are_not_among_those_of_the_weights(command, make_cub, of_ilsvrc):
    words = ["data=cub", f"data.root={make_cub()}", *COMPUTING, *of_ilsvrc]
    done = command("eval", *words, "model.take_classes=true")
    assert done.errors[0].endswith(
        "has no class 001.Black_footed_Albatross (3 of the 3 of cub are not among its 1,000)"
    )


def test_a_checkpoint_of_more_classes(command, imagenette, tiny_run, tmp_path):
    """Its classes are known by name: those of another data set are taken from it."""
    own = [word for word in tiny_run if not word.startswith(("data", "optim"))]
    trained = command("train", *own, *imagenette, "optim.iterations=2", "optim.batch_size=2")
    assert trained.status == 0, trained.err
    root = tmp_path / "imagenette2-160"
    for split in ("train", "val"):
        (root / split / "n01440764").rename(tmp_path / split)
    weights = tmp_path / "runs" / "imagenette2-160" / "alexnet_gap" / "train" / "last.pt"
    words = [*imagenette, *COMPUTING, "model=alexnet_gap", f"model.weights={weights}", "output=two"]
    (refused,) = command("eval", *words).errors
    assert refused.endswith("give a checkpoint trained on it, or model.take_classes=true")
    done = command("eval", *words, "model.take_classes=true")
    assert done.status == 0, done.err
    assert "of their 3 classes the data set's 2 are taken" in done.err
    assert all(sorted(row) == [0, 1] for row in best(tmp_path / "two")["classes"])


def test_a_photograph_has_no_classes_to_take(command, imagenette, of_ilsvrc):
    photograph = next(Path(imagenette[1].partition("=")[2]).rglob("*.JPEG"))
    done = command("show", str(photograph), *of_ilsvrc, "model.take_classes=true")
    assert done.errors == [
        "error: model.take_classes is for the classes of a data set: leave it out"
    ]
