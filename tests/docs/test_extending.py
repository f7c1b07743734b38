"""The examples of docs/extending.md, copied into an empty folder and run as the page says."""

import colorsys
import importlib
import re
import sys

import numpy as np
import pytest
import torch
from pages import ROOT, blocks, shell_lines
from PIL import Image

from cam_repro.api import load_network
from cam_repro.errors import UserError

PAGE = ROOT / "docs" / "extending.md"
LIMIT = 25
"""Lines of an example, blank ones not counted."""

EXAMPLES = [block for language in ("python", "yaml") for block in blocks(PAGE, language)]
MODULES = [name for name in re.findall(r"^# (my_\w+)\.py$", PAGE.read_text("utf-8"), re.M)]


def file_of(block):
    """The name of an example's file, which its first line tells."""
    return re.match(r"# (my_\S+)\n", block.text)[1]


def make_birds(folder):
    """Six images of two kinds a split, each with one box, and a CSV that says so."""
    for split in ("train", "val"):
        lines = ["file,kind,x0,y0,x1,y1"]
        for i in range(6):
            pixels = np.full((24, 32, 3), 128, np.uint8)
            pixels[4:16, 8:24] = np.multiply(colorsys.hsv_to_rgb(i % 2 / 2, 1, 1), 255)
            path = folder / split / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
            lines.append(f"{split}/{i}.png,{('robin', 'wren')[i % 2]},8,4,23,15")
        (folder / f"{split}.csv").write_text("\n".join(lines) + "\n")


def save_weights(path):
    """The page's network for the built-in set, as another program saves it."""
    network = importlib.import_module("my_networks").TinyGap(num_classes=12, norm="batch")
    colours = ("pixel_mean", "pixel_std")
    state = {f"model.{k}": v for k, v in network.state_dict().items() if k not in colours}
    torch.save({"state_dict": state, "epoch": 3}, path)


@pytest.fixture
def my_folder(tmp_path, monkeypatch):
    for block in EXAMPLES:
        path = tmp_path / file_of(block)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, "utf-8")
    make_birds(tmp_path / "birds")
    monkeypatch.syspath_prepend(str(tmp_path))  # the page's export PYTHONPATH=$PWD
    monkeypatch.setenv("CAM_REPRO_CACHE", str(tmp_path / "cache"))
    save_weights(tmp_path / "mine.pth")
    yield tmp_path
    for name in MODULES:
        sys.modules.pop(name, None)


@pytest.mark.parametrize("block", EXAMPLES, ids=file_of)
def test_an_example_is_short(block):
    assert len([line for line in block.text.splitlines() if line.strip()]) < LIMIT


def test_every_example_runs_as_the_page_says(my_folder, command):
    said = ""
    for name, *words in shell_lines(PAGE):
        if name == "export":
            assert words == ["PYTHONPATH=$PWD"]
            continue
        done = command(name.removeprefix("cam-"), *words)
        assert done.status == 0, (name, words, done.err[-2000:])
        said += done.out + done.err

    assert '"mean_iou": ' in said
    assert "mine.pth (entry state_dict, 'model.' dropped before names): all 5 layers taken" in said
    demo = my_folder / "runs" / "demo" / "tiny_gap"
    weights = demo / "train" / "last.pt"
    with pytest.raises(UserError, match="the network tiny_gap, of which there is no YAML"):
        load_network(weights=weights)
    own = {"name": "tiny_gap", "_target_": "my_networks.TinyGap"}
    assert load_network(own, weights=weights).name == "tiny_gap"
    assert {path.name for path in (demo / "eval").iterdir()} == {
        "val-cam",
        "val-hirescam",
        "val-cam-mirrored",
    }
    assert (my_folder / "mean" / "submission_above_mean.txt").is_file()
    assert (
        my_folder / "runs" / "birds" / "tiny_gap" / "eval" / "val-cam" / "scores.json"
    ).is_file()
