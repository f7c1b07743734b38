import shutil
from dataclasses import replace
from math import nan
from pathlib import Path

import pytest

from cam_repro.errors import UserError
from cam_repro.figures.base import Wanted
from cam_repro.figures.curves import TrainingCurves, draw_curves, write_curves
from cam_repro.runs.training_log import TrainingLog


def log(train_loss, val_top1):
    n = len(train_loss)
    return TrainingLog(
        list(range(1, n + 1)),
        {
            "train_loss": train_loss,
            "val_loss": [1.0] * n,
            "train_top1_error": [80.0] * n,
            "val_top1_error": val_top1,
            "val_top5_error": [5.0] * n,
        },
    )


def lines(axes):
    """Numbers and label of each curve."""
    return [
        (list(line.get_xdata()), list(line.get_ydata()), line.get_label()) for line in axes.lines
    ]


def test_curves_go_where_the_numbers_go():
    loss, error = draw_curves(log([2.0, 1.0, 0.5], [60.0, 40.0, 30.0]), "Some net").axes
    assert lines(loss) == [
        ([1, 2, 3], [2.0, 1.0, 0.5], "training, augmented: 0.5 at the end"),
        ([1, 2, 3], [1.0, 1.0, 1.0], "validation, centre crop: 1 at the end"),
    ]
    assert lines(error) == [
        ([1, 2, 3], [80.0] * 3, "top-1, training: 80 at the end"),
        ([1, 2, 3], [60.0, 40.0, 30.0], "top-1, validation: 30 at the end"),
        ([1, 2, 3], [5.0] * 3, "top-5, validation: 5 at the end"),
    ]
    assert error.get_ylim() == (0, 100)


def test_the_terms_of_a_loss_are_drawn_beside_it():
    of_labels = log([2.0, 1.0], [60.0, 40.0])
    terms = {"loss_cl": [1.5, 0.5], "loss_am": [0.5, -0.5]}
    loss, error = draw_curves(replace(of_labels, terms=terms), "Some net").axes
    assert lines(loss)[2:] == [
        ([1, 2], [1.5, 0.5], "loss_cl, training: 0.5 at the end"),
        ([1, 2], [0.5, -0.5], "loss_am, training: -0.5 at the end"),
    ]
    assert len({line.get_color() for line in loss.lines}) == 4
    assert (loss.get_ylabel(), len(error.lines)) == ("loss", 3)
    assert loss.get_ylim()[0] < -0.5
    plain, _ = draw_curves(of_labels, "Some net").axes
    assert (plain.get_ylabel(), plain.get_ylim()[0]) == ("cross-entropy", 0)


def test_a_loss_that_diverged_leaves_a_gap():
    loss, _ = draw_curves(log([2.0, nan], [60.0, 40.0]), "Some net").axes
    assert loss.lines[0].get_label() == "training, augmented: 2 at the end"
    assert loss.lines[0].get_ydata()[0] == 2


@pytest.mark.parametrize("count", [1, 2, 3, 8, 40])
def test_ticks_are_whole_epochs(count):
    axes = draw_curves(log([1.0] * count, [50.0] * count), "Some net").axes[0]
    ticks = axes.get_xticks()
    assert (ticks == ticks.round()).all()
    left, right = axes.get_xlim()
    assert left <= 1 <= count < right
    assert sum(left <= tick <= right for tick in ticks) >= min(count, 2)


def test_a_name_that_looks_like_a_formula_is_written_as_it_is(tmp_path):
    write_curves(tmp_path / "c.svg", log([1.0], [50.0]), r"Net on a$\foo$")
    assert r">Net on a$\foo$</text>" in (tmp_path / "c.svg").read_text()


def test_it_says_what_validation_is():
    figure = draw_curves(log([1.0], [50.0]), "Some net")
    assert figure.get_suptitle() == "Some net"
    assert figure.get_supxlabel().startswith("validation: the centre crop of the squashed image")


def test_a_figure_of_a_training_run(tmp_path):
    folder = tmp_path / "train"
    results = Path(__file__).parents[2] / "results"
    shutil.copytree(results / "demo" / "alexnet_gap" / "train", folder)
    figure = TrainingCurves().draw(Wanted(names="run", folders=[folder]))
    assert figure.get_suptitle() == "AlexNet-GAP trained on demo"
    (folder / "log.csv").write_text("epoch\n1\n")
    with pytest.raises(UserError, match=r"log\.csv is not as it was written: .*train the network"):
        TrainingCurves().draw(Wanted(names="run", folders=[folder]))


def test_the_size_and_the_format(tmp_path):
    write_curves(tmp_path / "curves.svg", log([1.0], [50.0]), "Some net")
    assert 'width="518.4pt"' in (tmp_path / "curves.svg").read_text()  # 7.2 inches
