"""cam-train -> cam-eval -> cam-tables through the real commands; their files agree."""

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cam_repro.commands.train import run_training

DATA_KEYS = {
    *("name", "is_ilsvrc", "n_classes", "fingerprint", "file_sizes", "has_labels", "has_boxes"),
    *("layout", "class_names"),
}
MANIFEST_KEYS = {
    *("schema", "config", "git", "checkpoint", "versions", "device", "precision", "counts"),
    *("seconds", "images_per_second", "processes", "command", "created", "skipped", "data"),
    *("model", "saliency", "view", "covered", "split", "rules", "submission_labels", "maps"),
}
RUN_FILES = [
    "contact_sheet.png",
    "eval.log",
    "examples.parquet",
    "manifest.json",
    "predictions.parquet",
    "scores.json",
    "submission_heuristic.txt",
    "submission_threshold.txt",
]


def console(name, *arguments, cwd):
    """The installed command, in a process of its own."""
    script = Path(sys.executable).with_name(f"cam-{name}")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [script, *arguments], cwd=cwd, env=environment, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def words(tiny_tree):
    return ["data=ilsvrc", f"data.root={tiny_tree}", "loader.workers=0", "device=cpu"]


@pytest.fixture(scope="module")
def place(tmp_path_factory, words, compose_config):
    """A folder in which two networks were trained, then scored by one ``cam-eval``."""
    place = tmp_path_factory.mktemp("end-to-end")
    small = ["model.width=0.05", "model.input_size=64", "model.resize_size=72", "model.norm=batch"]
    small += ["optim.iterations=12", "optim.batch_size=4", "optim.lr=0.02"]
    done = console("train", "model=alexnet_gap", *words, *small, cwd=place)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("data set tiny: 3 classes, 12 train images in ")
    runs = f"runs={place / 'runs'}"
    run_training(compose_config("train", "model=alexnet", *words, *small, runs))
    done = console("eval", "split=val", *words, cwd=place)
    assert done.returncode == 0, done.stderr
    (place / "eval.stderr").write_text(done.stderr)
    return place


@pytest.fixture(scope="module")
def gap(place):
    return place / "runs" / "tiny" / "alexnet_gap" / "eval" / "val-cam"


def overlap(a, b):
    """Intersection over union, pixel by pixel."""
    pixels = [
        {(x, y) for x in range(x0, x1 + 1) for y in range(y0, y1 + 1)} for x0, y0, x1, y1 in (a, b)
    ]
    return len(pixels[0] & pixels[1]) / len(pixels[0] | pixels[1])


def fours(values):
    return [tuple(values[i : i + 4]) for i in range(0, len(values), 4)]


def test_training_leaves_its_files(place):
    folder = place / "runs" / "tiny" / "alexnet_gap" / "train"
    names = {path.name for path in folder.iterdir()} - {"tensorboard"}
    assert names == {"best.pt", "curves.png", "last.pt", "log.csv", "manifest.json", "train.log"}
    manifest = json.loads((folder / "manifest.json").read_text())
    digest = hashlib.sha256((folder / "last.pt").read_bytes()).hexdigest()
    assert manifest["checkpoint"] == {"path": "last.pt", "sha256": digest}
    assert manifest["command"].startswith("cam-train model=alexnet_gap data=ilsvrc ")
    assert (
        "alexnet_gap: validation error, centre crop, top-1/top-5: "
        in (folder / "train.log").read_text()
    )
    log = pd.read_csv(folder / "log.csv")
    assert log["iteration"].tolist() == [3, 6, 9, 12]
    assert log["val_top1_error"].iloc[-1] == pytest.approx(
        manifest["final"]["val_top1_error"], abs=1e-4
    )


def test_every_trained_run_is_scored_as_the_tables_want(place):
    folders = sorted((place / "runs").glob("*/*/eval/*"))
    assert [str(f.relative_to(place / "runs" / "tiny")) for f in folders] == [
        "alexnet/eval/val-backprop",  # no CAM: fully connected layers
        "alexnet_gap/eval/val-cam",
    ]
    for folder in folders:
        assert sorted(path.name for path in folder.iterdir()) == RUN_FILES
    first = (place / "eval.stderr").read_text().splitlines()[0]
    assert first.startswith("data set tiny: 3 classes, 6 val images in ")


def test_manifest_says_where_it_came_from(place, gap):
    manifest = json.loads((gap / "manifest.json").read_text())
    assert manifest.keys() >= MANIFEST_KEYS
    assert manifest["data"].keys() == DATA_KEYS
    assert (manifest["model"], manifest["saliency"]) == ("alexnet_gap", "cam")
    assert (manifest["view"], manifest["covered"], manifest["split"]) == ("squash", 1.0, "val")
    assert manifest["rules"] == ["threshold", "heuristic"]
    assert manifest["counts"] == {"images": 6, "skipped": 0}
    assert manifest["command"].startswith("cam-eval split=val data=ilsvrc ")
    assert (manifest["submission_labels"], manifest["maps"]) == ("class index + 1", False)
    assert manifest["data"]["layout"].startswith("layout Kaggle, ")
    assert "boxes" in manifest["data"]["layout"]
    assert manifest["config"]["model"]["width"] == 0.05  # from the checkpoint: no word said it
    checkpoint = place / manifest["checkpoint"]["path"]
    assert manifest["checkpoint"]["sha256"] == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    trained = json.loads((checkpoint.parent / "manifest.json").read_text())
    assert trained["checkpoint"]["sha256"] == manifest["checkpoint"]["sha256"]


@pytest.mark.parametrize("run", ["alexnet/eval/val-backprop", "alexnet_gap/eval/val-cam"])
def test_scores_are_those_of_the_predictions(place, run):
    folder = place / "runs" / "tiny" / run
    rows = pd.read_parquet(folder / "predictions.parquet").to_dict("records")
    scores = json.loads((folder / "scores.json").read_text())
    assert [row["id"] for row in rows] == [f"ILSVRC2012_val_{i:08d}" for i in range(1, 7)]
    assert [row["label"] for row in rows] == [0, 1, 2, 0, 1, 2]
    assert {(row["width"], row["height"]) for row in rows} == {(32, 24)}
    assert scores.keys() == {"n_images", "n_blacklisted", "cls", "loc", "thresholds_are"}
    assert (scores["n_images"], scores["n_blacklisted"]) == (6, 0)
    top1 = sum(row["classes"][0] != row["label"] for row in rows) / 6 * 100
    assert scores["cls"] == {"top1": pytest.approx(top1), "top5": 0.0}  # three classes in all
    assert scores["loc"].keys() == {"threshold", "heuristic"}
    for rule, errors in scores["loc"].items():
        wrong = {"top1": 0, "top5": 0, "gt_known": 0}
        for row in rows:
            truth = fours(row["gt_boxes"])
            boxes = fours(row[f"{rule}/boxes"])
            right = [
                label == row["label"] and any(overlap(box, t) >= 0.5 for t in truth)
                for label, box in zip(row[f"{rule}/classes"], boxes, strict=True)
            ]
            known = fours(row[f"{rule}/gt_known"])[0]
            wrong["top1"] += not right[0]
            wrong["top5"] += not any(right)
            wrong["gt_known"] += not any(overlap(known, t) >= 0.5 for t in truth)
        assert errors == {key: pytest.approx(100 * count / 6) for key, count in wrong.items()}


def test_cam_score_gives_the_same_errors(gap, command, tmp_path):
    rows = pd.read_parquet(gap / "predictions.parquet").to_dict("records")
    lines = ["image,width,height,label,boxes"]
    for row in rows:
        boxes = ";".join(" ".join(map(str, box)) for box in fours(row["gt_boxes"]))
        lines.append(f"{row['id']},{row['width']},{row['height']},{row['label'] + 1},{boxes}")
    (tmp_path / "truth.csv").write_text("\n".join(lines) + "\n")
    scores = json.loads((gap / "scores.json").read_text())
    for rule in ("threshold", "heuristic"):
        submission = f"submission={gap}/submission_{rule}.txt"
        done = command("score", submission, "ground_truth=truth.csv")
        assert done.status == 0, done.err
        guesses = json.loads(done.out)["guesses"]
        assert guesses[0]["clsloc_error"] == pytest.approx(scores["loc"][rule]["top1"])
        assert guesses[4]["clsloc_error"] == pytest.approx(scores["loc"][rule]["top5"])
        assert guesses[0]["cls_error"] == pytest.approx(scores["cls"]["top1"])


def test_what_is_printed_is_what_is_written(place, gap):
    scores = json.loads((gap / "scores.json").read_text())
    text = (place / "eval.stderr").read_text()
    cls, threshold = scores["cls"], scores["loc"]["threshold"]
    assert f"top-1/top-5: {cls['top1']:.2f} / {cls['top5']:.2f} %" in text
    values = f"{threshold['top1']:.2f} / {threshold['top5']:.2f} / {threshold['gt_known']:.2f} %"
    assert f"localization error, threshold, top-1/top-5/GT-known: {values}" in text


def test_scored_again_there_is_nothing_to_do(place, words, gap, command):
    before = (gap / "manifest.json").stat().st_mtime_ns
    done = command("eval", "split=val", *words, f"runs={place / 'runs'}")
    assert done.status == 0, done.err
    assert "every trained run of tiny has its results: alexnet, alexnet_gap" in done.err
    assert (gap / "manifest.json").stat().st_mtime_ns == before


def test_tables_hold_the_scores(place, gap):
    done = console("tables", cwd=place)
    assert done.returncode == 0, done.stderr
    scores = json.loads((gap / "scores.json").read_text())
    row = pd.read_csv(place / "runs" / "tiny" / "tables" / "table1.csv").set_index("Networks")
    for key, column in (("top1", "top-1 val. error"), ("top5", "top-5 val. error")):
        assert row.loc["AlexNet-GAP", column] == pytest.approx(scores["cls"][key], abs=0.005)
    table2 = pd.read_csv(place / "runs" / "tiny" / "tables" / "table2.csv").set_index("Method")
    for key, column in (("top1", "top-1 val.error"), ("top5", "top-5 val. error")):
        ours = scores["loc"]["threshold"][key]
        assert table2.loc["AlexNet-GAP", column] == pytest.approx(ours, abs=0.005)
    backprop = json.loads((place / "runs/tiny/alexnet/eval/val-backprop/scores.json").read_text())
    assert table2.loc["Backprop on AlexNet", "top-1 val.error"] == pytest.approx(
        backprop["loc"]["threshold"]["top1"], abs=0.005
    )
    assert pd.isna(table2.loc["GoogLeNet-GAP", "top-1 val.error"])


def test_the_test_split_has_predictions_but_no_scores(place, words, command, tmp_path):
    runs = f"runs={place / 'runs'}"
    done = command("eval", "model=alexnet_gap", "split=test", *words, runs, "output=out")
    assert done.status == 0, done.err
    assert "no labels in this split" in done.err
    names = {path.name for path in (tmp_path / "out").iterdir()}
    tables = {"submission_heuristic.csv", "submission_threshold.csv"}  # Kaggle's
    assert names == set(RUN_FILES) - {"scores.json"} | tables
    rows = pd.read_parquet(tmp_path / "out" / "predictions.parquet").to_dict("records")
    assert [row["id"] for row in rows] == ["ILSVRC2012_test_00000001", "ILSVRC2012_test_00000002"]
    assert {row["label"] for row in rows} == {-1}
    assert all(row["threshold/gt_known"] is None for row in rows)
    submission = (tmp_path / "out" / "submission_threshold.txt").read_text().splitlines()
    kaggle = pd.read_csv(tmp_path / "out" / "submission_threshold.csv")
    assert kaggle["ImageId"].tolist() == [row["id"] for row in rows]
    for line, other in zip(submission, kaggle["PredictionString"], strict=True):
        numbers = re.sub(r"n0000(1\d\d0)", lambda m: str(int(m[1]) // 10 - 99), other)
        assert numbers == line  # WordNet ids n00001000, n00001010 ... in place of 1, 2 ...
    for row, line in zip(rows, submission, strict=True):
        numbers = list(map(int, line.split()))
        assert numbers[0::5] == [label + 1 for label in row["threshold/classes"]]
        assert [numbers[i + 1 : i + 5] for i in range(0, 15, 5)] == [
            list(box) for box in fours(row["threshold/boxes"])
        ]
    assert not json.loads((tmp_path / "out" / "manifest.json").read_text())["data"]["has_labels"]


def test_settings_of_the_command_line_count(place, words, command, tmp_path):
    weights = place / "runs" / "tiny" / "alexnet_gap" / "train" / "best.pt"
    done = command(
        *("eval", "model=alexnet_gap", f"model.weights={weights}", *words, "split=train"),
        *("view=ten", "saliency=gradcam", "box=threshold", "box.threshold.threshold=0.5"),
        *("model.input_size=96", "model.resize_size=100", "examples=0", "runs=here"),
    )
    assert done.status == 0, done.err
    folder = tmp_path / "here" / "tiny" / "alexnet_gap" / "eval" / "train-gradcam-ten"
    assert sorted(path.name for path in folder.iterdir()) == [
        *("eval.log", "manifest.json", "predictions.parquet", "scores.json"),
        "submission_threshold.txt",
    ]
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["counts"]["images"] == 12
    model = manifest["config"]["model"]
    assert [model[key] for key in ("input_size", "resize_size", "width")] == [96, 100, 0.05]
    assert manifest["config"]["box"]["threshold"]["threshold"] == 0.5
    assert manifest["checkpoint"]["path"] == str(weights)
    assert json.loads((folder / "scores.json").read_text())["loc"].keys() == {"threshold"}


def test_saved_maps_are_scored_by_max_box_acc(place, words, command, tmp_path):
    """cam-eval save_maps=true, then cam-score on its folder alone."""
    runs = f"runs={place / 'runs'}"
    eval_words = ["model=alexnet_gap", *words, runs, "save_maps=true", "examples=0"]
    done = command("eval", *eval_words, "output=run")
    assert done.status == 0, done.err
    score_words = ["protocol=max_box_acc", "maps=run/maps", "ground_truth=run", "output=f.json"]
    done = command("score", *score_words)
    assert done.status == 0, done.err
    result = json.loads(done.out)
    assert json.loads((tmp_path / "f.json").read_text()) == result
    measured = {"max_box_acc", "mean", "best_threshold"}
    about = {"max_box_acc_95", "thresholds_are", "multi_contour", "images_sha256"}
    assert result.keys() == measured | about

    # The same by brute force at every tenth threshold finds no more, and as much at the best.
    rows = pd.read_parquet(tmp_path / "run" / "predictions.parquet").to_dict("records")

    def accuracy(iou, threshold):
        right = 0
        for row in rows:
            map_hw = np.load(tmp_path / "run" / "maps" / f"{row['id']}.npy").astype(np.float64)
            map_HW = cv2.resize(map_hw, (224, 224), interpolation=cv2.INTER_CUBIC)
            map_HW = (map_HW - map_HW.min()) / (map_HW.max() - map_HW.min())
            grey_HW = (map_HW * 255).astype(np.uint8)
            mask_HW = (grey_HW > int(threshold * grey_HW.max())).astype(np.uint8)
            contours, _ = cv2.findContours(mask_HW, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
            x, y, w, h = cv2.boundingRect(max(contours, key=cv2.contourArea))
            box = (x, y, min(x + w, 223), min(y + h, 223))
            scale = 224 / np.array([32, 24, 32, 24])
            truth = [tuple((np.array(t) * scale).astype(int)) for t in fours(row["gt_boxes"])]
            right += max(overlap(box, t) for t in truth) >= iou
        return 100 * right / len(rows)

    for iou, best in result["max_box_acc"].items():
        assert accuracy(float(iou), result["best_threshold"][iou]) == pytest.approx(best)
    at_tenths = [accuracy(0.5, step / 10) for step in range(10)]
    assert max(at_tenths) <= result["max_box_acc"]["0.5"] + 1e-9
    assert result["mean"] == pytest.approx(np.mean(list(result["max_box_acc"].values())))

    # The boxes of the true class, at IoU 0.5, are those of scores.json.
    done = command("score", "protocol=gt_known", "submission=run")
    assert done.status == 0, done.err
    error = json.loads((tmp_path / "run" / "scores.json").read_text())["loc"]["threshold"]
    known = json.loads(done.out)["gt_known"]
    assert known["0.5"] == pytest.approx(100 - error["gt_known"])


def test_contact_sheet_is_a_picture_of_every_image(gap):
    width, height = Image.open(gap / "contact_sheet.png").size
    # Two rows of three images with their maps, 200 pixels an inch: cells of 1.32 x 1 inches, 0.08
    # apart; above each row three lines of text; a title, and three lines for the legend.
    inches = (0.2 + 6 * 1.4 - 0.08, 0.1 + 0.24 + 2 * (3 * 0.135 + 1.08) + 0.02 + 3 * 0.135 + 0.1)
    assert (width, height) == pytest.approx([200 * side for side in inches], abs=1)


def test_a_log_of_a_short_pass_has_lines_and_no_bar(place):
    text = (place / "eval.stderr").read_text()
    assert "\r" not in text
    assert "%|" not in text
    assert "  classification error, whole image squashed, top-1/top-5: " in text


def test_a_pass_imports_nothing_large_that_it_does_not_use(place, words):
    code = (
        "import atexit, sys\n"
        "large = ('pandas', 'scipy', 'torchvision', 'torch._dynamo', 'timm', 'sklearn')\n"
        "atexit.register(lambda: print([name for name in large if name in sys.modules]))\n"
        "from cam_repro.cli.eval import main\n"
        "main()"
    )
    own = ["model=alexnet_gap", "output=again", "examples=1"]
    done = subprocess.run(
        [sys.executable, "-c", code, *own, *words], cwd=place, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[]\n"
