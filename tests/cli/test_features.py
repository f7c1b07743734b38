"""cam-features end to end: a small network on a small tree, and crops of it."""

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from cam_repro.api import load_network
from cam_repro.data.ilsvrc.source import Ilsvrc
from cam_repro.engine import features as engine
from cam_repro.runs import features as runs
from cam_repro.runs.features import PART, read_features, rows_done
from cam_repro.runs.predictions import read_predictions
from cam_repro.runs.replacing import NEW

COMPUTING = ["loader.workers=0", "device=cpu", "precision=fp32"]
MODEL = "alexnet_gap"


@pytest.fixture
def data(tiny_tree):
    return ["data=ilsvrc", f"data.root={tiny_tree}", "data.cache=null"]


@pytest.fixture
def network(train_once, tiny_run, tmp_path):
    """Trains a network; gives the file of its weights."""
    folder = f"runs/tiny/{MODEL}/train"
    train_once(tmp_path / folder, *tiny_run, "optim.iterations=2")
    return f"{folder}/last.pt"


@pytest.fixture
def extract(command, data, network, tmp_path):
    """Runs cam-features; gives the features and what was said."""

    def run(*words):
        done = command("features", f"model={MODEL}", *data, *COMPUTING, *words)
        assert done.status == 0, done.err
        place = done.err.splitlines()[-1].rpartition(" ")[2]
        return read_features(tmp_path / place), done.err

    return run


def test_the_features_are_what_the_class_layer_takes(extract, network, command, data, tmp_path):
    found, said = extract()
    assert f"weights {network}" in said  # trained on this data set, so taken
    assert "runs/tiny/alexnet_gap/features/val" in said
    loaded = load_network(MODEL, weights=tmp_path / network, device="cpu")
    assert found.values_NK.shape == (6, loaded.network.class_layer.in_features)
    done = command("eval", f"model={MODEL}", *data, *COMPUTING, "examples=0")
    assert done.status == 0, done.err
    run = read_predictions(tmp_path / "runs/tiny/alexnet_gap/eval/val-cam")
    assert found.ids == run.ids
    assert found.labels_N.tolist() == run.labels_N.tolist()
    with torch.no_grad():
        logits_NC = loaded.network.class_layer(torch.tensor(found.values_NK))
    best = logits_NC.softmax(1)
    np.testing.assert_allclose(best.max(1).values, run.probabilities_N5[:, 0], rtol=1e-5)
    assert best.argmax(1).tolist() == run.classes_N5[:, 0].tolist()


def test_a_stopped_command_goes_on_where_it_was(extract, command, data, tmp_path, monkeypatch):
    whole = np.array(extract("output=whole")[0].values_NK)
    put = engine.FeatureFile.put

    def stop_after_two(self, rows, values_NK):
        put(self, rows, values_NK)
        if rows[-1] >= 1:
            raise KeyboardInterrupt

    words = [f"model={MODEL}", *data, *COMPUTING, "batch_size=1", "output=stopped"]
    with monkeypatch.context() as patched:
        patched.setattr(engine.FeatureFile, "put", stop_after_two)
        done = command("features", *words)
    assert done.status == 130
    assert "features that are written are kept" in done.err
    assert rows_done(tmp_path / "stopped") == [0, 1]
    assert not (tmp_path / "stopped" / "manifest.json").exists()
    refused = command("features", *words, "view=center")
    assert "by other settings are under way there (view)" in refused.errors[0]
    found, said = extract("batch_size=1", "output=stopped")
    assert "features of 4 images" in said
    assert "2 were there before" in said
    np.testing.assert_array_equal(found.values_NK, whole)
    assert not (tmp_path / "stopped" / PART).exists()


def test_features_that_are_there_are_not_computed_again(extract, command, data, tmp_path):
    extract()
    again = command("features", f"model={MODEL}", *data, *COMPUTING)
    assert "the features are there already" in again.err
    other = command("features", f"model={MODEL}", *data, *COMPUTING, "format=parquet")
    assert "holds features that would be replaced (format)" in other.errors[0]
    assert extract("format=parquet", "overwrite=true")[0].manifest.config["format"] == "parquet"


def test_folders_of_the_same_file_names_are_not_taken_for_one_another(
    command, network, tmp_path, monkeypatch
):
    for place, colour in (("d1", "red"), ("d2", "blue")):
        for name in "ab":
            (tmp_path / place / "imgs").mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), colour).save(tmp_path / place / "imgs" / f"{name}.png")
    words = [f"model={MODEL}", f"model.weights={network}", "data=folder", *COMPUTING]
    assert command("features", *words, "data.root=d1/imgs").status == 0
    again = command("features", *words, f"data.root={tmp_path}/d1/imgs")
    assert "the features are there already" in again.err
    other = command("features", *words, "data.root=d2/imgs")
    assert "holds features that would be replaced (folder of images)" in other.errors[0]
    put = engine.FeatureFile.put

    def stop_after_one(self, rows, values_NK):
        put(self, rows, values_NK)
        raise KeyboardInterrupt

    words += ["output=stopped", "batch_size=1"]
    with monkeypatch.context() as patched:
        patched.setattr(engine.FeatureFile, "put", stop_after_one)
        assert command("features", *words, "data.root=d1/imgs").status == 130
    mixed = command("features", *words, "data.root=d2/imgs")
    assert "by other settings are under way there (folder of images)" in mixed.errors[0]


def test_images_that_were_left_out_are_told_each_time(command, network, tmp_path):
    (tmp_path / "imgs").mkdir()
    Image.new("RGB", (8, 8), "red").save(tmp_path / "imgs" / "a.png")
    (tmp_path / "imgs" / "b.png").write_bytes(b"nothing")
    words = [f"model={MODEL}", f"model.weights={network}", "data=folder", "data.root=imgs"]
    words += [*COMPUTING, "loader.on_error=skip", "output=f"]
    assert command("features", *words).status == 0
    Image.new("RGB", (8, 8), "blue").save(tmp_path / "imgs" / "b.png")
    again = command("features", *words)
    assert "f: lacks 1 images that could not be read; overwrite=true computes all anew" in again.err
    assert command("features", *words, "overwrite=true").status == 0
    assert len(read_features(tmp_path / "f")) == 2


@pytest.mark.parametrize("killed_in", ["take_place", "finish_replacing"])
def test_what_was_complete_at_a_kill_is_not_computed_again(
    command, data, network, tmp_path, monkeypatch, killed_in
):
    words = [f"model={MODEL}", *data, *COMPUTING, "output=killed"]
    place = tmp_path / "killed"

    def killed(folder, part):
        if killed_in == "finish_replacing":
            part.rename(folder / NEW)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(runs, "take_place", killed)
        assert command("features", *words).status == 130
    assert not (place / "manifest.json").exists()
    other = command("features", *words, "view=center")
    assert "holds features that would be replaced (view)" in other.errors[0]
    done = command("features", *words)
    assert "the features are there already" in done.err
    assert len(read_features(place)) == 6


def test_of_ten_crops_the_mean_counts(extract, data):
    found, _ = extract("view=ten")
    squashed, _ = extract()
    assert found.manifest.view == "ten"
    assert found.values_NK.shape == squashed.values_NK.shape
    assert not np.allclose(found.values_NK, squashed.values_NK)


def test_a_crop_is_seen_as_an_image_of_its_own(extract, command, network, tiny_tree, tmp_path):
    found, said = extract("crop=truth")
    assert "runs/tiny/alexnet_gap/features/val-true_box" in said
    solution = (tiny_tree / "LOC_val_solution.csv").read_text().splitlines()[1:]
    boxes = {line.split(",")[0]: [int(v) for v in line.split()[1:5]] for line in solution}
    for image_id in found.ids:
        image = Image.open(tiny_tree / "ILSVRC/Data/CLS-LOC/val" / f"{image_id}.JPEG")
        x0, y0, x1, y1 = boxes[image_id]
        (tmp_path / "cut").mkdir(exist_ok=True)
        image.crop((x0, y0, x1 + 1, y1 + 1)).save(tmp_path / "cut" / f"{image_id}.png")
    done = command(
        "features",
        *(f"model={MODEL}", f"model.weights={network}", "data=folder", "data.root=cut"),
        *(*COMPUTING, "output=of_cuts"),
    )
    assert done.status == 0, done.err
    np.testing.assert_array_equal(read_features(tmp_path / "of_cuts").values_NK, found.values_NK)
    assert found.manifest.crops.boxes == "truth"


def test_true_boxes_that_cannot_be_are_said_before_crops_of_them(extract, make_tree, tmp_path):
    tree = make_tree(tmp_path / "damaged" / "tiny")
    annotations = tree / "ILSVRC/Annotations/CLS-LOC/val"
    first, second = sorted(annotations.iterdir())[:2]
    first.write_text(re.sub("<xmax>.*?</xmax>", "<xmax>300</xmax>", first.read_text()))
    second.write_text(re.sub("<width>.*?</width>", "<width>320</width>", second.read_text()))
    said = extract("crop=truth", f"data.root={tree}")[1]
    assert re.search(
        r"^1 of 6 true boxes are empty or reach beyond their image \(the first: \[.*\] of "
        rf"{first.stem}\): crops take what of them is in the image$",
        said,
        re.M,
    )
    assert re.search(
        rf"^1 of 6 images have another size than .* \(the first: {second.stem} is", said, re.M
    )
    assert "errors" not in said


def test_crops_of_a_run_are_its_boxes_and_how_many_are_right_is_said(
    extract, command, data, tmp_path
):
    rules = ["box=[whole_image,threshold]", "examples=0"]
    done = command("eval", f"model={MODEL}", *data, *COMPUTING, *rules)
    assert done.status == 0, done.err
    run = f"runs/tiny/{MODEL}/eval/val-cam"
    whole, _ = extract(f"crop={run}")
    np.testing.assert_array_equal(whole.values_NK, extract("output=plain")[0].values_NK)
    scores = json.loads((tmp_path / run / "scores.json").read_text())
    assert whole.manifest.crops.right == pytest.approx(
        100 - scores["loc"]["whole_image"]["gt_known"]
    )
    found, _ = extract(f"crop={run}", "crop_rule=threshold", "crop_class=truth", "output=cam")
    assert not np.array_equal(found.values_NK, whole.values_NK)
    crops = found.manifest.crops
    assert (crops.rule, crops.of_class, crops.n) == ("threshold", "truth", 6)
    assert crops.right == pytest.approx(100 - scores["loc"]["threshold"]["gt_known"])
    others = command("features", f"model={MODEL}", *data, *COMPUTING, f"crop={run}", "split=train")
    assert "is a run over other images (tiny, split val) than tiny, split train" in others.errors[0]
    named = command("features", f"model={MODEL}", *data, *COMPUTING, f"crop={run}", "crop_rule=a")
    assert "crop_rule=a: choose one of whole_image, threshold" in named.errors[0]


def test_boxes_of_images_of_the_same_names_are_of_other_images(
    command, network, make_run, tmp_path
):
    """Of another split, or of another folder, whose fingerprint is the same."""
    for place, side in (("one/val/a", 20), ("one/train/a", 20), ("two/val/a", 24)):
        (tmp_path / place).mkdir(parents=True)
        for name in "01":
            Image.new("RGB", (side, 20), "red").save(tmp_path / place / f"{name}.png")
    prints = {
        Ilsvrc(root=str(tmp_path / name)).open(split).fingerprint
        for name, split in (("one", "val"), ("one", "train"), ("two", "val"))
    }
    run = make_run("nin", n=2, ids="{}", data="one", fingerprint=prints.pop(), loc_right=2)
    assert prints == set()
    words = [f"model={MODEL}", f"model.weights={network}", *COMPUTING, f"crop={run}"]
    words += ["data=ilsvrc", "data.cache=null"]
    done = command("features", *words, f"data.root={tmp_path}/one")
    assert done.status == 0, done.err
    (error,) = command("features", *words, f"data.root={tmp_path}/one", "split=train").errors
    assert "is a run over other images (one, split val) than one, split train" in error
    (error,) = command("features", *words, f"data.root={tmp_path}/two").errors
    assert f"0.png: is 24x20 pixels, and its box is of an image of 20x20 ({run})" in error


def test_unreadable_images_stop_it_or_are_left_out_and_counted(command, network, tmp_path):
    folder = tmp_path / "pictures"
    for name in ("a/1", "a/2", "b/3"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), "red").save(folder / f"{name}.png")
    (folder / "a/2.png").write_bytes(b"no image")
    words = [f"model={MODEL}", f"model.weights={network}", "data=folder", f"data.root={folder}"]
    stopped = command("features", *words, *COMPUTING)
    assert "2.png: not a readable image" in stopped.errors[0]
    done = command("features", *words, *COMPUTING, "loader.on_error=skip")
    assert done.status == 0, done.err
    assert "1 unreadable images skipped" in done.err
    found = read_features(tmp_path / f"runs/pictures/{MODEL}/features/val")
    assert found.ids == ["a/1", "b/3"]
    assert found.labels_N.tolist() == [0, 1]
    assert found.manifest.classes == ["a", "b"]
    assert len(found.manifest.skipped) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "model is not given"),
        (["model=nin", "model.weights={weights}"], "holds the network alexnet_gap, not nin"),
        (["model=alexnet_gap", "crop_class=truth"], "add crop=RUN"),
        (["model=alexnet_gap", "crop=nowhere"], "is neither none nor truth"),
        (["model=alexnet_gap", "format=csv"], "choose one of npy, parquet"),
        (["model=alexnet_gap", "model.weights=gone.pt"], "gone.pt"),
    ],
)
def test_mistakes_are_said_in_a_line(command, data, network, words, message, tmp_path):
    words = [word.format(weights=network) for word in words]
    done = command("features", *data, *COMPUTING, *words)
    assert done.status == 1
    assert message in done.errors[0]
    assert not (tmp_path / "runs/tiny/alexnet_gap/features").exists()
