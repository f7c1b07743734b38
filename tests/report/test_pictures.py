import base64
import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from cam_repro.figures.shown import show_examples
from cam_repro.report.pictures import Pictured, compare_runs, galleries
from cam_repro.runs.examples import Example, small_jpeg
from cam_repro.runs.predictions import read_predictions
from cam_repro.tables import Run

NAMES = tuple("abcdef")


def example(number, *why, classes=(1, 2, 3, 4, 5, 0), **changes):
    """An example of ``write_run``: of image ``number``, whose true class 0 is the last."""
    made = Example(
        id=f"image{number:05d}",
        index=number,
        width=20,
        height=20,
        jpeg=small_jpeg(Image.new("RGB", (20, 20), "white")),
        why=why,
        classes=classes,
        names=tuple(NAMES[index] for index in classes),
        probabilities=(0.5, 0.2, 0.1, 0.1, 0.1, 0.0)[: len(classes)],
        maps_Rhw=np.ones((len(classes), 2, 2), np.float32),
    )
    return replace(made, **changes)


@pytest.fixture
def pictured(make_run):
    """A run as the report passes it on."""

    def make(model, saliency="cam", examples=(), **changes):
        run = Run(f"{model}/{saliency}", read_predictions(make_run(model, saliency, **changes)))
        images = show_examples(examples, run.table, next(iter(run.table.rules)))
        return Pictured(f"{model} {saliency}", "run-1", run, images)

    return make


# --- galleries -----------------------------------------------------------------------------------


def test_a_gallery_has_the_first_guess_and_says_what_is_right(pictured):
    right = example(0, "best", classes=(0, 1, 2, 3, 4))
    examples = [right, example(1, "worst", "even"), example(3, "even")]
    (gallery,) = galleries([pictured("nin", cls_right=1, loc_right=2, examples=examples)])
    assert (gallery.label, gallery.rule) == ("nin cam", "threshold")
    assert list(gallery.kinds) == ["Best", "Worst"]
    (best,), (worst,) = gallery.kinds.values()
    assert (best.id, best.name, best.true_name, best.verdict) == ("image00000", "a", "a", "right")
    assert (best.guess, best.true_boxes, best.overlap) == ((0, 0, 9, 9), [(0, 0, 9, 9)], 1.0)
    assert (worst.name, worst.true_name, worst.probability) == ("b", "a", 0.5)
    assert (worst.verdict, worst.overlap) == ("wrong class", 1.0)


def test_a_wrong_box_is_called_so(pictured):
    shown = example(0, "worst", classes=(0, 1, 2, 3, 4))
    (gallery,) = galleries([pictured("nin", cls_right=1, examples=[shown])])
    (picture,) = gallery.kinds["Worst"]
    assert (picture.verdict, picture.overlap) == ("wrong box", 0.0)


def test_two_classes_of_one_name_are_two(pictured):
    cranes = ("crane",) * 2 + NAMES[2:]
    shown = [
        example(number, "worst", classes=classes, names=cranes[: len(classes)])
        for number, classes in enumerate([(0, 1, 2, 3, 4), (1, 2, 3, 4, 5, 0)])
    ]
    (gallery,) = galleries([pictured("nin", cls_right=1, loc_right=2, examples=shown)])
    one, other = gallery.kinds["Worst"]
    assert (one.name, one.true_name, one.is_right, one.verdict) == ("crane", "crane", True, "right")
    assert (other.name, other.is_right, other.verdict) == ("crane", False, "wrong class")


def test_without_a_label_or_a_true_box_nothing_is_judged(pictured):
    unknown = pictured("nin", has_labels=False, examples=[example(0, "best")])
    (gallery,) = galleries([unknown])
    (picture,) = gallery.kinds["Best"]
    assert (picture.true_name, picture.is_right, picture.verdict) == (None, None, "")


def test_the_best_and_the_worst_come_first(pictured):
    kinds = {"best": [0, 1, 2], "worst": [2, 3]}
    examples = [
        example(number, *(kind for kind, numbers in kinds.items() if number in numbers))
        for number in range(4)
    ]
    (gallery,) = galleries([pictured("nin", loc_right=2, examples=examples[::-1])])
    overlaps = {kind: [each.overlap for each in some] for kind, some in gallery.kinds.items()}
    assert overlaps == {"Best": [1.0, 1.0, 0.0], "Worst": [0.0, 0.0]}


def test_runs_without_examples_have_no_gallery(pictured):
    assert galleries([pictured("nin"), pictured("vgg", examples=[example(0, "even")])]) == []


@pytest.mark.parametrize(("n_runs", "of_each"), [(1, 3), (25, 2), (60, 1)])
def test_the_more_runs_the_fewer_pictures_of_each(pictured, n_runs, of_each):
    one = pictured("nin", examples=[example(number, "best") for number in range(4)])
    shown = galleries([one] * n_runs)
    assert len(shown) == n_runs
    assert {len(gallery.kinds["Best"]) for gallery in shown} == {of_each}


# --- comparisons ---------------------------------------------------------------------------------


def test_cam_and_backprop_are_compared_on_the_true_class_of_the_same_images(pictured):
    even = [example(number, "even") for number in range(2)]
    cam = pictured("googlenet_gap", loc_right=1, examples=even)
    backprop = pictured("googlenet", "backprop", examples=[even[0], example(1, "best")])
    (found,) = compare_runs([backprop, cam])
    assert (found.title, found.labels) == ("CAM and Backprop", (cam.label, backprop.label))
    (left, right), _ = found.pairs
    assert (left.id, left.name, left.guess) == ("image00000", "a", (0, 0, 9, 9))
    assert (right.id, right.name, right.guess) == ("image00000", "a", (10, 10, 19, 19))


@pytest.mark.parametrize(
    ("ours", "other", "title"),
    [
        (("googlenet_gap", {}), ("googlenet_gmp", {}), "Global average pooling"),
        (("googlenet_gap_caffe", {}), ("googlenet_gmp_caffe", {}), "Global average pooling"),
        (("vgg_gap_caffe", {}), ("vgg_caffe", {"saliency": "backprop"}), "CAM and Backprop"),
        (("nin", {}), ("nin", {"saliency": "backprop"}), "CAM and Backprop"),
        (("nin", {}), ("vgg", {"saliency": "backprop"}), None),
        (("nin", {}), ("nin", {"saliency": "backprop", "view": "ten"}), None),
        (("googlenet_gap", {}), ("googlenet", {}), "The GAP network and the plain one"),
        (("nin", {}), ("nin", {"split": "test"}), None),
    ],
)
def test_what_is_compared(pictured, ours, other, title):
    even = [example(0, "even")]
    runs = [pictured(model, examples=even, **changes) for model, changes in (ours, other)]
    titles = [found.title for found in compare_runs(runs)]
    assert [found.startswith(title) for found in titles] == [True] if title else titles == []


# --- pixels --------------------------------------------------------------------------------------


def test_a_picture_is_a_small_jpeg_and_boxes_stay_in_pixels_of_the_original(pictured):
    large = example(0, "best", width=20, height=20, jpeg=small_jpeg(Image.new("RGB", (900, 900))))
    (gallery,) = galleries([pictured("nin", examples=[large])])
    (picture,) = gallery.kinds["Best"]
    kind, data = picture.source.split(",")
    assert kind == "data:image/jpeg;base64"
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (360, 360)
    assert (picture.width, picture.height) == (20, 20)


@pytest.mark.parametrize(
    ("box", "lines"),
    [
        ((2, 3, 11, 12), (2, 3, 10, 10, False)),
        ((1, 0, 98, 49), (3, 3, 94, 44, True)),  # within 1 % of the whole image
        ((2, 0, 99, 49), (2, 0, 98, 50, False)),
    ],
)
def test_a_box_of_almost_the_whole_image_is_set_in_as_in_figures(pictured, box, lines):
    (gallery,) = galleries([pictured("nin", examples=[example(0, "best")])])
    (picture,) = gallery.kinds["Best"]
    wide = replace(picture, width=100, height=50, guess=box, true_boxes=[(0, 0, 99, 49)])
    (true, true_line), (guess, line) = wide.outlines
    assert (true, guess) == ("true", "guess")
    assert (true_line.x, true_line.width, true_line.is_whole) == (1.5, 97, True)
    assert (line.x, line.y, line.width, line.height, line.is_whole) == lines
