"""The blacklist from the development kit's file to scores and tables: what the official error
leaves out, everything here leaves out."""

import json

import numpy as np
import pytest

from cam_repro.data.ilsvrc.image_set import load_image_set
from cam_repro.data.ilsvrc.layouts import Places
from cam_repro.errors import UserError
from cam_repro.metrics.scores import score
from cam_repro.runs.manifest import Blacklist
from cam_repro.runs.predictions import read_predictions
from cam_repro.tables import build_tables, find_runs
from cam_repro.tables.sources import PAPER

NAME = "ILSVRC2014_clsloc_validation_blacklist.txt"


@pytest.fixture
def tree(make_tree, tmp_path):
    """Six validation images, of which the kit blacklists the second and the fifth."""
    root = make_tree(tmp_path / "tree", train=1)
    kit = root / "ILSVRC2014_devkit" / "data"
    kit.mkdir(parents=True)
    (kit / NAME).write_text("2\n5\n49999\n")  # the whole set's file: most of it is of others
    return root


def test_numbers_are_those_in_the_images_names(tree):
    images = load_image_set(tree, "val")
    assert np.flatnonzero(images.blacklisted_N).tolist() == [1, 4]
    (tree / "ILSVRC/ImageSets/CLS-LOC/val.txt").write_text(
        "ILSVRC2012_val_00000005 1\nILSVRC2012_val_00000006 2\n"
    )
    assert load_image_set(tree, "val").blacklisted_N.tolist() == [True, False]
    assert load_image_set(tree, "train").blacklisted_N is None


def test_a_file_may_be_named_and_the_kits_refused(tree, tmp_path):
    (tmp_path / "mine.txt").write_text("6\n")
    named = load_image_set(tree, "val", places=Places(blacklist=str(tmp_path / "mine.txt")))
    assert np.flatnonzero(named.blacklisted_N).tolist() == [5]
    assert load_image_set(tree, "val", places=Places(blacklist="none")).blacklisted_N is None
    with pytest.raises(UserError, match=r"data\.blacklist=gone\.txt: no such file"):
        load_image_set(tree, "val", places=Places(blacklist="gone.txt"))


def test_images_of_other_names_cannot_be_blacklisted(tree):
    val = tree / "ILSVRC/Data/CLS-LOC/val"
    (val / "ILSVRC2012_val_00000003.JPEG").rename(val / "dog.JPEG")
    boxes = tree / "ILSVRC/Annotations/CLS-LOC/val"
    (boxes / "ILSVRC2012_val_00000003.xml").rename(boxes / "dog.xml")
    (tree / "ILSVRC/ImageSets/CLS-LOC/val.txt").unlink()
    with pytest.raises(UserError, match=r"add data\.blacklist=none"):
        load_image_set(tree, "val")


@pytest.fixture
def run(make_run):
    """Five images: 0 to 3 are classified right, of which 0 and 1 have a right box."""
    blacklist = Blacklist(images=2, ids=["image00001", "image00002"])
    return make_run("alexnet_gap", cls_right=4, loc_right=2, n=5, blacklist=blacklist)


def test_localization_leaves_them_out_and_classification_does_not(run):
    found = score(read_predictions(run))
    assert (found["n_images"], found["n_blacklisted"]) == (5, 2)
    assert found["cls"]["top1"] == 20  # 1 of 5
    # Of images 0, 3 and 4 the last two are wrong; GT-known counts all, 2 right of 5.
    assert found["loc"]["threshold"]["top1"] == pytest.approx(200 / 3)
    assert found["loc"]["threshold"]["gt_known"] == 60


def test_tables_say_how_many_images_are_left(run, tmp_path):
    ((_, runs),) = find_runs(tmp_path / "runs").items()
    classification, localization, _ = build_tables(runs, PAPER)
    (line,) = [line for line in classification.lines if line.run]
    assert (line.n, line.numbers[0].error) == (5, 20)
    (line,) = [line for line in localization.lines if line.run]
    assert (line.n, line.numbers[0].error) == (3, pytest.approx(200 / 3))


def test_cam_score_of_a_run_takes_its_blacklist(run, command):
    done = command("score", f"submission={run}")
    assert done.status == 0, done.err
    result = json.loads(done.out)
    assert result["n_blacklisted"] == 2
    assert result["guesses"][0]["cls_error"] == 20
    assert result["guesses"][0]["clsloc_error"] == pytest.approx(200 / 3)


def test_cam_eval_leaves_them_out(tree, command, tiny_run, tmp_path):
    words = [word for word in tiny_run if not word.startswith("data.root")]
    assert command("train", *words, f"data.root={tree}", "optim.iterations=1").status == 0
    about = ["data=ilsvrc", f"data.root={tree}", "loader.workers=0", "examples=0"]
    done = command("eval", "model=alexnet_gap", *about)
    assert done.status == 0, done.err
    assert "2 of its images are blacklisted" in done.err
    folder = tmp_path / "runs/tree/alexnet_gap/eval/val-cam"
    scores = json.loads((folder / "scores.json").read_text())
    assert (scores["n_images"], scores["n_blacklisted"]) == (6, 2)
    done = command("eval", "model=alexnet_gap", *about, "data.blacklist=none", "output=other")
    assert "blacklisted" not in done.err
    other = tmp_path / "other"
    assert json.loads((other / "scores.json").read_text())["n_blacklisted"] == 0
    same = "predictions.parquet"
    assert (other / same).read_bytes() == (folder / same).read_bytes()
