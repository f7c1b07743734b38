"""Boxes without a network (``model=none``): literal accuracies, and what is refused."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from cam_repro.boxes.whole_image import WholeImage
from cam_repro.commands.evaluate import run_evaluation
from cam_repro.errors import UserError
from cam_repro.runs.predictions import read_predictions

HEADER = "image,width,height,label,boxes\n"

# IoU of the whole image: 1, 0.6, 0.9 (its second box) and 0.01. Of the middle 80 % (pixels 10 to
# 90 of 100, 20 to 180 of 200): 6561 / 10000 = 0.656, 4050 / 8511 = 0.476, 13041 / 18000 = 0.725
# and 100 / 6561 = 0.015.
ROWS = """\
a,100,100,1,0 0 99 99
b,100,100,2,0 0 99 59
c,200,100,1,0 0 9 9;20 0 199 99
d,100,100,3,40 40 49 49
"""


@pytest.fixture
def score(compose_config, tmp_path):
    """Scores boxes without a network by these words; returns the folder."""

    def score(*more):
        words = ["model=none", "box=[whole_image,center]", f"runs={tmp_path / 'runs'}", *more]
        (folder,) = run_evaluation(compose_config("eval", *words), words)
        return folder

    return score


@pytest.fixture
def truth(tmp_path):
    """Words for a data set that is a CSV of these rows."""

    def write(rows=ROWS, header=HEADER, name="truth.csv"):
        (tmp_path / name).write_text(header + rows)
        return ["data=ground_truth", f"data.file={tmp_path / name}"]

    return write


@pytest.fixture
def tree(tiny_tree, tmp_path):
    """Words for a copy of the tiny tree, to break; its validation images."""
    root = Path(shutil.copytree(tiny_tree, tmp_path / "mine"))
    images = sorted((root / "ILSVRC" / "Data" / "CLS-LOC" / "val").iterdir())
    return ["data=ilsvrc", f"data.root={root}"], images


def scores_of(folder):
    return json.loads((folder / "scores.json").read_text())


def test_literal_accuracies_and_the_best_centred_box(score, truth, tmp_path):
    folder = score(*truth(), "box.center.scale=0.8")
    assert folder == tmp_path / "runs" / "truth" / "none" / "eval" / "val"
    assert scores_of(folder) == {
        "n_images": 4,
        "gt_known": {
            "whole_image": {"0.3": 75.0, "0.5": 75.0, "0.7": 50.0},
            "center": {"0.3": 75.0, "0.5": 50.0, "0.7": 25.0},
        },
        # Smaller ones: at 0.5 none reaches 0.3; at 0.8 the second image is under 0.5, the first
        # under 0.7. At 0.85: 0.740, 0.516, 0.775; at 0.55: 0.314, 0.304, 0.345.
        "best_center": {
            "0.3": {"scale": 0.55, "accuracy": 75.0},
            "0.5": {"scale": 0.85, "accuracy": 75.0},
            "0.7": {"scale": 0.85, "accuracy": 50.0},
        },
        "thresholds_are": {"iou": "fixed", "gt_known": "fixed", "best_center": "oracle"},
    }


def test_without_the_centred_box_there_is_no_sweep(score, truth):
    scores = scores_of(score(*truth(), "box=whole_image"))
    assert scores == {
        "n_images": 4,
        "gt_known": {"whole_image": {"0.3": 75.0, "0.5": 75.0, "0.7": 50.0}},
        "thresholds_are": {"iou": "fixed", "gt_known": "fixed"},
    }


def test_predictions_have_the_true_classs_box_and_no_guess(score, truth):
    folder = score(*truth(), "box.center.scale=0.8")
    assert sorted(path.name for path in folder.iterdir()) == [
        *("eval.log", "manifest.json", "predictions.parquet", "scores.json")
    ]
    rows = pd.read_parquet(folder / "predictions.parquet").to_dict("records")
    assert [(row["id"], row["width"], row["height"], row["label"]) for row in rows] == [
        *(("a", 100, 100, 1), ("b", 100, 100, 2), ("c", 200, 100, 1), ("d", 100, 100, 3))
    ]
    assert [row["gt_boxes"].tolist() for row in rows][2] == [0, 0, 9, 9, 20, 0, 199, 99]
    whole, center = (
        [tuple(row[f"{name}/gt_known"]) for row in rows] for name in ("whole_image", "center")
    )
    assert whole == [(0, 0, 99, 99), (0, 0, 99, 99), (0, 0, 199, 99), (0, 0, 99, 99)]
    square = (10, 10, 90, 90)
    assert center == [square, square, (20, 10, 180, 90), square]
    for column in ("classes", "probabilities", "whole_image/classes", "center/boxes"):
        assert {len(row[column]) for row in rows} == {0}

    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["classifies"] is False
    assert (manifest["model"], manifest["saliency"], manifest["view"]) == ("none",) * 3
    assert manifest["rules"] == ["whole_image", "center"]
    assert manifest["counts"] == {"images": 4, "skipped": 0}
    assert manifest["config"]["box"]["center"]["scale"] == 0.8
    assert manifest["data"]["layout"] == "labels, sizes and boxes without images"
    assert {"command", "created", "git", "versions"} <= manifest.keys()


def test_sizes_are_those_of_the_images(score, tiny_tree, truth):
    """make_tree: boxes of 16x12 at (3 i, 2 i) in 32x24; the middle 75 % is (4, 3) to (28, 21)."""
    folder = score("data=ilsvrc", f"data.root={tiny_tree}")
    scores = scores_of(folder)
    assert scores["gt_known"] == {
        # 192 / 768 = 0.25
        "whole_image": {"0.3": 0.0, "0.5": 0.0, "0.7": 0.0},
        # 108 / 559, 165 / 502, three times 192 / 475, 168 / 499
        "center": {"0.3": pytest.approx(500 / 6), "0.5": 0.0, "0.7": 0.0},
    }
    # The same from a file, without the images.
    rows = []
    for i in range(6):
        box = f"{3 * i} {2 * i} {3 * i + 15} {2 * i + 11}"
        rows.append(f"ILSVRC2012_val_{i + 1:08d},32,24,{i % 3},{box}\n")
    other = score(*truth("".join(rows)))
    content = (folder / "predictions.parquet").read_bytes()
    assert (other / "predictions.parquet").read_bytes() == content
    assert scores_of(other) == scores


def test_an_image_without_a_true_box_counts_as_wrong(score, truth, caplog):
    scores = scores_of(score(*truth(ROWS + "e,50,50,1,\n")))
    assert scores["gt_known"]["whole_image"] == {"0.3": 60.0, "0.5": 60.0, "0.7": 40.0}
    assert "1 of 5 images have no true box" in caplog.text


def test_an_unreadable_image_ends_the_pass_or_is_counted(score, tree):
    words, images = tree
    images[3].write_bytes(b"no image")
    with pytest.raises(UserError, match=r"val_00000004\.JPEG: not a readable .*on_error=skip"):
        score(*words)
    folder = score(*words, "loader.on_error=skip")
    assert scores_of(folder)["n_images"] == 5
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["counts"] == {"images": 5, "skipped": 1}
    assert str(images[3]) in manifest["skipped"][0]
    for image in images:
        image.write_bytes(b"")
    with pytest.raises(UserError, match="could be read; nothing is written"):
        score(*words, "loader.on_error=skip", "split=val", "box=center", "overwrite=true")
    assert json.loads((folder / "manifest.json").read_text()) == manifest


NO_MAPS = "model=none makes no maps: leave saliency, save_maps, quality and cues out"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["box=threshold"], r"box=threshold needs maps, .*: use box=\[whole_image,center\]"),
        (["box=[whole_image,graphcut]"], "box=graphcut needs maps"),
        (["saliency=cam"], NO_MAPS),
        (["save_maps=true"], NO_MAPS),
        (["quality=[insertion]"], NO_MAPS),
    ],
)
def test_what_needs_a_network_is_refused(score, truth, tmp_path, words, message):
    with pytest.raises(UserError, match=message):
        score(*truth(), *words)
    assert not (tmp_path / "runs" / "truth").exists()


def test_a_scale_that_is_none(truth, command):
    done = command("eval", "model=none", "box=center", "box.center.scale=2", *truth())
    assert done.status == 1
    assert len(done.errors) == 1
    assert "box.center.scale=2: must be a share of the image's sides" in done.errors[0]


def test_the_default_boxes_need_a_network(compose_config, truth):
    words = ["model=none", *truth()]
    with pytest.raises(UserError, match="box=threshold needs maps"):
        run_evaluation(compose_config("eval", *words), words)


def test_nothing_is_scored_without_true_boxes(score, tiny_tree, tmp_path):
    words = ["data=ilsvrc", f"data.root={tiny_tree}", "split=test"]
    with pytest.raises(UserError, match=r"test: no true boxes, so nothing to score \(layout"):
        score(*words)
    assert not (tmp_path / "runs" / "tiny").exists()


def test_sizes_that_are_not_known_are_named(score, truth):
    with pytest.raises(UserError, match=r"truth\.csv: does not say how large b is \(1 such"):
        score(*truth("a,9,9,1,0 0 8 8\nb,,,1,0 0 8 8\n"))


def test_a_run_that_is_replaced_leaves_nothing_behind(score, truth, make_run):
    old = make_run("vgg", maps=True)
    (old / "maps").mkdir()
    (old / "maps" / "a.npy").write_text("old")
    assert (old / "submission_threshold.txt").exists()
    with pytest.raises(UserError, match=r"other network: vgg there, none now.*overwrite=true"):
        score(*truth(), f"output={old}")
    assert score(*truth(), f"output={old}", "overwrite=true") == old
    assert sorted(path.name for path in old.iterdir()) == [
        *("eval.log", "manifest.json", "predictions.parquet", "scores.json")
    ]


# --- with the other commands


def test_cam_score_finds_the_same(score, truth, command):
    folder = score(*truth())
    for rule, accuracy in scores_of(folder)["gt_known"].items():
        done = command("score", f"submission={folder}", "protocol=gt_known", f"box={rule}")
        assert done.status == 0, done.err
        found = json.loads(done.out)
        assert (found["n_images"], found["gt_known"]) == (4, accuracy)
    done = command("score", f"submission={folder}")
    assert done.status == 1
    assert "it guesses no classes: add protocol=gt_known" in done.errors[0]


def test_as_ground_truth_of_ilsvrc_it_knows_the_kits_ids(score, truth, command, tmp_path):
    """Class index 65 has id 490 in the development kit: the label is neither 65 nor 66."""
    header = HEADER.replace("label", "class_index")
    folder = score(*truth("a,100,100,65,0 0 99 99\n", header))
    (tmp_path / "guess.txt").write_text("66 0 0 99 99 490 0 0 99 99\n")
    done = command("score", "submission=guess.txt", f"ground_truth={folder}")
    assert done.status == 0, done.err
    errors = json.loads(done.out)["guesses"]
    assert [row["clsloc_error"] for row in errors] == [100, 0, 0, 0, 0]


def test_tables_are_made_of_runs_among_which_it_is(score, truth, make_run, command, tmp_path):
    folder = score(*truth())
    fingerprint = json.loads((folder / "manifest.json").read_text())["data"]["fingerprint"]
    make_run("vgg_gap", cls_right=3, loc_right=2, data="truth", fingerprint=fingerprint)
    done = command("tables", f"runs={tmp_path / 'runs'}")
    assert done.status == 0, done.err
    tables = tmp_path / "runs" / "truth" / "tables"
    runs = pd.read_csv(tables / "runs.csv", keep_default_na=False)
    lines = runs[runs["network"] == "none"].set_index("box")
    assert lines.index.tolist() == ["whole_image", "center"]
    assert float(lines.loc["whole_image", "GT-known"]) == 25.0  # an error, at IoU 0.5
    assert lines.loc["whole_image", "cls top-1"] == ""
    assert lines.loc["center", "n"] == 4
    assert str(folder.relative_to(tmp_path / "runs" / "truth")) in lines.loc["center", "run"]
    table = pd.read_csv(tables / "table1.csv").set_index("Networks")
    assert table.loc["VGGnet-GAP", "top-1 val. error"] == 25.0


def test_neither_torch_nor_pandas_is_needed(truth, tmp_path):
    code = (
        "import atexit, sys\n"
        "slow = ('torch', 'pandas', 'matplotlib', 'scipy')\n"
        "atexit.register(lambda: print([name for name in slow if name in sys.modules]))\n"
        "from cam_repro.cli.eval import main\n"
        "main()"
    )
    words = ["model=none", "box=[whole_image,center]", *truth()]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n"


def test_a_rule_is_asked_once_for_each_size(score, truth, monkeypatch):
    asked = []
    rule = WholeImage.__call__
    monkeypatch.setattr(
        WholeImage, "__call__", lambda self, maps: asked.append(maps.width) or rule(self, maps)
    )
    folder = score(*truth(), "box=whole_image")
    assert sorted(asked) == [100, 200]
    boxes = read_predictions(folder).rules["whole_image"].gt_known_N4
    assert boxes.tolist() == [[0, 0, 99, 99], [0, 0, 99, 99], [0, 0, 199, 99], [0, 0, 99, 99]]
