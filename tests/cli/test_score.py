import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from cam_repro.classes import ilsvrc_classes
from cam_repro.formats.submissions import write_kaggle_submission

FIXTURES = Path(__file__).parents[1] / "fixtures"
FIXTURE, MAPS_FIXTURE = FIXTURES / "devkit_scoring", FIXTURES / "max_box_acc"
FILES = [f"submission={FIXTURE}/submission.txt", f"ground_truth={FIXTURE}/ground_truth.csv"]
SNAKE, GOOSE = "n01751748", "n01855672"
"""Class indices 65 and 99, development-kit ids 490 and 420."""


def cam_score(*arguments, cwd):
    """The command in a process of its own; it prints at the end which heavy modules it loaded."""
    code = (
        "import atexit, sys\n"
        "heavy = ('torch', 'cv2', 'pandas', 'matplotlib', 'scipy', 'pyarrow')\n"
        "atexit.register(lambda: print([m for m in heavy if m in sys.modules]))\n"
        "from cam_repro.cli.score import main\n"
        "main()"
    )
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True)


@pytest.fixture
def score(command, monkeypatch):
    """Runs cam-score in this process; returns its JSON and what it said."""
    monkeypatch.delenv("CAM_REPRO_ILSVRC", raising=False)

    def run(*arguments):
        done = command("score", *map(str, arguments))
        assert done.status == 0, done.err
        return json.loads(done.out), done.err

    return run


def clsloc(result):
    """(cls_error, clsloc_error) for 1 to 5 guesses."""
    assert [row["k"] for row in result["guesses"]] == [1, 2, 3, 4, 5]
    return [(row["cls_error"], row["clsloc_error"]) for row in result["guesses"]]


def test_no_input_is_overwritten(command, tmp_path):
    for name in ("submission.txt", "ground_truth.csv", "blacklist.txt"):
        (tmp_path / name).write_bytes((FIXTURE / name).read_bytes())
    (tmp_path / "k.csv").write_text("ImageId,PredictionString\n")
    words = ["submission=submission.txt", "ground_truth=ground_truth.csv"]
    for more in (
        ["output=submission.txt"],
        ["output=ground_truth.csv"],
        ["blacklist=blacklist.txt", "output=blacklist.txt"],
        ["submission=k.csv", "per_image=k.csv"],
    ):
        done = command("score", *words, *more)
        assert done.status == 1
        assert done.errors == [f"error: {more[-1]}: is read by this command: name another file"]
    kept = (tmp_path / "submission.txt").read_bytes()
    assert kept == (FIXTURE / "submission.txt").read_bytes()


# --- the official metric


@pytest.mark.parametrize("with_blacklist", [False, True])
def test_equals_the_development_kit(tmp_path, with_blacklist):
    blacklist = [f"blacklist={FIXTURE}/blacklist.txt"] if with_blacklist else []
    done = cam_score(*FILES, *blacklist, "output=scores.json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    text, modules = done.stdout.rsplit("\n", 2)[:2]
    assert modules == "[]"
    result = json.loads(text)
    assert result == json.loads((tmp_path / "scores.json").read_text())
    assert (result["n_images"], result["n_blacklisted"]) == (1500, 50 if with_blacklist else 0)
    expected = [
        row
        for row in json.loads((FIXTURE / "expected.json").read_text())
        if row["blacklist"] == with_blacklist
    ]
    for found, wanted in zip(result["guesses"], expected, strict=True):
        assert found["k"] == wanted["guesses"]
        for key in ("cls_error", "clsloc_error"):
            assert found[key] == pytest.approx(wanted[key], abs=1e-6)
    assert "1        44.80" in done.stderr
    first, *table = done.stderr.splitlines()
    assert first == f"{FIXTURE}/ground_truth.csv: 1500 images, 3169 boxes"
    assert max(map(len, table)) < 80
    assert [path.name for path in tmp_path.iterdir()] == ["scores.json"]


@pytest.fixture
def snakes(tmp_path):
    """Ground truth of four images, the third without a box, in all forms: CSV, Kaggle, XML."""
    boxes = [["0 0 9 9"], ["0 0 9 9", "10 10 19 19"], [], ["0 0 9 9"]]
    wnids = [SNAKE, GOOSE, SNAKE, SNAKE]
    indices = [str({SNAKE: 65, GOOSE: 99}[wnid]) for wnid in wnids]
    folder = tmp_path / "truth"
    (folder / "xml").mkdir(parents=True)
    csv, kaggle = "image,width,height,class_index,boxes\n", "ImageId,PredictionString\n"
    for i in range(4):
        csv += f"v{i},20,20,{indices[i]},{';'.join(boxes[i])}\n"
        kaggle += f"v{i},{' '.join(f'{wnids[i]} {box}' for box in boxes[i])}\n"
        objects = ""
        for box in boxes[i]:
            corners = zip(("xmin", "ymin", "xmax", "ymax"), box.split(), strict=True)
            inside = "".join(f"<{tag}>{value}</{tag}>" for tag, value in corners)
            objects += f"<object><name>{wnids[i]}</name><bndbox>{inside}</bndbox></object>"
        size = "<size><width>20</width><height>20</height></size>"
        (folder / "xml" / f"v{i}.xml").write_text(f"<annotation>{size}{objects}</annotation>")
    (folder / "truth.csv").write_text(csv)
    (folder / "LOC_val_solution.csv").write_text(kaggle)
    return folder


# v0 right at once; v1 at the second guess of the same label, by its second box; v2 has no box;
# v3 right at the third, after a number that is no class.
TEXT = (
    "490 0 0 9 9\n"
    "420 5 5 14 14 420 10 10 19 19\n"
    "490 0 0 9 9\n"
    "65 0 0 9 9 1001 0 0 9 9 490 0 0 9 9 1 0 0 1 1 1 0 0 1 1 490 0 0 9 9\n"
)
TEXT_ERRORS = [(25, 75), (25, 50), (0, 25), (0, 25), (0, 25)]


@pytest.mark.parametrize("name", ["truth.csv", "LOC_val_solution.csv", "xml"])
def test_one_submission_against_each_form_of_ground_truth(score, snakes, tmp_path, name):
    (tmp_path / "s.txt").write_text(TEXT)
    result, said = score("submission=s.txt", f"ground_truth={snakes / name}")
    if name == "truth.csv":
        assert clsloc(result) == TEXT_ERRORS
    else:  # nothing there tells the class of an image without a box
        assert clsloc(result) == [(cls + 25, loc) for cls, loc in TEXT_ERRORS]
        assert "1 of 4 images have no label: each counts as an error" in said
    assert "1 of 4 images have no true box: each counts as a localization error" in said
    assert (tmp_path / "runs" / ".cache").is_dir() == (name == "xml")


def test_kaggles_csv_scores_as_its_text_does(score, snakes, tmp_path):
    snake, goose, other = 65, 99, 0
    box, second, odd = (0, 0, 9, 9), (10, 10, 19, 19), (5, 5, 14, 14)
    guesses = [
        [(snake, box)],
        [(goose, odd), (goose, second)],
        [(snake, box)],
        [(other, box), (other, box), (snake, box)],
    ]
    order = [2, 0, 3, 1]
    write_kaggle_submission(
        tmp_path / "s.csv",
        [f"v{i}" for i in order],
        [guesses[i] for i in order],
        ilsvrc_classes().wnids,
    )
    result, _ = score("submission=s.csv", f"ground_truth={snakes}/truth.csv")
    assert clsloc(result) == TEXT_ERRORS


def test_an_image_missing_from_kaggles_csv_is_wrong(score, snakes, tmp_path):
    (tmp_path / "s.csv").write_text(f"ImageId,PredictionString\nv0,{SNAKE} 0 0 9 9\n")
    result, said = score("submission=s.csv", f"ground_truth={snakes}/truth.csv")
    assert clsloc(result) == [(75, 75)] * 5
    assert "s.csv: no guesses for 3 of 4 images (the first: v1); each counts as wrong" in said


def test_the_blacklist_holds_numbers_in_the_order_of_names(score, snakes, tmp_path):
    (tmp_path / "s.txt").write_text(TEXT)
    (tmp_path / "b.txt").write_text("3\n")
    words = ("submission=s.txt", f"ground_truth={snakes}/truth.csv", "blacklist=b.txt")
    result, _ = score(*words)
    assert result["n_blacklisted"] == 1
    errors = [loc for _, loc in clsloc(result)]
    assert errors == [pytest.approx(100 * wrong / 3) for wrong in (2, 1, 0, 0, 0)]


# --- runs and data sets


def test_a_run_is_scored_by_the_truth_it_carries(score, make_run):
    folder = make_run("nin", cls_right=3, loc_right=2, n=4)
    result, said = score(f"submission={folder}")
    assert clsloc(result) == [(25, 50)] * 5
    assert "box rule threshold (box=NAME for heuristic)" in said
    assert result == score(f"submission={folder}/predictions.parquet", "box=heuristic")[0]
    text = folder / "submission_threshold.txt"
    assert result == score(f"submission={text}", f"ground_truth={folder}")[0]


def test_a_tree_is_ground_truth_in_any_form(score, tiny_tree, tmp_path):
    """Its val images take 3 classes in turns, boxes of 16 x 12 at (3 i mod 16, 2 i mod 12)."""
    (tmp_path / "s.txt").write_text(
        "".join(
            f"{1 + (0 if i == 4 else i % 3)} {3 * i % 16} {2 * i} {3 * i % 16 + 15} {2 * i + 11}\n"
            for i in range(6)
        )
    )
    data = ["data=ilsvrc", f"data.root={tiny_tree}"]
    result, said = score("submission=s.txt", *data)
    wrong = pytest.approx(100 / 6)  # the fifth's class; the sixth's box below is moved
    assert clsloc(result) == [(wrong, wrong)] * 5
    assert "data set tiny" in said
    (tmp_path / "s.csv").write_text(
        "ImageId,PredictionString\n"
        + "".join(
            f"ILSVRC2012_val_{i + 1:08d},n{1000 + 10 * (i % 3):08d} {3 * i % 16} {2 * i % 12} "
            f"{3 * i % 16 + 15} {2 * i % 12 + 11}\n"
            for i in range(5, -1, -1)
        )
    )
    result, _ = score("submission=s.csv", *data, f"data.boxes={tiny_tree}/LOC_val_solution.csv")
    assert clsloc(result) == [(0, 0)] * 5


def test_nothing_here_needs_torch(tmp_path, tiny_tree, make_run):
    folder = make_run("nin", n=6)
    done = cam_score(
        f"submission={folder}/submission_threshold.txt",
        "data=ilsvrc",
        f"data.root={tiny_tree}",
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("[]\n")
    done = cam_score(f"submission={folder}", "protocol=gt_known", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "torch" not in done.stdout.splitlines()[-1]


# --- the other protocols


def test_gt_known_literal(score, snakes, tmp_path):
    # IoU 1, 0.5, no true box, 0.4; labels do not matter.
    (tmp_path / "s.txt").write_text("1 0 0 9 9\n2 10 10 19 14\n\n3 0 0 9 3 490 0 0 9 9\n")
    words = ("submission=s.txt", f"ground_truth={snakes}/truth.csv", "protocol=gt_known")
    result, said = score(*words, "output=o/s.json")
    assert result == {
        "n_images": 4,
        "gt_known": {"0.3": 75, "0.5": 50, "0.7": 25},
        "gt_known_95": {"0.3": [25, 100], "0.5": [0, 100], "0.7": [0, 75]},
        "thresholds_are": {"iou": "fixed"},
    }
    assert json.loads((tmp_path / "o" / "s.json").read_text()) == result
    assert "GT-known accuracy %       75.00    50.00    25.00" in said
    assert "  95 % from               25.00     0.00     0.00" in said
    assert "  95 % to                100.00   100.00    75.00" in said


def test_gt_known_of_a_run_is_its_box_of_the_true_class(score, make_run):
    folder = make_run("nin", cls_right=0, loc_right=3, n=4)
    result, _ = score(f"submission={folder}", "protocol=gt_known")
    assert result["gt_known"] == {"0.3": 75, "0.5": 75, "0.7": 75}


def as_folder(stack, folder):
    folder.mkdir()
    for i, map_hw in enumerate(stack):
        np.save(folder / f"img_{i:05d}.npy", map_hw)
    return folder


@pytest.mark.parametrize("form", ["stack", "folder"])
@pytest.mark.parametrize("mode", ["largest_contour", "multi_contour"])
def test_max_box_acc_equals_the_authors_program(score, tmp_path, mode, form):
    maps = MAPS_FIXTURE / "cams_14x14.npy"
    if form == "folder":
        maps = as_folder(np.load(maps), tmp_path / "maps")
    result, said = score(
        "protocol=max_box_acc",
        f"maps={maps}",
        f"ground_truth={MAPS_FIXTURE}/metadata",
        f"protocol.multi_contour={str(mode == 'multi_contour').lower()}",
        "output=scores.json",
    )
    expected = json.loads((MAPS_FIXTURE / "expected.json").read_text())[mode]
    assert list(result) == [
        *("max_box_acc", "mean", "best_threshold", "max_box_acc_95", "multi_contour"),
        *("thresholds_are", "images_sha256"),
    ]
    assert result["thresholds_are"] == {"iou": "fixed"} | dict.fromkeys(
        ("max_box_acc", "mean", "best_threshold"), "oracle"
    )
    assert result["mean"] == pytest.approx(expected["mean"], abs=1e-6)
    for key in ("max_box_acc", "best_threshold"):
        assert list(result[key]) == ["0.3", "0.5", "0.7"]
        assert result[key] == pytest.approx(expected[key], abs=1e-6)
    assert json.loads((tmp_path / "scores.json").read_text()) == result
    mean = "mean accuracy %" if mode == "largest_contour" else "MaxBoxAccV2 %"
    assert f"{mean:22}{expected['mean']:9.2f}" in said
    assert "at oracle threshold" in said


@pytest.mark.parametrize(
    ("protocol", "mode"),
    [("max_box_acc", "largest_contour"), ("max_box_acc_v2", "all_contours")],
)
def test_v2_takes_the_boxes_of_all_contours(score, protocol, mode):
    """Maps with several blobs, on which the two differ."""
    folder = FIXTURES / "max_box_acc_v2"
    result, said = score(
        f"protocol={protocol}",
        f"maps={folder}/cams_14x14.npy",
        f"ground_truth={folder}/metadata",
    )
    expected = json.loads((folder / "expected.json").read_text())[mode]
    assert result["max_box_acc"] == pytest.approx(expected["max_box_acc"], abs=1e-6)
    assert result["mean"] == pytest.approx(expected["mean"], abs=1e-6)
    assert ("MaxBoxAccV2" in said) == (protocol == "max_box_acc_v2")


def test_max_box_acc_takes_other_ground_truth(score, tmp_path, snakes):
    """A map that is its box: 5 x 5 cells of 20 pixels, the upper left quarter bright."""
    map_hw = np.zeros((20, 20))
    map_hw[:10, :10] = 1
    np.save(tmp_path / "m.npy", np.array([map_hw, map_hw.T, map_hw, -map_hw]))
    result, said = score("protocol=max_box_acc", "maps=m.npy", f"ground_truth={snakes}/truth.csv")
    # v2 has no true box; the map of v3 is bright everywhere else.
    assert result["max_box_acc"] == {"0.3": 50, "0.5": 50, "0.7": 50}
    assert "1 of 4 images have no true box" in said


# --- what is said besides


def test_odd_guesses_are_counted_and_said(score, snakes, tmp_path):
    six = "490 0 0 9 9 " * 6
    (tmp_path / "s.txt").write_text(f"{six}\n420 5 5 4 14 9999 0 0 20 9\n\n490 0 0 9 9\n")
    result, said = score("submission=s.txt", f"ground_truth={snakes}/truth.csv")
    assert result["odd_guesses"] == {
        **{"outside": 1, "inverted": 1, "beyond_five": 1, "unknown_label": 1}
    }
    said = " ".join(said.split())
    assert "1 outside their image, 1 inverted, 1 after the fifth, 1 of unknown label" in said
    assert (result["hints"], result["thresholds_are"]) == ([], {"iou": "fixed"})
    assert result["guesses"][0]["cls_error_95"] == [0, 75]


def test_a_wrong_numbering_is_named_with_its_remedy(score, snakes, tmp_path):
    (tmp_path / "s.txt").write_text("65 0 0 9 9\n99 0 0 9 9\n65 0 0 9 9\n65 0 0 9 9\n")
    words = ("submission=s.txt", f"ground_truth={snakes}/truth.csv")
    result, said = score(*words)
    assert clsloc(result) == [(100, 100)] * 5
    assert result["hints"] == [
        {
            "reading": "with labels read as class indices",
            "classification_error": 0.0,
            "remedy": "give labels=index",
        }
    ]
    assert (
        "hint: with labels read as class indices, the classification error would be 0.0\n"
        "  %: give labels=index\n"
    ) in said
    result, _ = score(*words, "labels=index")
    assert clsloc(result) == [(0, 25)] * 5


def test_boxes_may_be_x_y_width_height(score, snakes, tmp_path):
    (tmp_path / "s.txt").write_text("490 0 0 10 10\n420 10 10 10 10\n\n490 0 0 10 10\n")
    words = ("submission=s.txt", f"ground_truth={snakes}/truth.csv", "boxes=xywh")
    assert clsloc(score(*words)[0]) == [(25, 25)] * 5
    result, _ = score(*words, "protocol=gt_known")
    assert result["gt_known"] == {"0.3": 75, "0.5": 75, "0.7": 75}


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_row_an_image(score, make_run, tmp_path, suffix):
    folder = make_run("nin", cls_right=3, loc_right=2, n=4)
    score(f"submission={folder}", f"per_image=rows.{suffix}")
    read = pd.read_csv if suffix == "csv" else pd.read_parquet
    rows = read(tmp_path / f"rows.{suffix}")
    ious = [f"{rule}/{iou}" for rule in ("threshold", "heuristic") for iou in IOUS]
    names = ["id", "label", "top1", "place", "true_boxes", "blacklisted", *ious]
    assert rows.columns.tolist() == names
    assert rows["id"].tolist() == [f"image0000{i}" for i in range(4)]
    assert rows["top1"].tolist() == [0, 0, 0, 1]
    assert rows["place"].fillna(0).tolist() == [1, 1, 1, 0]
    for rule in ("threshold", "heuristic"):
        assert rows[f"{rule}/first_iou"].tolist() == [1, 1, 0, 0]
        assert rows[f"{rule}/right_iou"].fillna(-1).tolist() == [1, 1, 0, -1]
        assert rows[f"{rule}/known_iou"].tolist() == [1, 1, 0, 0]


IOUS = ("first_iou", "right_iou", "known_iou")


def test_several_runs_are_scored_one_after_another(score, make_run, tmp_path):
    first = make_run("nin", cls_right=3, loc_right=2, n=4)
    make_run("vgg", cls_right=4, loc_right=4, n=4)
    both, said = score("submission=runs/demo/*/eval/*", "output=o.json")
    assert list(both) == ["runs/demo/nin/eval/val-cam", "runs/demo/vgg/eval/val-cam"]
    assert [clsloc(result) for result in both.values()] == [[(25, 50)] * 5, [(0, 0)] * 5]
    assert both == json.loads((tmp_path / "o.json").read_text())
    assert "runs/demo/vgg/eval/val-cam: 4 images, 4 boxes" in said
    assert both["runs/demo/nin/eval/val-cam"] == score(f"submission={first}")[0]
    listed, _ = score("submission=[runs/demo/vgg,runs/demo/nin]", "protocol=gt_known")
    assert [result["gt_known"]["0.5"] for result in listed.values()] == [100, 50]


def test_of_several_runs_those_that_cannot_be_scored_are_named(score, command, make_run):
    make_run("nin", cls_right=4, n=4)
    blind = make_run("vgg", n=4, has_labels=False)
    found, said = score("submission=runs/demo/*/eval/*")
    assert list(found) == ["runs/demo/nin/eval/val-cam"]
    assert (
        "left out: runs/demo/vgg/eval/val-cam: the ground truth has no labels, so there is nothing "
        "to score\n"
    ) in said
    make_run("nin", n=4, has_labels=False)
    done = command("score", "submission=runs/demo/*/eval/*", "output=o.json")
    assert (done.out, done.errors) == ("", ["error: none of the 2 runs can be scored"])
    done = command("score", f"submission={blind}")
    assert done.errors == ["error: the ground truth has no labels, so there is nothing to score"]


def test_a_run_is_read_once(score, make_run, monkeypatch):
    folder = make_run("nin", n=4)
    start, files = pq.ParquetFile.__init__, []

    def opened(self, path, *more, **options):
        files.append(Path(path).name)
        start(self, path, *more, **options)

    monkeypatch.setattr(pq.ParquetFile, "__init__", opened)
    score(f"submission={folder}")
    assert files == ["predictions.parquet"]


# --- mistakes


def test_help_is_about_the_command_and_leaves_nothing_behind(tmp_path):
    done = cam_score("--help", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith("cam-score submission=F ground_truth=F.csv [blacklist=F]")
    assert "_target_: cam_repro.metrics.clsloc.ClsLoc" in done.stdout
    assert done.stdout.endswith("[]\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "submission not given: add submission=VALUE (see --help)"),
        (FILES[1:], "submission not given: add submission=VALUE (see --help)"),
        (
            FILES[:1],
            "ground_truth not given: add ground_truth=VALUE or data=ilsvrc data.root=DIR "
            "(see --help)",
        ),
        (
            [*FILES, "data=ilsvrc", "data.root=x"],
            "ground_truth and data are both given: leave one of them out",
        ),
        (
            [*FILES, "split=train"],
            "split needs a data set: leave it out, or give data= in place of ground_truth",
        ),
        (["submision=x"], "there is no setting 'submision'; did you mean submission?"),
        (["+extra=1", *FILES], "there is no setting 'extra': --help lists them"),
        (["submission=none.txt", FILES[1]], "no submission file none.txt"),
        ([FILES[0], "ground_truth=none.csv"], "no ground truth file none.csv"),
        ([*FILES, "blacklist=none.txt"], "no blacklist file none.txt"),
        (
            ["submission=short.txt", FILES[1]],
            "short.txt: the submission has 2 lines, ground truth 1500: "
            "one line an image is needed, an empty one where nothing is guessed",
        ),
        (["submission=bad.txt", FILES[1]], "bad.txt, line 1: 'x' is not a whole number below 2^31"),
        ([*FILES, "blacklist=far.txt"], "far.txt, line 1: image 1501; the images are 1 to 1500"),
        (
            [*FILES, "protocol=map"],
            "protocol=map: choose one of average_drop, clsloc, deletion, energy_in_box, gt_known, "
            "insertion, localization, max_box_acc, max_box_acc_v2, miou, pointing_game, pxap, "
            "sanity_check, threshold_curve",
        ),
        (
            [*FILES, "protocol.multi_contour=true"],
            "there is no setting 'protocol.multi_contour': --help lists them (those of another "
            "protocol come with protocol=NAME)",
        ),
        (
            [FILES[1], "protocol=max_box_acc", "protocol.multi_contour=2"],
            "protocol.multi_contour=2: must be true or false",
        ),
        ([*FILES, "maps=m.npy"], "maps is not used by protocol=clsloc: leave it out"),
        (
            [*FILES, "protocol=gt_known", "blacklist=far.txt"],
            "blacklist is not used by protocol=gt_known: leave it out",
        ),
        (
            [*FILES, "box=threshold"],
            f"box=threshold: {FIXTURE}/submission.txt is no run folder, so it has no box rules",
        ),
        (
            [FILES[1], "protocol=max_box_acc"],
            "maps not given: add maps=VALUE (see --help)",
        ),
        (
            [FILES[1], "protocol=max_box_acc", "maps=short.npy"],
            "short.npy: holds 2 maps, the ground truth 1500 images: one map an image is needed, "
            "in its order",
        ),
        (
            ["ground_truth=sizeless.csv", "protocol=max_box_acc", "maps=short.npy"],
            "the ground truth does not say how large each image is, which max_box_acc needs: give "
            "a CSV with width and height, a metadata folder, XML files with <size>, or a run",
        ),
        (
            ["submission=none.txt", "ground_truth=foreign.csv"],
            "no submission file none.txt",
        ),
        ([*FILES, "labels=wnid"], "labels=wnid: choose one of kit, index, index+1"),
        (
            [*FILES, "labels=index"],
            "labels=index: the ground truth does not say what its labels stand for; call its "
            "column class_index",
        ),
        ([*FILES, "boxes=yxyx"], "boxes=yxyx: choose one of xyxy, xywh"),
        (
            [*FILES, "labels=kit", "protocol=gt_known"],
            "labels is not used by protocol=gt_known: leave it out",
        ),
        ([*FILES, "per_image=rows.txt"], "per_image=rows.txt: end the name in .csv or .parquet"),
        (["submission=no/*"], "no scored runs under no/*: run cam-reproduce or cam-eval first"),
        (
            ["submission=short.txt", "data=ilsvrc", "data.root=none"],
            "data.root=none: no such folder",
        ),
    ],
)
def test_mistakes_are_one_line(command, tmp_path, monkeypatch, arguments, message):
    monkeypatch.delenv("CAM_REPRO_ILSVRC", raising=False)
    (tmp_path / "short.txt").write_text("1 0 0 1 1\n\n")
    (tmp_path / "bad.txt").write_text("1 0 0 x 1\n")
    (tmp_path / "foreign.csv").write_text("ImageId,PredictionString\na,x1 0 0 1 1\n")
    (tmp_path / "far.txt").write_text("1501\n")
    (tmp_path / "sizeless.csv").write_text("image,label,boxes\na,1,\nb,1,0 0 1 1\n")
    np.save(tmp_path / "short.npy", np.zeros((2, 3, 3)))
    done = command("score", *arguments)
    assert done.status == 1
    assert done.err.startswith(f"error: {message}")
    assert done.err.count("\n") == 1
    assert done.out == ""


def test_a_run_that_classifies_nothing_has_no_official_error(command, make_run, tmp_path):
    folder = make_run("none", n=2, classifies=False)
    done = command("score", f"submission={folder}")
    assert done.errors == [
        f"error: {folder}: made without a network, it guesses no classes: add protocol=gt_known"
    ]
    assert command("score", f"submission={folder}", "protocol=gt_known").status == 0


def test_a_split_without_labels_cannot_be_scored(command, make_run):
    done = command("score", f"submission={make_run('nin', n=2, has_labels=False)}")
    assert done.status == 1
    assert done.errors == ["error: the ground truth has no labels, so there is nothing to score"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("labels=index", "labels and boxes tell how a file is to be read: for runs leave them out"),
        ("per_image=r.csv", "per_image=r.csv: is of one run, and 2 are named"),
    ],
)
def test_what_is_of_one_file_or_run_alone(command, make_run, words, message):
    make_run("nin")
    make_run("vgg")
    assert command("score", "submission=runs", words).errors == [f"error: {message}"]
