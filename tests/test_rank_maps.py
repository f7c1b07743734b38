"""scripts/rank_maps.py: the numbers of cam-score side by side, and their ranks."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from run_builder import RIGHT

from cam_repro.geometry import inside_boxes
from cam_repro.runs.answers import Answers, write_answers

ROOT = Path(__file__).parents[1]


def test_runs_are_ranked_by_each_number(make_run, tmp_path):
    mask_HW = inside_boxes([RIGHT], 20, 20).astype(np.float32)
    for saliency, right in (("cam", 1), ("backprop", 3), ("gradcam", 3)):
        folder = make_run("nin", saliency=saliency, n=4, maps=True)
        (folder / "maps").mkdir()
        for i in range(4):
            np.save(folder / "maps" / f"image{i:05d}.npy", mask_HW if i < right else 1 - mask_HW)
        if saliency != "gradcam":
            curve = np.array([[0.5, right / 10, 0.1]], np.float32)
            labels = ["0", "0.5", "1"]
            write_answers(folder, "deletion", Answers(["image00002"], np.zeros(1), curve, labels))
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/rank_maps.py", "runs/demo/nin", "--output", "o.csv"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with (tmp_path / "o.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["saliency"] for row in rows] == ["backprop", "gradcam", "cam"]
    assert [row["localization"] for row in rows] == ["75.0", "75.0", "25.0"]
    assert [row["energy_in_box_rank"] for row in rows] == ["1", "1", "3"]
    assert [row["deletion"] for row in rows] == ["30.0", "", "20.0"]
    assert [row["deletion_rank"] for row in rows] == ["2", "", "1"]
    assert [row["deletion_images"] for row in rows] == ["1", "", "1"]
    assert {row["insertion"] for row in rows} == {""}
    assert "was not asked about insertion" in done.stdout
