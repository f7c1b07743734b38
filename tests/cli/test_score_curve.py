"""cam-score protocol=threshold_curve, against scores.json of runs made at each threshold."""

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
from PIL import Image
from run_builder import edit_manifest, make_manifest

from cam_repro.boxes.base import RankedMaps
from cam_repro.boxes.threshold import ThresholdBox, largest_component_box
from cam_repro.metrics.scores import score
from cam_repro.runs.manifest import Blacklist, write_manifest
from cam_repro.runs.predictions import read_predictions, to_arrow, write_predictions
from cam_repro.types import Prediction, RuleGuesses

N = 24
LABEL = 7


@pytest.fixture
def curve(command):
    """Runs the command; returns its JSON and what it said."""

    def run(folder, *arguments):
        words = ("protocol=threshold_curve", f"submission={folder}", *arguments)
        done = command("score", *map(str, words))
        assert done.status == 0, done.err
        return json.loads(done.out), done.err

    return run


@pytest.fixture(scope="module")
def images():
    """Sizes, maps of the five best classes and of the true one, and true boxes of 24 images.

    A true box is that of the true class's map at some threshold.
    """
    rng = np.random.default_rng(0)
    found = []
    for i in range(N):
        width, height = rng.integers(20, 90, 2).tolist()
        maps = cv2.GaussianBlur(rng.normal(size=(7, 7, 6)), (0, 0), 1.2).transpose(2, 0, 1)
        maps = maps.astype(np.float32)
        classes = [10, 11, 12, 13, 14]
        place = (0, 0, 0, 0, 1, 2, 4, None)[i % 8]
        if place is not None:
            classes[place] = LABEL
            maps[5] = maps[place]
        map_HW = RankedMaps([LABEL], maps[5:], width, height).at_image_size(0)
        boxes = [largest_component_box(map_HW, at) for at in 0.7 * rng.random(i % 3)]
        found.append((width, height, maps, classes, np.array(boxes, np.int32)))
    return found


def write_run(folder, images, threshold, interpolation="linear", save_maps=True, **more):
    """A run folder as cam-eval leaves it, without a network."""
    rule = ThresholdBox(threshold)
    predictions, maps_folder = [], None
    if save_maps:
        maps_folder = folder / "maps"
        maps_folder.mkdir(parents=True)
    for i, (width, height, maps, classes, boxes) in enumerate(images):
        best = RankedMaps(classes, maps[:5], width, height, interpolation=interpolation)
        true = RankedMaps([LABEL], maps[5:], width, height, interpolation=interpolation)
        predictions.append(
            Prediction(
                id=f"image{i:02d}",
                width=width,
                height=height,
                label=LABEL,
                true_boxes_M4=boxes.reshape(-1, 4),
                classes=classes,
                probabilities=[0.3, 0.2, 0.1, 0.1, 0.1],
                rules={"threshold": RuleGuesses(rule(best), rule(true)[0][1])},
            )
        )
        if maps_folder is not None:
            np.save(maps_folder / f"image{i:02d}.npy", maps[5])
    rules = {"threshold": {"_target_": "ThresholdBox", "threshold": threshold}}
    manifest = make_manifest(
        **{
            "data": "set",
            "model": "net",
            "rules": ["threshold"],
            "n_classes": 50,
            "n": len(images),
            "blacklist": Blacklist(images=2, ids=["image01", "image04"]),
            "maps": save_maps,
            "config": {
                "view": {"name": "squash", "interpolation": interpolation},
                "box": rules,
            },
            **more,
        }
    )
    write_predictions(folder, to_arrow(predictions, ["threshold"]), manifest)
    write_manifest(folder, manifest)
    return folder


@pytest.mark.parametrize("interpolation", ["linear", "cubic"])
def test_each_threshold_scores_as_a_run_of_its_own(curve, tmp_path, images, interpolation):
    result, said = curve(
        write_run(tmp_path / "run", images, 0.25, interpolation),
        "protocol.thresholds=20",
        "output=c.json",
    )
    assert result["thresholds"] == [i / 20 for i in range(20)]
    assert (result["n_images"], result["n_blacklisted"]) == (N, 2)
    expected = []
    for i, threshold in enumerate(result["thresholds"]):
        folder = write_run(tmp_path / f"run{i}", images, threshold, interpolation, False)
        expected.append(score(read_predictions(folder))["loc"]["threshold"])
    for name in ("top1", "top5", "gt_known"):
        errors = [each[name] for each in expected]
        assert result["errors"][name] == errors
        assert result["best"][name]["error"] == min(errors)
        assert result["best"][name]["threshold"] == result["thresholds"][np.argmin(errors)]
        assert len(set(errors)) > 4
    assert result["errors"]["top1"] != result["errors"]["top5"] != result["errors"]["gt_known"]
    assert result["run"] == {"threshold": 0.25, **expected[5]}
    assert json.loads((tmp_path / "c.json").read_text()) == result
    assert "8 of 24 images have no true box" in said
    assert "not those of the run" not in said


def test_what_is_said(command, tmp_path, images):
    folder = write_run(tmp_path / "run", images, 0.2)
    words = ("protocol=threshold_curve", f"submission={folder}")
    done = command("score", *words, "output=out/curve.json")
    result = json.loads(done.out)
    assert result["thresholds"] == [i / 100 for i in range(100)]
    lines = done.err.splitlines()
    assert lines[1] == f"{folder}: 24 images, 24 boxes"
    assert lines[3].split() == ["threshold", "top-1", "top-5", "GT-known"]
    shown = [line.split() for line in lines[4:14]]
    assert [row[0] for row in shown] == ["0", *(f"0.{i}" for i in range(1, 10))]
    for name, column in (("top1", 1), ("top5", 2), ("gt_known", 3)):
        assert [row[column] for row in shown] == [
            f"{error:.2f}" for error in result["errors"][name][::10]
        ]
    assert lines[14].split() == ["run's", "0.2,", "fixed", *shown[2][1:]]
    for line, name, end in ((lines[15], "from", 0), (lines[16], "to", 1)):
        ends = [f"{each[end]:.2f}" for each in result["run_95"].values()]
        assert line.split() == ["95", "%", name, *ends]
    lowest = [f"{best['error']:.2f}" for best in result["best"].values()]
    assert lines[17].split() == ["lowest,", "oracle", *lowest]
    assert lines[18].split()[:3] == ["at", "oracle", "threshold"]
    assert lines[19] == "drawn in out/curve.png"
    assert result["thresholds_are"] == {
        **{"iou": "fixed", "errors": "fixed", "best": "oracle", "run": "fixed"}
    }
    assert Image.open(tmp_path / "out" / "curve.png").size == (1040, 720)
    assert max(map(len, lines[2:])) < 80
    # The lists of the JSON take a line each.
    assert max(map(len, done.out.splitlines())) > 500
    assert len(done.out.splitlines()) < 100
    # Nothing is written unless a file is named.
    before = sorted(tmp_path.rglob("*"))
    assert command("score", *words).out == done.out
    assert sorted(tmp_path.rglob("*")) == before


def test_the_curve_is_a_pdf_where_that_is_asked_for(curve, tmp_path, images):
    folder = write_run(tmp_path / "run", images, 0.2)
    result, said = curve(folder, "output=out/curve.pdf")
    assert (tmp_path / "out" / "curve.pdf").read_bytes().startswith(b"%PDF-1.")
    assert json.loads((tmp_path / "out" / "curve.json").read_text()) == result
    assert "drawn in out/curve.pdf" in said
    curve(folder, "output=out/curve.svg")
    assert "oracle" in (tmp_path / "out" / "curve.svg").read_text()
    assert not (tmp_path / "out" / "curve.png").exists()


def test_a_threshold_between_two_others_is_added(curve, tmp_path, images):
    folder = write_run(tmp_path / "run", images, 0.123)
    result, said = curve(folder, "protocol.thresholds=7")
    assert result["thresholds"] == [0, 0.123, *(i / 7 for i in range(1, 7))]
    expected = score(read_predictions(folder))["loc"]["threshold"]
    assert result["run"] == {"threshold": 0.123, **expected}
    assert "run's 0.123" in said


def test_a_run_without_the_rule_has_a_curve_too(curve, tmp_path, images):
    folder = write_run(tmp_path / "run", images, 0.2)
    expected, _ = curve(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    edit_manifest(folder, config={**manifest["config"], "box": {"heuristic": {}}})
    result, said = curve(folder, "output=c.json")
    del expected["run"], expected["run_95"], expected["thresholds_are"]["run"]
    assert result == expected
    assert "run's" not in said


def test_maps_of_another_pass_are_noticed(curve, tmp_path, images):
    folder = write_run(tmp_path / "run", images, 0.2)
    corner = np.zeros((7, 7), np.float32)
    corner[0, 0] = 1
    for number in (3, 5):
        np.save(folder / "maps" / f"image{number:02d}.npy", corner)
    _, said = curve(folder)
    assert "2 of 24 boxes at threshold 0.2 are not those of the run (the first: image03)" in said


@pytest.mark.parametrize("view", ["squash", "ten"])
def test_a_run_of_cam_eval(command, curve, tmp_path, tiny_tree, tiny_run, train_once, view):
    """train -> eval -> score; at 20 % the numbers are those of scores.json."""
    train_once(tmp_path / "runs" / "tiny" / "alexnet_gap" / "train", *tiny_run)
    words = ["data=ilsvrc", f"data.root={tiny_tree}", "loader.workers=0", "device=cpu"]
    done = command("eval", *words, "save_maps=true", f"view={view}", "examples=0", "output=o")
    assert done.status == 0, done.err
    (folder,) = (path.parent for path in (tmp_path / "o").rglob("scores.json"))
    result, said = curve(folder)
    expected = json.loads((folder / "scores.json").read_text())["loc"]["threshold"]
    assert result["run"] == {"threshold": 0.2, **expected}
    assert [result["errors"][name][20] for name in expected] == list(expected.values())
    assert "not those of the run" not in said


def test_neither_torch_nor_matplotlib_is_needed(tmp_path, images):
    folder = write_run(tmp_path / "run", images, 0.2)
    code = (
        "import atexit, sys\n"
        "atexit.register(lambda: print([m for m in ('torch', 'matplotlib') if m in sys.modules]))\n"
        "from cam_repro.cli.score import main\n"
        "main()"
    )
    words = ["protocol=threshold_curve", f"submission={folder}"]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("\n[]\n")


# --- mistakes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["submission=text.txt"], "submission=text.txt: protocol=threshold_curve takes a folder"),
        ([], "submission not given: add submission=VALUE (see --help)"),
        *(
            (
                ["submission=run", f"protocol.thresholds={n}"],
                f"protocol.thresholds={n}: must be a whole number from 2 to 10000",
            )
            for n in (1, 0, 99999, 0.2, True)
        ),
        (
            ["submission=run", "ground_truth=run"],
            "ground_truth is not used by protocol=threshold_curve: leave it out",
        ),
        (
            ["submission=run", "box=threshold"],
            "box is not used by protocol=threshold_curve: leave it out",
        ),
        (
            ["submission=run", "protocol=gt_known", "protocol.thresholds=10"],
            "there is no setting 'protocol.thresholds'",
        ),
        (
            ["submission=run", "protocol=gt_known", "output=c.pdf"],
            "output=c.pdf: protocol=gt_known draws no figure: end it in .json",
        ),
        (
            ["submission=mapless"],
            "mapless: has no maps: score it again with cam-eval save_maps=true",
        ),
        (["submission=lost"], "lost: has no maps: score it again with cam-eval save_maps=true"),
        (["submission=less"], "less/maps: no map of image05, image05.npy (1 of 24 are missing)"),
        (["submission=boxless"], "boxless: no image has a true box"),
        (["submission=none"], "none: made without a network, it has no maps"),
    ],
)
def test_mistakes_are_one_line(command, tmp_path, images, arguments, message):
    (tmp_path / "text.txt").write_text("1 0 0 1 1\n")
    boxless = [(w, h, maps, classes, boxes[:0]) for w, h, maps, classes, boxes in images]
    for name, more in (("mapless", {"save_maps": False}), ("none", {"classifies": False})):
        write_run(tmp_path / name, images, 0.2, **more)
    write_run(tmp_path / "boxless", boxless, 0.2)
    for name in ("run", "lost", "less"):
        write_run(tmp_path / name, images, 0.2)
    (tmp_path / "less" / "maps" / "image05.npy").unlink()
    (tmp_path / "lost" / "maps").rename(tmp_path / "moved")
    protocol = (
        []
        if any(word.startswith("protocol=") for word in arguments)
        else ["protocol=threshold_curve"]
    )
    done = command("score", *protocol, *arguments)
    assert done.status == 1
    assert done.err.startswith(f"error: {message}")
    assert done.err.count("\n") == 1
    assert done.out == ""


def test_a_split_without_labels_has_no_curve(command, make_run):
    folder = make_run("nin", n=2, has_labels=False, maps=True)
    (folder / "maps").mkdir()
    done = command("score", "protocol=threshold_curve", f"submission={folder}")
    assert done.errors == [
        f"error: {folder}: the true classes are not known: score a labelled split"
    ]
