"""cam-generic on features of a small network, and cam-eval with the SVM as its class layer."""

import csv
import json
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from run_builder import edit_manifest

from cam_repro.api import load_network
from cam_repro.commands import generic
from cam_repro.runs.features import read_features
from cam_repro.runs.manifest import (
    Accuracy,
    read_eval_manifest,
    read_svm_manifest,
    write_manifest,
)

COMPUTING = ["loader.workers=0", "device=cpu", "precision=fp32"]
MODEL = "alexnet_gap"
FEATURES = f"runs/tiny/{MODEL}/features"
BOTH = [f"features={FEATURES}/train", f"test={FEATURES}/val"]


@pytest.fixture
def data(tiny_tree):
    return ["data=ilsvrc", f"data.root={tiny_tree}", "data.cache=null"]


@pytest.fixture
def features(once, train_once, command, tiny_run, data, tmp_path):
    """Trains a network, and writes the features of training and validation images."""

    def make():
        train_once(tmp_path / "runs" / "tiny" / MODEL / "train", *tiny_run, "optim.iterations=2")
        for split in ("train", "val"):
            done = command("features", f"model={MODEL}", *data, *COMPUTING, f"split={split}")
            assert done.status == 0, done.err

    once(tmp_path / "runs", make, "features", *data)


@pytest.fixture
def svm(command, features, tmp_path):
    """Runs cam-generic; gives the manifest and what was said."""

    def run(*words):
        done = command("generic", *words)
        assert done.status == 0, done.err
        return read_svm_manifest(tmp_path / done.err.splitlines()[-1].strip()), done.err

    return run


def _csv(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_the_error_of_the_network_is_that_of_the_svm(svm, command, data, tmp_path):
    manifest, said = svm(*BOTH)
    folder = tmp_path / f"runs/tiny/{MODEL}/generic/val"
    accuracy = manifest.accuracy
    assert json.loads((folder / "scores.json").read_text())["percent"] == accuracy.percent
    assert f"linear SVM, accuracy {accuracy.percent:.2f} % (95 % interval" in said
    assert (accuracy.n_train, accuracy.n_test, accuracy.n_classes) == (12, 6, 3)
    network = folder / "network.pt"
    done = command(
        "eval", f"model={MODEL}", *data, *COMPUTING, f"model.weights={network}", "output=with_svm"
    )
    assert done.status == 0, done.err
    scores = json.loads((tmp_path / "with_svm" / "scores.json").read_text())
    assert scores["cls"]["top1"] == pytest.approx(100 - accuracy.percent)
    loaded = load_network(weights=network, device="cpu")
    assert list(loaded.wnids) == read_features(tmp_path / f"{FEATURES}/val").manifest.classes
    values_NK = torch.tensor(np.array(read_features(tmp_path / f"{FEATURES}/val").values_NK))
    logits_NC = loaded.network.class_layer(values_NK)
    assert loaded.network.class_layer.bias is not None
    labels_N = read_features(tmp_path / f"{FEATURES}/val").labels_N
    right = (logits_NC.argmax(1).numpy() == labels_N).mean()
    assert 100 * right == pytest.approx(accuracy.percent)
    done = command("eval", f"model={MODEL}", *data, *COMPUTING, f"model.weights={network}")
    assert done.status == 0, done.err
    assert (tmp_path / f"runs/tiny/{MODEL}_svm/eval/val-cam/predictions.parquet").is_file()
    shown = command("show", "image=a.png", f"model={MODEL}", f"model.weights={network}")
    assert "a.png" in shown.errors[0]  # there is no such image; the network is read


@pytest.mark.usefixtures("features")
def test_a_manifest_does_not_say_which_code_is_run(command, tmp_path):
    (tmp_path / "evil.py").write_text("open('imported', 'w')")
    edit_manifest(tmp_path / FEATURES / "train", **{"config.model._target_": "evil.Net"})
    (error,) = command("generic", *BOTH).errors
    assert "the manifest.json of the features holds a network of the class evil.Net" in error
    assert not (tmp_path / "imported").exists()
    assert not (tmp_path / f"runs/tiny/{MODEL}/generic/val/manifest.json").exists()


def test_no_table_takes_the_network_of_an_svm_for_the_plain_one(svm, command, data, tmp_path):
    svm(*BOTH)
    network = tmp_path / f"runs/tiny/{MODEL}/generic/val/network.pt"
    words = ["eval", f"model={MODEL}", *data, *COMPUTING, "examples=0"]
    # The newest that fits fills a row.
    for more in ([], [f"model.weights={network}", "output=runs/with_svm"]):
        done = command(*words, *more)
        assert done.status == 0, done.err
    manifest = read_eval_manifest(tmp_path / "runs/with_svm")
    assert (manifest.model, manifest.row) == (f"{MODEL}_svm", "AlexNet-GAP + SVM")
    assert command("tables").status == 0
    table1, runs = (_csv(tmp_path / f"runs/tiny/tables/{name}.csv") for name in ("table1", "runs"))
    (row,) = (row for row in table1 if row["Networks"] == "AlexNet-GAP")
    assert row["run"] == f"tiny/{MODEL}/eval/val-cam"
    named = {row["run"]: row["network"] for row in runs}
    assert named == {"with_svm": f"{MODEL}_svm", f"tiny/{MODEL}/eval/val-cam": MODEL}


def test_the_map_of_a_class_is_the_maps_weighed_by_its_svm(svm, tmp_path):
    svm(*BOTH)
    network = load_network(
        weights=tmp_path / f"runs/tiny/{MODEL}/generic/val/network.pt", device="cpu"
    )
    picture = np.zeros((20, 20, 3), np.uint8)
    picture[:10, :10] = (255, 0, 0)
    explained = network.explain(picture, classes=[1])
    crops = torch.tensor(np.array(Image.fromarray(picture).resize((64, 64), 2))).permute(2, 0, 1)
    with torch.no_grad():
        A_1Khw = network.network.forward_features(network.network.normalize(crops[None]))
    expected_hw = torch.einsum("k,khw->hw", network.network.class_layer.weight[1], A_1Khw[0])
    np.testing.assert_allclose(explained.maps[0], expected_hw.detach(), rtol=1e-4, atol=1e-5)


def test_one_folder_is_parted_at_random_several_times(svm, tmp_path):
    words = [f"features={FEATURES}/train", "partition=random", "partition.train=2"]
    manifest, said = svm(*words, "partition.repeats=3", "network=false")
    assert len(manifest.accuracy.each) == 3
    assert manifest.accuracy.percent == pytest.approx(np.mean(manifest.accuracy.each))
    assert manifest.accuracy.std == pytest.approx(np.std(manifest.accuracy.each, ddof=1))
    assert (manifest.accuracy.low, manifest.data) == (None, "tiny")
    assert manifest.parted == "partition=random"
    assert "AlexNet-GAP, tiny, partition=random: linear SVM" in said
    assert "over 3 repeats" in said
    assert not (tmp_path / f"runs/tiny/{MODEL}/generic/random/network.pt").exists()
    again, _ = svm(*words, "partition.repeats=3", "network=false")
    assert again.accuracy == manifest.accuracy


def test_lists_part_a_folder(svm, command, tmp_path):
    ids = read_features(tmp_path / f"{FEATURES}/train").ids
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/TrainImages.txt").write_text("".join(f"{i}.jpg\n" for i in ids[::2]))
    (tmp_path / "lists/TestImages.txt").write_text("".join(f"{i}.jpg\n" for i in ids[1::2]))
    words = [f"features={FEATURES}/train", "partition=indoor67", "partition.lists=lists"]
    manifest, _ = svm(*words)
    assert (manifest.data, manifest.parted) == ("tiny", "partition=indoor67")
    assert (manifest.accuracy.n_train, manifest.accuracy.n_test) == (6, 6)


def test_what_lies_there_is_not_replaced_by_other_settings(svm, command, tmp_path):
    svm(*BOTH)
    same, _ = svm(*BOTH)
    refused = command("generic", *BOTH, "C=0.1")
    assert "would be replaced (other settings)" in refused.errors[0]
    assert svm(*BOTH, "C=0.1", "overwrite=true", "network=false")[0].svm["C"] == 0.1
    assert not (tmp_path / f"runs/tiny/{MODEL}/generic/val/network.pt").exists()
    assert same.svm["C"] == 1.0


def test_an_svm_of_another_view_is_not_replaced_unasked(svm, command, data):
    done = command("features", f"model={MODEL}", *data, *COMPUTING, "split=train", "view=center")
    assert done.status == 0, done.err
    words = ["partition=random", "partition.train=2", "network=false"]
    svm(f"features={FEATURES}/train", *words)
    (error,) = command("generic", f"features={FEATURES}/train-center", *words).errors
    assert "would be replaced (other features, another view)" in error


@pytest.mark.parametrize("key", ["train", "checkpoint"])
def test_what_decides_an_svm_is_compared_where_hashes_do_not_tell(svm, command, tmp_path, key):
    """As of two folders of the same file names, and of weights that are no file of ours."""
    words = [f"features={FEATURES}/train", "partition=random", "partition.train=2"]
    words += ["network=false"]
    manifest, _ = svm(*words)
    folder = tmp_path / f"runs/tiny/{MODEL}/generic/random"
    plain = replace(manifest.checkpoint, path="torchvision", sha256=None)
    write_manifest(folder, replace(manifest, **{key: {"train": "d2", "checkpoint": plain}[key]}))
    (error,) = command("generic", *words).errors
    assert {"train": "other features", "checkpoint": "other weights"}[key] in error


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "features is not given"),
        ([f"features={FEATURES}/train"], "give one of test=DIR"),
        ([f"features={FEATURES}/train", "test=nowhere"], "nowhere: no such folder"),
        ([f"features={FEATURES}", "partition=random"], "has no manifest.json, so cam-features did"),
        ([f"features={FEATURES}/train", f"test={FEATURES}/train"], "of the same images"),
        ([*BOTH, "C=0"], "C=0.0: must be a number over 0"),
        ([*BOTH, "C=inf"], "C=inf: must be a number over 0"),
        ([f"features={FEATURES}/train", f"test=runs/tiny/{MODEL}/train"], "is not of features"),
        ([f"features={FEATURES}/train", "partition=sun397"], "partition.lists is not given"),
    ],
)
def test_mistakes_are_said_in_a_line(command, features, words, message, tmp_path):
    done = command("generic", *words)
    assert done.status == 1
    assert message in done.errors[0]
    assert not (tmp_path / f"runs/tiny/{MODEL}/generic").exists()


def test_test_images_need_labels(command, features, data):
    done = command("features", f"model={MODEL}", *data, *COMPUTING, "split=test")
    assert done.status == 0, done.err
    (error,) = command("generic", f"features={FEATURES}/train", f"test={FEATURES}/test").errors
    assert "has no label (2 of 2 images have none), and an SVM needs labels" in error


def test_crops_of_the_training_images_are_no_test_images(command, features, data, tmp_path):
    words = ["split=val", "crop=truth"]
    done = command("features", f"model={MODEL}", *data, *COMPUTING, *words)
    assert done.status == 0, done.err
    done = command("generic", f"features={FEATURES}/val", f"test={FEATURES}/val-true_box")
    assert "are of the same images (6 of 6 test images are trained on)" in done.errors[0]
    assert not (tmp_path / f"runs/tiny/{MODEL}/generic").exists()


def test_other_weights_than_the_features_are_refused(svm, command, data, tmp_path):
    weights = tmp_path / f"runs/tiny/{MODEL}/train/last.pt"
    other = tmp_path / "other.pt"
    other.write_bytes(weights.read_bytes() + b"0")
    words = [f"model.weights={other}", "output=other"]
    done = command("features", f"model={MODEL}", *data, *COMPUTING, *words)
    assert done.status == 0, done.err
    done = command("generic", f"features={FEATURES}/train", "test=other")
    assert "are of other weights: compute both with the same settings" in done.errors[0]
    weights.write_bytes(other.read_bytes())
    done = command("generic", *BOTH)
    assert "so no network can be made" in done.errors[0]
    assert svm(*BOTH, "network=false")[0].accuracy.n_test == 6


def test_features_of_another_precision_are_said(command, features, data):
    words = ["precision=bf16", "output=other"]
    done = command("features", f"model={MODEL}", *data, *COMPUTING, *words)
    assert done.status == 0, done.err
    done = command("generic", f"features={FEATURES}/train", "test=other", "network=false")
    assert "features= and test= are of fp32 and bf16: values differ by rounding" in done.err


def test_an_svm_alone_needs_no_torch(svm, tmp_path):
    code = (
        "import sys; from cam_repro.cli.generic import main; main(); "
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *BOTH, "network=false"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_an_interval_that_begins_at_0_is_said(caplog):
    caplog.set_level("INFO")
    accuracy = Accuracy(
        percent=0, low=0.0, high=32.5, std=None, each=[0], class_mean=0, n_train=2, n_test=2,
        n_classes=2,
    )  # fmt: skip
    manifest = {"row": "A", "data": "d", "parted": "train/val", "svm": {"C": 1}, "seconds": 1}
    generic._say(SimpleNamespace(**manifest, accuracy=accuracy))
    assert "accuracy 0.00 % (95 % interval 0.00 to 32.50; mean over classes" in caplog.messages[0]
