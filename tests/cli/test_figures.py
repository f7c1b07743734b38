"""cam-figures: one command a figure, in three formats; mistakes in one line."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from run_builder import RIGHT, prediction, write_example_run

from cam_repro.geometry import inside_boxes

RESULTS = Path(__file__).parents[2] / "results"


@pytest.fixture
def runs(tmp_path):
    """Two runs over the same images; in the second every guess is the whole image."""
    for saliency, box in (("cam", (10, 10, 29, 29)), ("backprop", (0, 0, 59, 39))):
        images = [prediction(name, box=box) for name in ("cat_1", "cat_2", "cat_3")]
        write_example_run(tmp_path / "runs" / saliency, images, saliency=saliency)
    return tmp_path / "runs"


@pytest.mark.parametrize("figure", ["3", "4", "5", "6", "sheet"])
def test_a_figure_by_one_command(command, runs, tmp_path, figure):
    done = command("figures", f"figure={figure}", "runs=runs/cam", "count=2", "output=out/f.svg")
    assert (done.status, done.errors) == (0, []), done.err
    assert done.out == "out/f.svg\n"
    svg = (tmp_path / "out" / "f.svg").read_text("utf-8")
    assert "images: spread evenly over the split</text>" in svg
    assert "class 0" in svg


def test_two_runs_by_a_glob(command, runs, tmp_path):
    done = command("figures", "figure=6", "runs=runs/*", "images=[cat_3,cat_1]", "output=f.svg")
    assert done.status == 0, done.err
    svg = (tmp_path / "f.svg").read_text("utf-8")
    assert svg.index(">nin, backprop</text>") < svg.index(">nin, cam</text>")
    assert svg.count(">IoU 0.17</text>") == svg.count(">IoU 1.00</text>") == 2


def test_the_default_is_a_contact_sheet_in_this_folder(command, runs, tmp_path):
    done = command("figures", "runs=runs/cam", "box=whole_image", "figure.columns=1")
    assert done.out == "figure-sheet.png\n"
    assert Image.open(tmp_path / "figure-sheet.png").size[0] == 700  # 3.5 inches, for the legend
    done = command("figures", "figure=4", "runs=runs/cam")
    assert done.out == "figure-4.png\n"


def test_curves_of_a_training_run(command, tmp_path):
    run = RESULTS / "demo" / "alexnet_gap" / "train"
    done = command("figures", "figure=curves", f"runs={run}", "output=c.svg")
    assert done.status == 0, done.err
    assert "AlexNet-GAP trained on demo</text>" in (tmp_path / "c.svg").read_text("utf-8")


def test_curves_of_a_folder_above_training_runs(command, tmp_path):
    alone = RESULTS / "tinyimagenet40" / "alexnet_gap"
    done = command("figures", "figure=curves", f"runs={alone}", "output=c.svg")
    assert done.status == 0, done.err
    done = command("figures", "figure=curves", f"runs={RESULTS / 'tinyimagenet40'}")
    assert f"3 runs, and this figure shows one: name one of {alone / 'train'}, " in done.err


def test_torch_is_not_needed(runs, tmp_path):
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: print('torch' in sys.modules))\n"
        "from cam_repro.cli.figures import main\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "runs=runs/cam"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "figure-sheet.png\nFalse\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "runs not given: add runs=DIR or runs=[A,B] (see --help)"),
        (["runs=nowhere"], "no scored runs under nowhere: "),
        (["runs=runs/*"], "runs=runs/*: 2 runs, and this figure shows one: name one of runs/"),
        (["runs=runs/cam", "images=dog"], "dog: not among the 3 examples of runs/cam "),
        (
            ["runs=runs/cam", "sort=worst"],
            "sort=worst: runs/cam has no such examples: none of its images has a true box to "
            "compare with",
        ),
        (["runs=runs/cam", "sort=odd"], "sort=odd: choose one of even, best, typical, worst"),
        (["runs=runs/cam", "count=0"], "count=0: must be 1 or more images"),
        (["runs=runs/cam", "box=dt_box"], "box=dt_box: not in runs/cam; choose one of threshold"),
        (["runs=runs/cam", "output=f.jpg"], "f.jpg: a figure is written as .png, .pdf or .svg"),
        (["runs=runs/cam", "figure=7"], "figure=7: choose one of 3, 4, 5, 6, curves, sheet, thr"),
        (["runs=runs/cam", "figure=curves"], "no training run in runs/cam: name a folder that "),
        (["runs=runs/cam", "figure=threshold"], "runs/cam: has no maps: score it again with "),
        (["runs=x", "figure=curves", "box=foo"], "box is not used by figure=curves: leave it out"),
        (["runs=x", "figure=curves", "images=[z]"], "images is not used by figure=curves: "),
        (["runs=x", "figure=threshold", "sort=worst"], "sort is not used by figure=threshold: "),
        (["runs=x", "figure=threshold", "count=9"], "count is not used by figure=threshold: "),
        (["runs=x", "images=[a]", "sort=worst"], "sort is not used beside images: leave one of "),
        (["runs=x", "images=[a]", "count=3"], "count is not used beside images: leave one of "),
        (["runs=x", "figure=threshold", "figure.thresholds=1"], "figure.thresholds=1: must be a "),
        (["runs=x", "figure=threshold", "figure.error=top3"], "figure.error=top3: choose one of "),
        (["runs=x", "figure.columns=2.5"], "figure.columns=2.5: must be a whole number, 1 or more"),
        (["runs=x", "figure.columns=x"], "figure.columns=x: must be a whole number, 1 or more"),
        (["runs=x", "figure.columns=0"], "figure.columns=0: must be a whole number, 1 or more"),
        (["runs=x", "figure.colours=[a]"], "figure.colours=['a']: matplotlib has no colours"),
        (["runs=runs/cam", "figure.colours=red"], "figure.colours=red: matplotlib has no colours"),
    ],
)
def test_mistakes_are_one_line(command, runs, tmp_path, words, message):
    before = sorted(tmp_path.rglob("*"))
    done = command("figures", *words)
    assert done.status == 1
    assert len(done.errors) == 1, done.err
    assert done.errors[0].startswith(f"error: {message}")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.fixture
def run_with_maps(make_run):
    """A run of four images whose maps are a box of 1 in ``floor``, so right above it."""

    def make(name, floor, **changes):
        folder = make_run("nin", n=4, maps=True, folder=name, **changes)
        (folder / "maps").mkdir()
        map_HW = np.where(inside_boxes([RIGHT], 20, 20), 1.0, floor).astype(np.float32)
        for i in range(4):
            np.save(folder / "maps" / f"image{i:05d}.npy", map_HW)
        return folder

    return make


def test_the_threshold_curves_of_several_runs(command, run_with_maps, tmp_path):
    one, other = run_with_maps("one", 0.25), run_with_maps("two", 0.65)
    words = ["figure=threshold", f"runs=[{one},{other}]", "figure.thresholds=10", "output=f.svg"]
    assert command("figures", *words).status == 0
    said = (tmp_path / "f.svg").read_text()
    for folder, at in ((one, 30), (other, 70)):
        assert f"oracle 0.0 % at {at} %" in said
        assert folder.name in said
    assert "GT-known localization error, %" in said
    assert "demo val (4 images)" in said


def test_threshold_curves_of_runs_that_skipped_other_images_are_refused(command, run_with_maps):
    one, other = run_with_maps("one", 0.25), run_with_maps("two", 0.65, ids="other{:05d}")
    done = command("figures", "figure=threshold", f"runs=[{one},{other}]")
    assert done.errors == [f"error: {other} and {one} did not score the same images"]


def test_threshold_curves_of_different_images_are_refused(command, run_with_maps):
    one, other = run_with_maps("one", 0.25), run_with_maps("two", 0.65, split="train")
    done = command("figures", "figure=threshold", f"runs=[{one},{other}]")
    assert f"{other} and {one} are not of the same images: name runs over one split" in done.err
