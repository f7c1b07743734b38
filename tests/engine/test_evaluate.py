"""One pass over a split by a network whose weights are set by hand: every value is literal."""

import dataclasses
import math
import os
import signal
import time
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from colour_net import BLUE, GREEN, RED, ColourNet, blocks
from PIL import Image

from cam_repro.boxes.base import BoxRule
from cam_repro.boxes.heuristic import HeuristicBoxes
from cam_repro.boxes.threshold import ThresholdBox, largest_component_box
from cam_repro.data.images import ErrorPolicy
from cam_repro.data.loading import BatchTruth, LabelledBatch
from cam_repro.data.settings import LoaderSettings
from cam_repro.data.views import Squash, Ten
from cam_repro.engine.compute import Compute
from cam_repro.engine.evaluate import (
    TABLES_AT_A_TIME,
    Pass,
    RowsOnDisk,
    classification_errors,
    evaluate,
)
from cam_repro.engine.processes import Processes
from cam_repro.errors import UserError
from cam_repro.geometry import iou
from cam_repro.objectives.classification import Classification
from cam_repro.objectives.multi_label import MultiLabel
from cam_repro.resample import resize
from cam_repro.saliency.backprop import Backprop
from cam_repro.saliency.cam import Cam
from cam_repro.truth import Names, RaggedBoxes
from cam_repro.types import Prediction, RuleGuesses

CPU = Compute(torch.device("cpu"))
BOXES = {"threshold": ThresholdBox(0.2), "heuristic": HeuristicBoxes(0.2, 0.4)}


def run(
    images,
    view=None,
    saliency=None,
    on_error="stop",
    compute=CPU,
    boxes=BOXES,
    workers=0,
    **more,
):
    """What ``evaluate`` finds."""
    this_pass = Pass(ColourNet(), saliency or Cam(), view or Squash(32, 40), boxes, batch_size=2)
    loading = LoaderSettings(on_error=on_error, workers=workers)
    return evaluate(this_pass, images, loading, compute, **more)


def predictions(found):
    """The rows as records, in the order of ids."""
    return [as_record(row) for row in found.predictions.sort_by("id").to_pylist()]


def as_record(row):
    def fours(name):
        return [tuple(row[name][i : i + 4]) for i in range(0, len(row[name]), 4)]

    rules = {
        name: RuleGuesses(
            list(zip(row[f"{name}/classes"], fours(f"{name}/boxes"), strict=True)),
            tuple(row[f"{name}/gt_known"]),
        )
        for name in [key.partition("/")[0] for key in row if key.endswith("/gt_known")]
    }
    same = {key: row[key] for key in ("id", "width", "height", "label", "classes", "probabilities")}
    return Prediction(true_boxes_M4=np.array(fours("gt_boxes")), rules=rules, **same)


# Four cells of red in the middle of 4x4 cells, two of green in the left upper corner.
MIDDLE = blocks(32, 32, (RED, 8, 8, 23, 23), (GREEN, 0, 0, 15, 7))


def test_classes_probabilities_and_boxes_are_those_computed_by_hand(image_set):
    # The same picture twice as wide: it is squashed, and its boxes come back twice as wide.
    wide = MIDDLE.repeat(2, axis=1)
    images = image_set({"a": (MIDDLE, GREEN, (0, 0, 15, 7)), "b": (wide, RED, (16, 8, 47, 23))})
    square, double = predictions(run(images))

    assert (square.id, square.width, square.height, square.label) == ("a", 32, 32, GREEN)
    assert (double.id, double.width, double.height, double.label) == ("b", 64, 32, RED)
    assert double.true_boxes_M4.tolist() == [[16, 8, 47, 23]]
    # Means: 4, 2 and 0 of 16 cells, times 16.
    total = math.exp(4) + math.exp(2) + math.exp(0)
    for prediction in (square, double):
        assert prediction.classes == [RED, GREEN, BLUE]
        expected = [math.exp(4) / total, math.exp(2) / total, 1 / total]
        assert prediction.probabilities == pytest.approx(expected, abs=1e-6)

    # Of the red cells' map the plateau lies between pixels 12 and 20 and falls to 0 over 8 pixels:
    # it exceeds 20 % for 6 pixels to each side. The green one's starts at the border; its row is
    # at the border too. Blue has no map: the whole image.
    guesses = square.rules["threshold"].guesses
    assert guesses == [(RED, (6, 6, 25, 25)), (GREEN, (0, 0, 17, 9)), (BLUE, (0, 0, 31, 31))]
    assert square.rules["threshold"].gt_known == (0, 0, 17, 9)
    guesses = double.rules["threshold"].guesses
    assert guesses == [(RED, (11, 6, 52, 25)), (GREEN, (0, 0, 36, 9)), (BLUE, (0, 0, 63, 31))]
    assert double.rules["threshold"].gt_known == (11, 6, 52, 25)
    # Above 40 % it is 5 pixels instead of 6.
    assert square.rules["heuristic"].guesses == [
        (RED, (6, 6, 25, 25)),
        (RED, (7, 7, 24, 24)),
        (GREEN, (0, 0, 17, 9)),
        (GREEN, (0, 0, 16, 8)),
        (BLUE, (0, 0, 31, 31)),
    ]
    assert square.rules["heuristic"].gt_known == (0, 0, 17, 9)


def test_backprop_boxes_what_the_score_depends_on(image_set):
    # The gradient of a colour's mean is the same everywhere: the box is the whole image.
    found = run(image_set({"a": (MIDDLE, RED, (8, 8, 23, 23))}), saliency=Backprop(blur=0.0))
    (prediction,) = predictions(found)
    assert prediction.classes == [RED, GREEN, BLUE]
    assert {box for _, box in prediction.rules["threshold"].guesses} == {(0, 0, 31, 31)}


def test_equal_probabilities_come_in_the_order_of_the_classes(image_set):
    found = run(image_set({"a": (blocks(32, 32), BLUE, (0, 0, 1, 1))}))
    assert predictions(found)[0].classes == [0, 1, 2]
    assert predictions(found)[0].probabilities == pytest.approx([1 / 3] * 3, abs=1e-7)


def seven(image_set):
    """Seven images, each of one colour by its number."""
    full = (0, 0, 31, 31)
    return image_set({f"{i}": (blocks(32, 32, (i % 3, *full)), i % 3, full) for i in range(7)})


def test_every_image_once_in_order_whatever_the_batch(image_set):
    found = run(seven(image_set))  # 2 + 2 + 2 + 1
    assert [p.id for p in predictions(found)] == list("0123456")
    assert [p.classes[0] for p in predictions(found)] == [0, 1, 2, 0, 1, 2, 0]
    assert found.predictions["id"].to_pylist() == list("0123456")
    assert found.skipped == []
    assert found.seconds > 0


@pytest.mark.parametrize("saliency", [Cam(), Backprop(blur=0.0)], ids=["cam", "backprop"])
def test_a_compiled_network_finds_the_same_and_is_compiled_once(image_set, saliency):
    images = seven(image_set)  # 2 + 2 + 2 + 1
    plain = run(images, saliency=saliency)
    torch.compiler.reset()
    with torch._dynamo.config.patch(error_on_recompile=True):
        found = run(images, saliency=saliency, compute=dataclasses.replace(CPU, compile=True))
    assert found.predictions.drop("probabilities").equals(plain.predictions.drop("probabilities"))
    for one, two in zip(predictions(found), predictions(plain), strict=True):
        assert one.probabilities == pytest.approx(two.probabilities, abs=1e-6)


def test_processes_share_the_images_and_the_first_returns_all(image_set, monkeypatch):
    images = seven(image_set)
    shares = []

    def gather(processes, value):
        shares.append(value)
        return shares if processes.is_main else []

    monkeypatch.setattr(Processes, "gather", gather)
    other, main = (
        run(images, compute=dataclasses.replace(CPU, processes=Processes(rank, 2, rank)))
        for rank in (1, 0)
    )
    assert other.predictions.num_rows == 0
    assert [rows.num_rows for rows, _ in shares] == [3, 4]
    assert sorted(main.predictions["id"].to_pylist()) == list("0123456")
    assert [p.id for p in predictions(main)] == list("0123456")


def test_an_unreadable_image_ends_the_pass_or_is_counted(image_set):
    images = seven(image_set)
    path = Path(images.folder) / "3.JPEG"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(UserError, match=r"3\.JPEG: not a readable image .* loader\.on_error=skip"):
        run(images)
    found = run(images, on_error="skip")
    assert [p.id for p in predictions(found)] == list("012456")
    assert [p.classes[0] for p in predictions(found)] == [0, 1, 2, 1, 2, 0]
    assert len(found.skipped) == 1
    assert str(path) in found.skipped[0]


def test_ten_crops_average_probabilities_and_boxes_come_back_to_the_image(image_set, tmp_path):
    # A red square near the left upper corner of the 40x40 frame, doubled to 80x80 pixels: of the
    # 32-pixel crops (corners 0 and 8, centre 4) each sees another part of it.
    frame = blocks(40, 40, (RED, 0, 0, 15, 15), (GREEN, 24, 32, 39, 39))
    image = frame.repeat(2, axis=0).repeat(2, axis=1)
    images = image_set({"a": (image, RED, (0, 0, 31, 31))})
    found = run(images, view=Ten(32, 40), maps_folder=tmp_path)
    (prediction,) = predictions(found)

    seen = np.asarray(Image.fromarray(image).resize((40, 40), Image.Resampling.BILINEAR)) / 255
    corners = [(0, 0), (0, 8), (8, 0), (8, 8), (4, 4)]
    mean = np.zeros(3)
    for y, x in corners:  # a mirror has the same means of colours
        scores = 16 * seen[y : y + 32, x : x + 32].mean((0, 1))
        mean += np.exp(scores) / np.exp(scores).sum() / 5
    assert prediction.classes == [RED, GREEN, BLUE]
    assert prediction.probabilities == pytest.approx(mean.tolist(), abs=1e-5)
    # It is a mean of probabilities: that of the scores would give another number.
    scores = np.mean([16 * seen[y : y + 32, x : x + 32].mean((0, 1)) for y, x in corners], axis=0)
    assert abs(np.exp(scores[0]) / np.exp(scores).sum() - mean[0]) > 1e-3

    kept = np.load(tmp_path / "a.npy")
    assert kept.shape == (40, 40)
    assert kept.max() == 1
    assert kept[20:, 20:].max() < 0.05  # nothing of class red there
    x0, y0, x1, y1 = prediction.rules["threshold"].guesses[0][1]
    assert (x0, y0) == (0, 0)
    assert 24 <= x1 <= 40
    assert 24 <= y1 <= 40


# --- maps


def mixed(image_set, count=5):
    """Images of coarse random colours in sizes of their own, and a label that is not the best."""
    rng = np.random.default_rng(3)
    images = {}
    for i in range(count):
        cells_443 = rng.integers(0, 256, (4, 4, 3), np.uint8)
        pixels = cells_443.repeat(50 + 7 * i, axis=0).repeat(75 - 9 * i, axis=1)
        images[f"{i}"] = (pixels, int(cells_443.mean((0, 1)).argmin()), (0, 0, 20, 20))
    return image_set(images)


def test_saved_maps_are_those_of_the_true_class(image_set, tmp_path):
    images = image_set({"a": (MIDDLE, GREEN, (0, 0, 15, 7)), "b": (MIDDLE, RED, (8, 8, 23, 23))})
    run(images, maps_folder=tmp_path / "maps")
    assert sorted(path.name for path in (tmp_path / "maps").iterdir()) == ["a.npy", "b.npy"]
    green, red = (np.load(tmp_path / "maps" / f"{name}.npy") for name in "ab")
    assert green.dtype == red.dtype == np.float32
    expected = np.zeros((2, 4, 4))
    expected[0, 0, :2] = 16  # two cells of green in the corner
    expected[1, 1:3, 1:3] = 16  # four of red in the middle
    np.testing.assert_allclose(green, expected[0], atol=1e-5)
    np.testing.assert_allclose(red, expected[1], atol=1e-5)


def test_without_labels_the_best_classs_map_is_saved(image_set, tmp_path):
    green = blocks(32, 32, (GREEN, 8, 8, 23, 23), (RED, 0, 0, 15, 7))
    images = image_set({"a": (green, RED, (0, 0, 15, 7))})
    unlabelled = dataclasses.replace(images, labels_N=np.array([-1], np.int32))
    run(unlabelled, maps_folder=tmp_path)
    expected = np.zeros((4, 4))
    expected[1:3, 1:3] = 16  # green
    np.testing.assert_allclose(np.load(tmp_path / "a.npy"), expected, atol=1e-5)


def test_the_mean_of_a_saved_map_is_the_classs_score(image_set, tmp_path):
    images = mixed(image_set)
    run(images, maps_folder=tmp_path)
    network = ColourNet().eval()
    for i in range(len(images)):
        sample = images[i]
        crops_V3HW = Squash(32, 40).crops(Image.open(sample.path)).transpose(0, 3, 1, 2)
        with torch.no_grad():
            logits_C = network(network.normalize(torch.tensor(crops_V3HW)))[0]
        mean = float(np.load(tmp_path / f"{sample.id}.npy").mean())
        assert mean == pytest.approx(float(logits_C[sample.label]), abs=1e-5)
        assert sample.label != int(logits_C.argmax())  # not the class guessed


@pytest.mark.parametrize("view", [Squash(32, 40), Ten(32, 40)], ids=["squash", "ten"])
def test_boxes_of_the_true_class_can_be_made_again_of_the_saved_maps(image_set, tmp_path, view):
    images = mixed(image_set)
    found = run(images, view, maps_folder=tmp_path, boxes={"threshold": ThresholdBox(0.5)})
    known = [prediction.rules["threshold"].gt_known for prediction in predictions(found)]

    def boxes(interpolation):
        for prediction in predictions(found):
            map_hw = np.load(tmp_path / f"{prediction.id}.npy")
            assert map_hw.shape == ((4, 4) if isinstance(view, Squash) else (40, 40))
            map_HW = resize(map_hw, prediction.width, prediction.height, interpolation)
            yield largest_component_box(map_HW, 0.5)

    assert list(boxes(view.interpolation)) == known
    assert len(set(known)) == len(images)
    other = "linear" if view.interpolation == "cubic" else "cubic"
    assert list(boxes(other)) != known


@pytest.mark.parametrize("name", ["../../outside", "/tmp/outside", "a/../../../outside"])
def test_an_image_whose_name_leads_elsewhere_has_no_map(image_set, tmp_path, name):
    images = mixed(image_set)
    images = dataclasses.replace(images, ids=Names([*list(images.ids)[1:], name]))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match="is no name of a file or folder in"):
        run(images, maps_folder=tmp_path / "a" / "maps")
    assert sorted(tmp_path.rglob("*")) == before
    assert len(run(images).predictions) == len(images)


def test_the_checksum_of_a_map_is_that_of_its_file(image_set, tmp_path):
    for row in run(mixed(image_set), maps_folder=tmp_path).predictions.to_pylist():
        content = (tmp_path / f"{row['id']}.npy").read_bytes()
        assert row["map_crc32"] == zlib.crc32(content)


def test_a_disk_that_maps_fill_is_one_line(image_set, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match=r"/maps/.*\.npy: the disk is full \("):
        run(mixed(image_set), maps_folder=tmp_path / "maps")


def test_maps_are_no_matter_to_the_predictions(image_set, tmp_path):
    images = mixed(image_set)
    with_maps, without = run(images, maps_folder=tmp_path), run(images)
    assert without.predictions["right_at"].null_count == len(images)
    of_maps = ["right_at", "map_crc32"]
    assert with_maps.predictions.drop(of_maps).equals(without.predictions.drop(of_maps))


def test_with_maps_it_is_known_at_which_thresholds_the_box_is_right(image_set, tmp_path):
    images = mixed(image_set)

    def boxes_at(threshold, folder=None):
        found = run(images, maps_folder=folder, boxes={"threshold": ThresholdBox(threshold)})
        boxes = [prediction.rules["threshold"].gt_known for prediction in predictions(found)]
        return np.array(boxes, np.int32), found.predictions["right_at"].to_pylist()

    # The boxes at 65 % become the truth; most of those at 20 % are other boxes.
    truth_N4, _ = boxes_at(0.65)
    images = dataclasses.replace(images, boxes=RaggedBoxes.from_lists(truth_N4[:, None]))
    boxes_N4, right_at = boxes_at(0.2, tmp_path)
    assert all(65 in percents for percents in right_at)
    is_right = [iou(boxes_N4[i : i + 1], truth_N4[i : i + 1]).item() >= 0.5 for i in range(5)]
    assert [20 in percents for percents in right_at] == is_right


# --- rules that look at the image


class RedPixels(BoxRule):
    """The box of all pixels with much red; keeps what it saw."""

    needs_image = True

    def __init__(self):
        self.seen = []

    def __call__(self, maps):
        pixels_HW3 = maps.image_HW3
        self.seen.append(pixels_HW3)
        y, x = np.nonzero(pixels_HW3[..., 0] > 128)
        box = (int(x.min()), int(y.min()), int(x.max()), int(y.max()))
        return [(index, box) for index in maps.classes]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_rule_sees_the_image_as_it_is_stored(image_set, workers):
    plain = blocks(30, 50, (RED, 7, 3, 40, 21), (GREEN, 0, 0, 5, 29))
    full = (0, 0, 1, 1)
    images = image_set({name: (plain, RED, full) for name in ("rgb", "grey", "cmyk")})
    files = {name: Path(images.folder) / f"{name}.JPEG" for name in ("grey", "cmyk")}
    grey = np.zeros((17, 64), np.uint8)
    grey[2:9, 11:61] = 200
    Image.fromarray(grey, "L").save(files["grey"], "PNG")
    # Magenta and yellow ink make red; no ink but black makes black. In blocks of 8, for JPEG.
    ink = np.zeros((32, 16, 4), np.uint8)
    ink[..., 3] = 255
    ink[8:24, :8] = (0, 255, 255, 0)
    Image.fromarray(ink, "CMYK").save(files["cmyk"], "JPEG", quality=100, subsampling=0)

    rule = RedPixels()
    found = run(images, boxes={"red": rule}, workers=workers)
    boxes = {p.id: {box for _, box in p.rules["red"].guesses} for p in predictions(found)}
    assert boxes == {
        "rgb": {(7, 3, 40, 21)},
        "grey": {(11, 2, 60, 8)},
        "cmyk": {(0, 8, 7, 23)},
    }
    assert all(p.rules["red"].gt_known in boxes[p.id] for p in predictions(found))
    assert {(p.width, p.height) for p in predictions(found)} == {(50, 30), (64, 17), (16, 32)}
    # In the order of the ids: cmyk, grey, rgb; twice each, for the guesses and the true class.
    cmyk, _, grey_seen, _, rgb, _ = rule.seen
    assert rgb.dtype == np.uint8
    np.testing.assert_array_equal(rgb, plain)
    np.testing.assert_array_equal(grey_seen, np.stack([grey] * 3, axis=2))
    expected = np.zeros((32, 16, 3))
    expected[8:24, :8, 0] = 255
    np.testing.assert_allclose(cmyk, expected, atol=3)


def test_pixels_are_kept_for_those_rules_alone(image_set):
    class Nosy(BoxRule):
        def __call__(self, maps):
            assert maps.image_HW3 is None
            return [(maps.classes[0], (0, 0, 1, 1))]

    images = image_set({"a": (MIDDLE, RED, (8, 8, 23, 23))})
    found = run(images, boxes={"nosy": Nosy()})
    assert predictions(found)[0].rules["nosy"].gt_known == (0, 0, 1, 1)
    with pytest.raises(AssertionError):
        run(images, boxes={"nosy": Nosy(), "red": RedPixels()})


def test_a_stopped_pass_leaves_the_boxes_that_wait(image_set):
    asked = []

    class Slow(BoxRule):
        def __call__(self, maps):
            asked.append(maps)
            if len(asked) == 1:
                time.sleep(0.2)  # until the main thread has done with starting this one
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.5)  # until it has heard the signal
            return [(maps.classes[0], (0, 0, 1, 1))]

    images = image_set({name: (MIDDLE, RED, (8, 8, 23, 23)) for name in "abcdef"})
    with pytest.raises(KeyboardInterrupt):
        run(images, boxes={"slow": Slow()})
    assert len(asked) == 2  # of the true class and of the best, of one image of six


def test_the_network_is_left_as_it_was(image_set):
    images = image_set({"a": (MIDDLE, RED, (8, 8, 23, 23))})
    network = ColourNet().train()
    network.fc.weight.requires_grad_(True)
    network.cells.requires_grad_(False)
    rules = {"threshold": ThresholdBox()}
    this_pass = Pass(network, Backprop(blur=0.0), Squash(32, 40), rules)
    evaluate(this_pass, images, LoaderSettings(workers=0), CPU)
    assert network.training
    assert network.fc.weight.requires_grad
    assert network.fc.weight.grad is None


def test_a_batch_holds_all_crops_of_each_image():
    squash, ten = Squash(32, 40), Ten(32, 40)
    gpu = Compute(torch.device("cuda"))

    def at_a_time(view, batch_size, compute):
        return Pass(ColourNet(), Cam(), view, BOXES, batch_size).images_at_a_time(compute)

    assert [at_a_time(squash, size, CPU) for size in (None, 1, 5)] == [16, 1, 5]
    assert [at_a_time(ten, size, CPU) for size in (None, 1, 25)] == [1, 1, 2]
    assert [at_a_time(view, None, gpu) for view in (squash, ten)] == [64, 6]


def test_classification_errors_are_over_all_batches():
    red, green = (np.transpose(blocks(8, 8, (c, 0, 0, 7, 7)), (2, 0, 1)) for c in (RED, GREEN))

    def batch(*pairs, has_NC=None):
        pixels = torch.from_numpy(np.stack([image for image, _ in pairs]))
        truth = BatchTruth(torch.tensor([label for _, label in pairs]), has_NC)
        return LabelledBatch(pixels, truth, [])

    # Right, wrong, right; with three classes the first five are always right.
    batches = [batch((red, RED), (red, GREEN)), batch((green, GREEN))]
    policy = ErrorPolicy("stop")
    smoothed = Classification(label_smoothing=0.5)  # which validation is not
    errors = classification_errors(ColourNet(), batches, policy, CPU, smoothed)
    log_total = math.log(math.exp(16) + 2)
    assert errors["val_loss"] == pytest.approx((3 * log_total - 32) / 3, abs=1e-5)
    assert errors["val_top1_error"] == pytest.approx(100 / 3, abs=1e-9)
    assert errors["val_top5_error"] == pytest.approx(0, abs=1e-9)
    # Where all classes are given, any of them is right.
    both = batch((red, GREEN), has_NC=torch.tensor([[True, True, False]]))
    errors = classification_errors(ColourNet(), [both], policy, CPU, MultiLabel())
    assert errors["val_top1_error"] == 0


class NotANumber(Cam):
    """Gives infinite scores, or maps with NaN, of all images but the first of a batch."""

    def __init__(self, what):
        self.what = what

    def explain(self, network, x_NCHW, select):
        logits_NC, maps_NRhw = super().explain(network, x_NCHW, select)
        if self.what == "class scores":
            logits_NC[1:] = torch.inf
            select(logits_NC)
        else:
            maps_NRhw[1:, -1, 0, 0] = torch.nan
        return logits_NC, maps_NRhw


@pytest.mark.parametrize("what", ["class scores", "maps"])
def test_what_is_no_number_ends_the_pass_by_the_images_name(image_set, what):
    images = image_set({name: (MIDDLE, RED, (8, 8, 23, 23)) for name in "abc"})
    with pytest.raises(UserError) as error:
        run(images, saliency=NotANumber(what))
    assert str(error.value).startswith(f"b: the network's {what} of this image are NaN or inf")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("n", [0, 1, TABLES_AT_A_TIME, 2 * TABLES_AT_A_TIME + 1])
def test_rows_on_disk_come_back_as_one_table_in_order(n):
    rows = RowsOnDisk(pa.table({"id": pa.array([], pa.int32())}))
    for number in range(n):
        rows.add(pa.table({"id": pa.array([number, -number], pa.int32())}))
    found = rows.table()
    assert found["id"].to_pylist() == [sign * number for number in range(n) for sign in (1, -1)]
    assert found.schema == rows.none.schema
    assert found["id"].num_chunks <= 1
