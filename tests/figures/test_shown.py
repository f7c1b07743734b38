import numpy as np
import pytest
from run_builder import prediction, write_example_run, write_run

from cam_repro.errors import UserError
from cam_repro.figures.base import Wanted
from cam_repro.figures.pictures import say_percent, say_probability
from cam_repro.figures.shown import read_run
from cam_repro.types import NO_LABEL

WHY = {
    "a": ("even", "worst"),
    "b": ("best",),
    "c": ("even", "best"),
    "d": ("typical",),
    "e": ("even",),
    "f": ("even", "worst"),
}
BOXES = {"a": (40, 0, 49, 9), "b": (10, 10, 29, 29), "c": (10, 10, 29, 27), "d": (0, 0, 29, 29)}


def images(**more):
    return [prediction(name, box=BOXES.get(name, (0, 0, 15, 15)), **more) for name in WHY]


def ids(shown):
    return "".join(one.example.id for one in shown)


def test_images_are_picked_by_kind_and_ordered_by_overlap(tmp_path):
    run = read_run(write_example_run(tmp_path, images(), why=WHY))
    assert ids(run.images) == "abcdef"
    assert [round(one.iou, 2) for one in run.images] == [0, 1, 0.9, 0.44, 0.06, 0.06]
    assert ids(run.pick("even", 9)) == "acef"
    assert ids(run.pick("even", 2)) == "ae"
    assert ids(run.pick("best", 9)) == "bc"
    assert ids(run.pick("worst", 9)) == "af"
    assert ids(run.pick("worst", 1)) == "a"
    assert ids(run.named(["d", "a"])) == "da"
    with pytest.raises(UserError, match="sort=odd: choose one of even, best, typical, worst"):
        run.pick("odd", 1)
    with pytest.raises(
        UserError, match=r"^x: not among the 6 examples of .* \(such as a, b, c\).*examples=6$"
    ):
        run.named(["a", "x"])


def test_a_kind_without_images_is_said(tmp_path):
    run = read_run(write_example_run(tmp_path, images()))
    with pytest.raises(UserError, match=r"sort=worst: .* has no such examples: none of its"):
        run.pick("worst", 3)


def test_the_true_class_and_its_map(tmp_path):
    heats = {"a": np.float32([[[1, 3]], [[-1, 0]], [[np.nan, -2]]])}
    predictions = [prediction("a", label=7), prediction("b", label=NO_LABEL, truth=[])]
    one, other = read_run(write_example_run(tmp_path, predictions, heats)).images
    assert one.true_rank == 2
    assert one.example.names[2] == "class 7, also kind 7"
    heat = one.heat_HW(0)
    assert heat.shape == (40, 60)
    assert (heat[0, 0], heat[0, -1]) == (pytest.approx(1 / 3), pytest.approx(1))
    assert (one.heat_HW(1) == 0).all()
    assert (one.heat_HW(2) == 0).all()
    assert (other.true_rank, other.iou) == (None, None)


def test_runs_share_their_images(tmp_path):
    one = write_example_run(tmp_path / "one", images(), why=WHY)
    two = write_example_run(tmp_path / "two", images()[1:], why=WHY)
    wanted = Wanted(names="", folders=[one, two])
    shown = wanted.images_of_all(wanted.runs(), default=9)
    assert [ids(of_run) for of_run in shown] == ["cef", "cef"]
    assert shown[0][0].example is not shown[1][0].example
    named = Wanted(names="", folders=[one, two], images=["f", "b"])
    assert [ids(of_run) for of_run in named.images_of_all(named.runs(), 9)] == ["fb", "fb"]
    few = write_example_run(tmp_path / "few", images()[:2])
    typical = Wanted(names="", folders=[one, few], sort="typical")
    runs = typical.runs()
    with pytest.raises(UserError, match=r"^sort=typical: no such .*one is among .*sort=even"):
        typical.images_of_all(runs, 9)
    other = write_example_run(tmp_path / "three", images(), fingerprint="other")
    mixed = Wanted(names="", folders=[one, other])
    with pytest.raises(UserError, match=r"three and .*one are not of the same images"):
        mixed.images_of_all(mixed.runs(), 9)


def test_a_run_without_examples_says_how_to_get_them(tmp_path):
    with pytest.raises(UserError, match="cam-eval examples=8"):
        read_run(write_run(tmp_path, "nin"))
    with pytest.raises(UserError, match="made without a network, it has no maps"):
        read_run(write_run(tmp_path, "none", classifies=False))


def test_one_run_is_wanted(tmp_path):
    with pytest.raises(UserError, match=r"runs=\*: 2 runs, and this figure shows one: .* a, b$"):
        Wanted(names="*", folders=["a", "b"]).one_run()


@pytest.mark.parametrize(
    ("probability", "digits", "decimals", "percent"),
    [
        (0.58249, 3, "0.582", "58.249%"),
        (0.0005, 3, "0.001", "0.050%"),
        (0.0004, 3, "under 0.001", "0.040%"),
        (0.000004, 3, "under 0.001", "<0.001%"),
        (0.0, 3, "0.000", "0.000%"),
        (1.0, 0, "1", "100%"),
        (0.004, 0, "under 1", "<1%"),
        (0.004, 1, "under 0.1", "0.4%"),
        (0.0004, 1, "under 0.1", "<0.1%"),
        (0.004, 2, "under 0.01", "0.40%"),
    ],
)
def test_a_small_probability_is_not_written_as_0(probability, digits, decimals, percent):
    assert say_probability(probability, digits) == decimals
    assert say_percent(probability, digits) == percent
