"""Tables of results in the pages have the numbers of the runs in results/."""

import json
import re
from decimal import ROUND_HALF_UP, Decimal

import pytest
from omegaconf import OmegaConf
from pages import ROOT

from cam_repro.config import config_dir

NETWORKS = {
    str(OmegaConf.load(path).row): path.stem
    for path in (config_dir() / "model").glob("*.yaml")
    if not path.stem.startswith("_")
}
README, RESULTS = ((ROOT / name).read_text("utf-8") for name in ("README.md", "docs/results.md"))
PAIR = r"(\d+\.\d / \d+\.\d)"
WITH_MAPS = rf"^\| (\S+) \| (\w+) \| {PAIR} \| {PAIR} \| {PAIR} \| {PAIR} \|$"
WITHOUT_MAPS = rf"^\| (\S+)() \| {PAIR} \| {PAIR} \| {PAIR} \| {PAIR} \|$"
ROWS = [
    *(("demo", *row) for text in (README, RESULTS) for row in re.findall(WITH_MAPS, text, re.M)),
    *(("tinyimagenet40", *row) for row in re.findall(WITHOUT_MAPS, RESULTS, re.M)),
]


def short(percent):
    """One decimal, a half rounded up, as the pages have it."""
    return str(Decimal(str(percent)).quantize(Decimal("0.1"), ROUND_HALF_UP))


def test_all_rows_are_looked_at():
    assert len(ROWS) == 10 + 10 + 3


@pytest.mark.parametrize("row", ROWS, ids=lambda row: " ".join(row[:3]))
def test_a_row_is_of_a_run(row):
    data, network, maps, *figures = row
    run = f"{NETWORKS[network]}/eval/val-{maps.lower() or 'cam'}"
    scores = json.loads((ROOT / "results" / data / run / "scores.json").read_text("utf-8"))
    loc = scores["loc"]
    errors = [scores["cls"], loc["threshold"], loc["heuristic"], loc["whole_image"]]
    assert figures == [f"{short(each['top1'])} / {short(each['top5'])}" for each in errors]
