"""Examples of a pass by a network whose weights are set by hand."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from colour_net import BLUE, GREEN, RED, ColourNet, blocks
from run_builder import make_manifest

from cam_repro.boxes.threshold import ThresholdBox
from cam_repro.boxes.whole_image import WholeImage
from cam_repro.data.settings import LoaderSettings
from cam_repro.data.views import Squash, Ten
from cam_repro.engine.compute import Compute
from cam_repro.engine.evaluate import Pass, evaluate
from cam_repro.engine.examples import choose_examples, make_examples
from cam_repro.runs.manifest import write_manifest
from cam_repro.runs.predictions import read_predictions, write_predictions
from cam_repro.saliency.cam import Cam

CPU = Compute(torch.device("cpu"))
RULES = {"threshold": ThresholdBox(0.2), "whole_image": WholeImage()}


@pytest.fixture
def scored(tmp_path):
    """Runs a pass over images; returns it and the predictions, as they are read from disk."""

    def scored(images, view=None, on_error="stop"):
        this_pass = Pass(ColourNet(), Cam(), view or Squash(32, 40), RULES, batch_size=2)
        found = evaluate(this_pass, images, LoaderSettings(on_error=on_error, workers=0), CPU)
        manifest = make_manifest(n=found.predictions.num_rows, rules=list(RULES))
        write_predictions(tmp_path / "run", found.predictions, manifest)
        write_manifest(tmp_path / "run", manifest)
        return this_pass, read_predictions(tmp_path / "run")

    return scored


# The box of the red square is (6, 6, 25, 25): IoU 1, 0.56, 0.25, 0.06 and 0 with these.
SQUARE = blocks(32, 32, (RED, 8, 8, 23, 23))
TRUTHS = {
    "a": (0, 0, 1, 1),
    "b": (6, 6, 20, 20),
    "c": (6, 6, 25, 25),
    "d": (6, 6, 10, 10),
    "e": (6, 6, 15, 15),
    "f": (30, 30, 31, 31),
}


def kinds(chosen, images):
    """Ids by kind."""
    return {
        kind: "".join(images.ids[i] for i, why in chosen.items() if kind in why)
        for kind in ("even", "best", "typical", "worst")
    }


def test_examples_are_chosen_by_place_and_by_overlap(image_set, scored):
    images = image_set({name: (SQUARE, RED, box) for name, box in TRUTHS.items()})
    _, predictions = scored(images)
    chosen = choose_examples(predictions, images, 2)
    # Overlap falls in the order c b e d a f; a and f have none, and a comes first.
    assert kinds(chosen, images) == {"even": "ad", "best": "bc", "typical": "de", "worst": "af"}
    assert list(chosen) == [0, 1, 2, 3, 4, 5]
    assert chosen[0] == ["even", "worst"]
    one = kinds(choose_examples(predictions, images, 1), images)
    assert one == {"even": "a", "best": "c", "typical": "e", "worst": "a"}
    every = kinds(choose_examples(predictions, images, 9), images)
    assert set(every.values()) == {"abcdef"}


def test_blacklisted_images_and_those_without_a_box_are_even_examples_alone(image_set, scored):
    images = image_set({name: (SQUARE, RED, box) for name, box in TRUTHS.items()})
    _, predictions = scored(images)
    boxless = dataclasses.replace(
        predictions,
        boxes=predictions.boxes.keep(np.arange(6) != 2),  # c
        blacklisted_N=np.array([name == "b" for name in images.ids]),
    )
    chosen = kinds(choose_examples(boxless, images, 2), images)
    assert chosen == {"even": "ad", "best": "de", "typical": "ad", "worst": "af"}
    unknown = dataclasses.replace(predictions, boxes=predictions.boxes.keep(np.zeros(6, bool)))
    chosen = kinds(choose_examples(unknown, images, 2), images)
    assert chosen == {"even": "ad", "best": "", "typical": "", "worst": ""}


def test_images_that_could_not_be_read_are_no_examples(image_set, scored):
    images = image_set({name: (SQUARE, RED, box) for name, box in TRUTHS.items()})
    (Path(images.folder) / "a.JPEG").write_bytes(b"no image")
    this_pass, predictions = scored(images, on_error="skip")
    chosen = choose_examples(predictions, images, 2)
    assert kinds(chosen, images)["even"] == "d"
    examples = make_examples(this_pass, images, predictions, chosen, CPU)
    assert [example.id for example in examples] == list("bcdef")


def test_an_example_has_picture_classes_and_maps(image_set, scored):
    wide = SQUARE.repeat(20, axis=1)
    both = blocks(32, 32, (RED, 8, 8, 23, 23), (GREEN, 0, 0, 15, 7))
    images = image_set({"a": (wide, BLUE, (6, 6, 25, 25)), "b": (both, RED, (0, 0, 9, 9))})
    this_pass, predictions = scored(images)
    first, example = make_examples(
        this_pass, images, predictions, choose_examples(predictions, images, 2), CPU
    )
    assert (first.id, first.index, first.width, first.height) == ("a", 0, 640, 32)
    assert first.picture().size == (480, 24)
    assert (example.id, example.index, example.width, example.height) == ("b", 1, 32, 32)
    assert example.why == ("even", "best", "typical", "worst")
    assert example.classes == (RED, GREEN, BLUE)  # all three are the best: red is not repeated
    assert example.names == ("n00000001", "n00000002", "n00000003")
    total = math.exp(4) + math.exp(2) + math.exp(0)
    expected = [math.exp(4) / total, math.exp(2) / total, 1 / total]
    assert example.probabilities == pytest.approx(expected, abs=1e-6)
    maps_344 = np.zeros((3, 4, 4))
    maps_344[RED, 1:3, 1:3] = 16
    maps_344[GREEN, 0, :2] = 16
    np.testing.assert_allclose(example.maps_Rhw, maps_344, atol=1e-5)


def test_classes_are_those_of_the_run_and_the_true_one_comes_last(image_set, scored):
    images = image_set({"a": (SQUARE, BLUE, (6, 6, 25, 25))})
    this_pass, predictions = scored(images)
    # As if the data set had more classes than are guessed: the best are RED alone.
    alone = dataclasses.replace(predictions, classes_N5=predictions.classes_N5.copy())
    alone.classes_N5[0, :3] = [RED, GREEN, RED]
    (example,) = make_examples(this_pass, images, alone, {0: ["even"]}, CPU)
    assert example.classes == (RED, GREEN, RED, BLUE)
    np.testing.assert_array_equal(example.maps_Rhw[0], example.maps_Rhw[2])
    assert (example.maps_Rhw[3] == 0).all()
    unknown = dataclasses.replace(images, labels_N=np.array([-1], np.int32))
    (example,) = make_examples(this_pass, unknown, alone, {0: ["even"]}, CPU)
    assert example.classes == (RED, GREEN, RED)


def test_maps_of_ten_crops_cover_the_frame(image_set, scored):
    images = image_set({"a": (blocks(40, 40, (RED, 0, 0, 15, 15)), RED, (0, 0, 15, 15))})
    this_pass, predictions = scored(images, Ten(32, 40))
    (example,) = make_examples(this_pass, images, predictions, {0: ["even"]}, CPU)
    assert example.maps_Rhw.shape == (3, 40, 40)
    assert example.maps_Rhw[0].max() == 1
    assert example.maps_Rhw[0, 20:, 20:].max() < 0.05


@pytest.mark.parametrize("view", [Squash(32, 40), Ten(32, 40)])
def test_examples_of_kept_maps_are_equal_and_need_no_forward_pass(
    image_set, scored, monkeypatch, view
):
    """Of four images the maps of the first two are kept: the others pass the network again."""
    images = image_set(
        {
            name: (SQUARE, label, TRUTHS[name])
            for name, label in zip("abcd", [0, 1, 2, 0], strict=True)
        }
    )
    this_pass, predictions = scored(images, view)
    one = 4 * 4 * view.n_crops * 4 * 4  # three classes and the true one, 4x4 places, float32
    monkeypatch.setattr("cam_repro.engine.evaluate.KEPT_BYTES", 2 * (one + 1024))
    loading = LoaderSettings(workers=0)
    kept = evaluate(this_pass, images, loading, CPU, keep_maps=True).maps
    assert sorted(kept) == [0, 1]
    assert evaluate(this_pass, images, loading, CPU).maps == {}
    chosen = choose_examples(predictions, images, 4)
    passed, real = [], ColourNet.forward_features

    def count(network, x_NCHW):
        passed.append(len(x_NCHW) // view.n_crops)
        return real(network, x_NCHW)

    monkeypatch.setattr(ColourNet, "forward_features", count)
    again = make_examples(this_pass, images, predictions, chosen, CPU)
    n_all = sum(passed)
    examples = make_examples(this_pass, images, predictions, chosen, CPU, kept)
    assert (n_all, sum(passed) - n_all) == (4, 2)

    def content(example):
        return {**vars(example), "maps_Rhw": example.maps_Rhw.tolist()}

    assert list(map(content, examples)) == list(map(content, again))
