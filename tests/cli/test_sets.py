"""The data sets that people use, in their own forms, through all commands."""

import json

import pytest
from PIL import Image

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
