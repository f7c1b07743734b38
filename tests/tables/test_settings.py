"""What a row says of settings other than the defaults."""

from pathlib import Path

import pytest
from hydra import initialize_config_dir
from omegaconf import OmegaConf
from run_builder import make_manifest

from cam_repro.tables import SOURCES, build_tables, find_runs, paper_sheet
from cam_repro.tables.settings import changed_settings
from cam_repro.words import compose

CONFIGS = Path(__file__).parents[2] / "configs"
BOXES = sorted(path.stem for path in (CONFIGS / "box").glob("*.yaml"))


@pytest.fixture
def manifest():
    """Makes the manifest of a pass with these words for cam-eval."""

    def scored_with(*words, saliency="cam"):
        with initialize_config_dir(str(CONFIGS), version_base="1.3"):
            config = OmegaConf.to_container(compose("eval", words), resolve=True)
        return make_manifest(saliency=saliency, view=config["view"]["name"], config=config)

    return scored_with


@pytest.mark.parametrize("view", ["squash", "center", "ten"])
def test_defaults_say_nothing(manifest, view):
    every = manifest(f"box=[{','.join(BOXES)}]", f"view={view}", "saliency=cam")
    assert {name: changed_settings(every, name) for name in BOXES} == {name: [] for name in BOXES}


def test_each_rule_answers_for_its_own(manifest):
    changed = manifest("box=[threshold,heuristic]", "box.threshold.threshold=0.3")
    assert changed_settings(changed, "threshold") == ["box.threshold.threshold=0.3"]
    assert changed_settings(changed, "heuristic") == []
    changed = manifest("box=[heuristic]", "box.heuristic.loose=0.1", "box.heuristic.tight=0.5")
    assert changed_settings(changed, "heuristic") == [
        "box.heuristic.loose=0.1",
        "box.heuristic.tight=0.5",
    ]
    changed = manifest("box=dt_box", "box.dt_box.thresholds=[30,90,150]")
    assert changed_settings(changed, "dt_box") == ["box.dt_box.thresholds=[30,90,150]"]


def test_maps_and_view_count_too(manifest):
    changed = manifest(
        *("saliency=backprop", "saliency.blur=0", "view=ten", "view.divide_by_coverage=true"),
        saliency="backprop",
    )
    assert changed_settings(changed, "threshold") == [
        *("saliency.blur=0", "view.divide_by_coverage=true")
    ]


def test_what_configs_does_not_know_is_left_alone():
    mine = {"box": {"mine": {"_target_": "my.Box", "size": 3}}}
    assert changed_settings(make_manifest(config=mine), "mine") == []
    assert changed_settings(make_manifest(config={}), "threshold") == []
    ours = {"box": {"threshold": {"_target_": "my.Box", "threshold": 0.2}}}
    assert changed_settings(make_manifest(config=ours), "threshold") == [
        "box.threshold._target_=my.Box"
    ]


def test_a_row_is_marked(make_run, manifest, tmp_path):
    changed = manifest("box=[threshold,heuristic]", "box.threshold.threshold=0.3").config
    for name in ("vgg_gap", "nin"):
        make_run(name, config=changed)
    make_run("alexnet_gap")
    (runs,) = find_runs(tmp_path / "runs").values()
    table1, table2, _ = map(paper_sheet, build_tables(runs, SOURCES["paper"]))
    assert "[1]" not in table1.text
    assert [row[0] for row in table2.rows if row[-2]] == ["VGGnet-GAP", "NIN"]
    assert {row[-2] for row in table2.rows} == {"box.threshold.threshold=0.3", ""}
    assert table2.header[-2:] == ["settings", "run"]
    marked = [line.split(" | ")[0] for line in table2.text.splitlines() if "[1] " in line]
    assert [cell.strip("| ") for cell in marked[:2]] == ["VGGnet-GAP [1]", "NIN [1]"]
    assert table2.text.endswith("|\n\n[1] box.threshold.threshold=0.3\n")
