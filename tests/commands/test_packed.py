"""From packed images the same training and the same results as from their files."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from cam_repro.commands.evaluate import run_evaluation
from cam_repro.commands.train import run_training
from cam_repro.runs.examples import read_examples

SIZE = 40
NETWORK = [
    *("model=alexnet_gap", "model.width=0.05", "model.norm=batch", "model.input_size=32"),
    *(f"model.resize_size={SIZE}", "device=cpu"),
]
DEMO = ["data=demo", "data.n_train=40", "data.n_val=15"]
TRAINING = [
    *("recipe=ilsvrc", "optim.iterations=8", "optim.batch_size=10", "optim.lr=0.01"),
    *("optim.schedule=constant", "tensorboard=false"),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Folder of what is made once: the built-in set's images, packed sets and a checkpoint."""
    return tmp_path_factory.mktemp("made")


@pytest.fixture
def pack(command, made, monkeypatch):
    """Packs the built-in set as these words say, once; returns the words that name the result."""
    monkeypatch.setenv("CAM_REPRO_CACHE", str(made / "cache"))

    def pack(*words, source=DEMO):
        folder = made / re.sub(r"\W+", "-", "-".join(words))
        if not folder.exists():
            done = command("data", "pack", *source, *words, f"output={folder}")
            assert (done.status, done.errors) == (0, []), done.err
        return ["data=packed", f"data.root={folder}"]

    return pack


@pytest.fixture
def train(compose_config, tmp_path):
    def train(*words):
        words = [*NETWORK, *TRAINING, *words, f"runs={tmp_path / 'runs'}"]
        return run_training(compose_config("train", *words))

    return train


@pytest.fixture
def evaluate(compose_config, tmp_path):
    """Scores by these words into a folder of its own; returns it."""

    def evaluate(name, *words):
        words = [*NETWORK, *words, f"output={tmp_path / name}"]
        (folder,) = run_evaluation(compose_config("eval", *words), words)
        return folder

    return evaluate


@pytest.fixture
def checkpoint(made, pack, train):
    """A network trained on the images themselves."""
    path = made / "last.pt"
    if not path.exists():
        shutil.copy(train(*DEMO, "loader.workers=0") / "last.pt", path)
    return [f"model.weights={path}", "loader.workers=0"]


def assert_same_results(one, other):
    names = sorted(p.name for p in one.iterdir() if p.suffix in (".parquet", ".txt", ".csv"))
    assert "predictions.parquet" in names
    assert any(name.startswith("submission_") for name in names)
    for name in names:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    if (one / "scores.json").exists():
        assert (one / "scores.json").read_text() == (other / "scores.json").read_text()


# --- training ------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["webp", "png"])
@pytest.mark.parametrize(
    "loading", [["loader.preload=yes"], ["loader.preload=no", "loader.workers=2"]]
)
def test_training_is_the_same_bit_for_bit(pack, train, format, loading):
    plain = train(*DEMO, "loader.workers=0")
    packed = train(*pack(f"size={SIZE}", f"format={format}", "splits=[train,val]"), *loading)
    assert plain.parts[-3:-1] == ("demo", "alexnet_gap")
    assert packed.parts[-3:-1] == (f"demo-{SIZE}", "alexnet_gap")
    logs = [pd.read_csv(folder / "log.csv") for folder in (plain, packed)]
    assert len(logs[0]) == 2
    assert logs[0]["train_loss"].nunique() == 2
    for log in logs:
        del log["images_per_second"]
    pd.testing.assert_frame_equal(*logs, check_exact=True)
    states = [
        torch.load(folder / "last.pt", weights_only=True)["model"] for folder in (plain, packed)
    ]
    for name, tensor in states[0].items():
        assert torch.equal(tensor, states[1][name]), name


def test_another_size_or_jpg_is_not_the_same(pack, train):
    """The comparison above could fail."""
    wanted = pd.read_csv(train(*DEMO, "loader.workers=0") / "log.csv")["train_loss"]
    for words in ([f"size={SIZE}", "format=jpg", "jpg_quality=30"], ["size=64"]):
        folder = train(*pack(*words), "loader.workers=0")
        assert not np.allclose(pd.read_csv(folder / "log.csv")["train_loss"], wanted, rtol=1e-4)


def test_a_run_goes_on_where_its_images_were_packed_as_they_were(pack, train):
    folder = train(*DEMO, "loader.workers=0")
    manifest = (folder / "manifest.json").read_text()
    assert train(*pack("size=null"), "loader.workers=0") == folder  # finished already
    assert (folder / "manifest.json").read_text() == manifest


# --- scoring -------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", ["ten", "center"])
@pytest.mark.parametrize("format", ["webp", "png"])
def test_what_crops_of_the_squashed_image_find_is_the_same(
    pack, evaluate, checkpoint, view, format
):
    words = [*checkpoint, f"view={view}", "box=[threshold,heuristic,dt_box]", "examples=0"]
    plain = evaluate("plain", *DEMO, *words)
    packed = evaluate("packed", *pack(f"size={SIZE}", f"format={format}"), *words)
    assert_same_results(plain, packed)
    data = [json.loads((f / "manifest.json").read_text())["data"] for f in (plain, packed)]
    assert [stated["name"] for stated in data] == ["demo", f"demo-{SIZE}"]
    assert data[0]["fingerprint"] != data[1]["fingerprint"]
    assert data[1]["layout"].startswith(f"packed at {SIZE}x{SIZE} as {format}; layout Kaggle")
    # Originals are of many sizes, none of them that of the shards.
    sizes = pd.read_parquet(packed / "predictions.parquet")[["width", "height"]]
    assert len(sizes.drop_duplicates()) > 5
    assert sizes.min().min() > SIZE


@pytest.mark.parametrize(("split", "box"), [("val", "[threshold,graphcut]"), ("test", "threshold")])
def test_originals_give_the_same_results_by_every_word(pack, evaluate, checkpoint, split, box):
    words = [*checkpoint, f"split={split}", f"box={box}", "examples=2"]
    plain = evaluate("plain", *DEMO, *words)
    packed = evaluate("packed", *pack("size=null"), *words, "loader.workers=2")
    assert_same_results(plain, packed)
    assert (plain / "submission_threshold.csv").exists() == (split == "test")
    data = [json.loads((f / "manifest.json").read_text())["data"] for f in (plain, packed)]
    for key in ("name", "fingerprint", "is_ilsvrc", "n_classes", "has_boxes"):
        assert data[0][key] == data[1][key]
    sheets = [np.asarray(Image.open(f / "contact_sheet.png")) for f in (plain, packed)]
    np.testing.assert_array_equal(*sheets)


def test_examples_are_of_the_original_size(pack, evaluate, checkpoint):
    words = [*checkpoint, "box=[threshold,graphcut]", "examples=4"]
    folder = evaluate("packed", *pack(f"size={SIZE}"), *words)
    table = pd.read_parquet(folder / "predictions.parquet").set_index("id")
    examples = read_examples(folder)
    assert len(examples) >= 4
    for one in examples:
        size = tuple(table.loc[one.id, ["width", "height"]])
        assert (one.width, one.height) == size
        assert one.picture().size == size


def test_an_image_that_could_not_be_read_counts_as_it_does_among_files(
    pack, evaluate, checkpoint, command, tmp_path
):
    root = tmp_path / "broken"
    (made,) = Path(checkpoint[0].partition("=")[2]).parent.glob("cache/demo-*")
    shutil.copytree(made, root)
    images = sorted((root / "Data/CLS-LOC/val").iterdir())
    images[5].write_bytes(images[5].read_bytes()[:300])
    source = ["data=ilsvrc", f"data.root={root}", "data.cache=null", "loader.on_error=skip"]
    done = command("data", "pack", *source, "size=null", f"output={tmp_path / 'p'}")
    assert done.status == 0, done.err
    assert "val    15 images in 1 shard, " in done.err
    assert "; 1 could not be read" in done.err
    packed_words = ["data=packed", f"data.root={tmp_path / 'p'}"]
    words = [*checkpoint, "examples=0"]
    plain = evaluate("plain", *source, *words)
    packed = evaluate("packed", *packed_words, "loader.on_error=skip", *words)
    assert_same_results(plain, packed)
    lines = (packed / "submission_threshold.txt").read_text().splitlines()
    assert [line == "" for line in lines] == [index == 5 for index in range(15)]
    manifest = json.loads((packed / "manifest.json").read_text())
    assert manifest["counts"] == {"images": 14, "skipped": 1}
    done = command("eval", *NETWORK, *packed_words, *words)
    assert done.status == 1
    assert "could not be read when packed; mend the file, or go on" in done.errors[0]


def test_boxes_without_a_network_have_the_original_sizes(pack, compose_config, tmp_path):
    found = []
    for name, data in (("plain", DEMO), ("packed", pack(f"size={SIZE}"))):
        words = ["model=none", "box=[whole_image,center]", f"output={tmp_path / name}", *data]
        (folder,) = run_evaluation(compose_config("eval", *words), words)
        found.append([(folder / f).read_bytes() for f in ("predictions.parquet", "scores.json")])
    assert found[0] == found[1]


def test_cam_score_takes_it_for_the_ground_truth(pack, evaluate, checkpoint, command):
    folder = evaluate("plain", *DEMO, *checkpoint, "examples=0")
    submission = f"submission={folder / 'submission_threshold.txt'}"
    plain, packed = (command("score", submission, *data) for data in (DEMO, pack(f"size={SIZE}")))
    assert plain.status == packed.status == 0, packed.err
    assert json.loads(plain.out) == json.loads(packed.out)
    assert 0 < json.loads(packed.out)["guesses"][0]["clsloc_error"] <= 100
