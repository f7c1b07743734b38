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
PAIR = r"(\d+\.\d / \d+\.\d)"
WITH_MAPS = rf"^\| (\S+) \| (\w+) \| {PAIR} \| {PAIR} \| {PAIR} \| {PAIR} \|$"
WITHOUT_MAPS = rf"^\| (\S+)() \| {PAIR} \| {PAIR} \| {PAIR} \| {PAIR} \|$"


def rows(page, form):
    """Network, maps and figures of each row that has this form."""
    return [(page, *row) for row in re.findall(form, (ROOT / page).read_text("utf-8"), re.M)]


ROWS = {
    "demo": [*rows("README.md", WITH_MAPS), *rows("docs/results.md", WITH_MAPS)],
    "tinyimagenet40": rows("docs/results.md", WITHOUT_MAPS),
}
CASES = [(data, *row) for data, of_data in ROWS.items() for row in of_data]


def short(percent):
    """One decimal, a half rounded up, as the pages have it."""
    return str(Decimal(str(percent)).quantize(Decimal("0.1"), ROUND_HALF_UP))


def test_all_rows_are_looked_at():
    assert {data: len(of_data) for data, of_data in ROWS.items()} == {
        "demo": 2 * 10,
        "tinyimagenet40": 3,
    }


@pytest.mark.parametrize("case", CASES, ids=lambda case: " ".join(case[:4]))
def test_a_row_is_of_a_run(case):
    data, _, network, maps, *figures = case
    run = f"{NETWORKS[network]}/eval/val-{maps.lower() or 'cam'}"
    scores = json.loads((ROOT / "results" / data / run / "scores.json").read_text("utf-8"))
    loc = scores["loc"]
    errors = [scores["cls"], loc["threshold"], loc["heuristic"], loc["whole_image"]]
    assert figures == [f"{short(each['top1'])} / {short(each['top5'])}" for each in errors]
