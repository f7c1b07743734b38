"""The benchmark's table: its rows and the arithmetic of its ratios. Speeds are not looked at."""

from __future__ import annotations

import csv
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from cam_repro.data.ilsvrc.image_set import load_image_set
from cam_repro.runs.predictions import read_predictions

ROOT = Path(__file__).parents[1]
METHODS = [
    *("backprop", "cam", "cmwp", "eigencam", "excitation_backprop", "gradcam", "gradcam_pp"),
    *("guided_backprop", "guided_gradcam", "hirescam", "layercam", "minmax_cam", "occlusion"),
    *("rise, 64 masks", "scorecam", "xgradcam"),
]
Rows = dict[tuple[str, str], dict[str, str]]


def run(folder: Path, *options: str) -> tuple[Rows, str]:
    """The CSV's rows by group and variant, and what was printed; without the rivals' packages."""
    stubs = folder / "stubs"
    stubs.mkdir()
    for module in ("torchcam", "pytorch_grad_cam", "captum"):
        (stubs / f"{module}.py").write_text(f"raise ModuleNotFoundError(name={module!r})\n")
    path = os.pathsep.join([str(stubs), str(ROOT)])  # of this checkout, whichever is installed
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "scripts" / "benchmark"), *options]
    command += ["--device", "cpu", "--workers", "0", "--no-compile", "--networks", "alexnet_gap"]
    command += ["--set", "model.width=0.05", "model.input_size=64", "model.resize_size=72"]
    command += ["--output", str(folder / "out" / "speed.csv")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with (folder / "out" / "speed.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    by_name = {(row.get("group", ""), row["variant"]): row for row in rows}
    assert len(by_name) == len(rows), "a row comes twice"
    return by_name, done.stdout


@pytest.fixture(scope="module")
def measured(tiny_tree, tmp_path_factory):
    """A quick run on 6 images, which are repeated to 9."""
    folder = tmp_path_factory.mktemp("benchmark")
    options = ("--quick", "--images", "9", "--precisions", "fp32", "bf16")
    rows, out = run(folder, *options, "--data", str(tiny_tree))
    return rows, out, folder / "out"


def test_every_stage_has_its_rows(measured):
    rows, _, _ = measured
    names: dict[str, list[str]] = {}
    for group, variant in rows:
        names.setdefault(group, []).append(variant)
    assert names == {
        "forward": ["bare fp32 contiguous", "bare fp32", "bare bf16"],
        "evaluation": [
            "cam_repro fp32",
            "cam_repro bf16",
            "cam_repro fp32, 4 box rules",
            "cam_repro fp32, 4 and graphcut",
            "cam_repro fp32, ten crops",
            "cam_repro fp32, packed at 256",
        ],
        "rivals": [
            "one image at a time",
            "cam_repro fp32",
            "cam_repro bf16",
            "torch-cam",
            "pytorch-grad-cam",
        ],
        "train step": ["bare step fp32", "bare step bf16", "bare step fp32, 2 parts"],
        "training": [
            "cam_repro training fp32",
            "cam_repro training bf16",
            "cam_repro training fp32, 2 parts",
        ],
        "boxes": [
            "cv2 components",
            "threshold",
            "heuristic",
            "dt_box",
            "dt_box_heuristic",
            "graphcut",
            "MaxBoxAcc one by one",
            "MaxBoxAcc",
        ],
        "protocols": ["MaxBoxAccV2 one by one", "MaxBoxAccV2", "PxAP by histograms", "PxAP"],
        "loading": [
            "file bytes",
            "Pillow decode",
            "Pillow decode and squash",
            "cam_repro",
            "cam_repro, packed at 256",
        ],
        "methods": [
            "bare fp32",
            *(f"cam_repro {name}" for name in METHODS),
            "captum",
            "pytorch-grad-cam",
            "torch-cam",
        ],
        "scoring": ["cam-score, 5 images", "cam-score, 5,000 images"],
    }


def test_a_ratio_is_that_of_two_rows_of_the_table(measured):
    rows, _, _ = measured
    ms = {
        (group == "methods", variant): float(row["ms_per_image"])
        for (group, variant), row in rows.items()
        if row["images"]
    }  # methods are measured beside a bare pass of their own
    compared = {key: row for key, row in rows.items() if row["ratio"]}
    for (group, variant), row in compared.items():
        times, _, against = row["against"].rpartition(" x ")
        own = group == "methods"
        expected = ms[own, variant] / (int(times or 1) * ms[own, against])
        assert float(row["ratio"]) == pytest.approx(expected, rel=1e-4), variant
    # All but the rivals, which are compared with torch-cam, and libraries that are not installed.
    missing = {("methods", name) for name in ("captum", "pytorch-grad-cam", "torch-cam")}
    assert set(rows) - set(compared) == {key for key in rows if key[0] == "rivals"} | missing
    assert compared["methods", "cam_repro gradcam"]["against"] == "bare fp32"
    assert compared["evaluation", "cam_repro fp32, ten crops"]["against"] == "10 x bare fp32"
    assert compared["evaluation", "cam_repro bf16"]["against"] == "bare bf16"


def test_a_median_lies_in_the_spread_of_its_rounds(measured):
    rows, _, _ = measured
    for row in rows.values():
        if row["images"]:
            fastest, _, slowest = row["spread"].partition("-")
            assert row["rounds"] == "2"
            # Of two rounds the median is the mean.
            assert 2 * float(row["ms_per_image"]) == pytest.approx(
                float(fastest) + float(slowest), rel=1e-4
            )


def test_the_images_of_a_round(measured):
    rows, _, _ = measured
    n_images = {key: int(row["images"]) for key, row in rows.items() if row["images"]}
    assert n_images["forward", "bare fp32"] == 16  # two batches of 8
    assert n_images["evaluation", "cam_repro fp32"] == 9
    assert n_images["evaluation", "cam_repro fp32, ten crops"] == 2
    assert n_images["training", "cam_repro training fp32"] == 8  # two steps of 4
    assert n_images["scoring", "cam-score, 5,000 images"] == 5000


def test_packages_that_are_not_installed_are_named(measured):
    rows, out, _ = measured
    for package in ("torch-cam", "pytorch-grad-cam"):
        assert rows["rivals", package]["note"] == "not installed"
        assert rows["rivals", package]["ms_per_image"] == ""
        assert f"{package:<32} not installed" in out


def test_the_one_image_recipe_finds_the_same_boxes(measured):
    rows, _, _ = measured
    assert float(rows["rivals", "one image at a time"]["same_boxes"]) == 1
    assert float(rows["rivals", "cam_repro fp32"]["same_boxes"]) == 1


def test_lines_fit_a_terminal_and_facts_lie_beside_the_csv(measured):
    _, out, folder = measured
    assert max(map(len, out.splitlines())) <= 100 or len(str(folder)) > 80
    facts = json.loads((folder / "speed.json").read_text())
    assert facts["versions"]["torch"]
    assert facts["hardware"]["threads"] == 1
    assert facts["data"] == {"name": "tiny", "images": 9, "classes": 3}
    assert facts["command"].startswith("scripts/benchmark.sh --quick --images 9 ")


def test_check_compares_boxes_with_the_straightforward_path(tiny_tree, tmp_path):
    rows, out = run(tmp_path, "--check", "--data", str(tiny_tree), "--precisions", "fp32", "int8")
    variants = ["straightforward", "cam_repro fp32", "cam_repro int8"]
    assert list(rows) == [("", variant) for variant in variants]
    found = rows["", "cam_repro fp32"]
    assert (found["images"], found["identical_images"], found["boxes"]) == ("6", "6", "18")
    assert (found["mean_iou"], found["top1_points"]) == ("1.0000", "+0.00")
    assert "6 of 6" in out
    assert float(rows["", "cam_repro int8"]["mean_iou"]) < 1  # other numbers, so other boxes


def test_scale_measures_whole_processes(tiny_tree, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts" / "benchmark")
    scale = importlib.import_module("scale")
    cases = [scale.Case(images=6, classes=3), scale.Case(images=9, classes=3, rules=2)]
    monkeypatch.setattr(scale, "cases", lambda quick: cases)
    monkeypatch.setattr(scale, "PHOTOGRAPHS", 6)
    images = load_image_set(tiny_tree, "val")
    bench = SimpleNamespace(images=images, folder=tmp_path, device="cpu", workers=0)
    results = importlib.import_module("report").Results(tmp_path / "scale.csv", {"git": "none"})
    scale.measure(bench, results, quick=True)
    assert json.loads((tmp_path / "scale.json").read_text()) == {"git": "none"}
    with (tmp_path / "scale.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    kinds = [[row[key] for key in ("images", "classes", "rules", "processes")] for row in rows]
    assert kinds == [["6", "3", "1", "1"], ["9", "3", "2", "1"]]
    assert all(float(row["seconds"]) > 0 for row in rows)
    assert all(int(row["peak_mib"]) > 100 for row in rows)  # torch alone takes more
    run = read_predictions(tmp_path / "run-9-3-2-1")
    assert list(run.rules) == ["threshold", "heuristic"]
    assert (len(run), len(run.classes), run.boxes.counts_N.tolist()) == (9, 3, [1] * 9)
