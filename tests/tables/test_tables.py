import shutil
import subprocess
import sys

import pytest
from run_builder import edit_manifest

from cam_repro.errors import UserError
from cam_repro.metrics import scores
from cam_repro.runs.manifest import Blacklist
from cam_repro.tables import (
    SOURCES,
    build_tables,
    find_runs,
    markdown,
    paper_sheet,
    runs_sheet,
    write_sheets,
)
from cam_repro.tables.paper import TABLES

HEADERS = [
    "Networks,top-1 val. error,top-5 val. error",
    "Method,top-1 val.error,top-5 val. error",
    "Method,supervision,top-5 test error",
]


def csvs(tmp_path, data="demo", source="paper"):
    runs = find_runs(tmp_path / "runs")[data]
    return [paper_sheet(table).csv_text for table in build_tables(runs, SOURCES[source])]


def row(text, name):
    (line,) = [line for line in text.splitlines() if line.startswith(f"{name},")]
    return line


def test_the_papers_rows_and_numbers():
    assert [
        " · ".join(f"{row.name} {' '.join(map(str, row.paper))}" for row in table.rows)
        for table in TABLES
    ] == [
        "VGGnet-GAP 33.4 12.2 · GoogLeNet-GAP 35.0 13.2 · AlexNet*-GAP 44.9 20.9 · "
        "AlexNet-GAP 51.1 26.3 · GoogLeNet 31.9 11.3 · VGGnet 31.2 11.4 · AlexNet 42.6 19.5 · "
        "NIN 41.9 19.6 · GoogLeNet-GMP 35.6 13.9",
        "GoogLeNet-GAP 56.4 43.0 · VGGnet-GAP 57.2 45.14 · GoogLeNet 60.09 49.34 · "
        "AlexNet*-GAP 63.75 49.53 · AlexNet-GAP 67.19 52.16 · NIN 65.47 54.19 · "
        "Backprop on GoogLeNet 61.31 50.55 · Backprop on VGGnet 61.12 51.46 · "
        "Backprop on AlexNet 65.17 52.64 · GoogLeNet-GMP 57.78 45.26",
        "GoogLeNet-GAP (heuristics) 37.1 · GoogLeNet-GAP 42.9 · Backprop 46.4 · "
        "GoogLeNet 26.7 · OverFeat 29.9 · AlexNet 34.2",
    ]


def test_literal_csv_of_a_small_data_set(make_run, tmp_path):
    # every image right or every image wrong: the intervals are points
    make_run("vgg_gap", cls_right=4, loc_right=4)
    make_run("googlenet_gap", cls_right=4, loc_right=0)
    make_run("vgg", "backprop", rules=["threshold"])
    table1, table2, table3 = csvs(tmp_path)
    assert table1 == (
        "Networks,top-1 val. error,top-5 val. error,paper (ILSVRC val) top-1,"
        "paper (ILSVRC val) top-5,difference top-1,difference top-5,top-1 95% low,top-1 95% high,"
        "top-5 95% low,top-5 95% high,n,data,view,settings,run\n"
        "VGGnet-GAP,0.00,0.00,33.40,12.20,,,0.00,0.00,0.00,0.00,4,demo,squash,,"
        "demo/vgg_gap/eval/val-cam\n"
        "GoogLeNet-GAP,0.00,0.00,35.00,13.20,,,0.00,0.00,0.00,0.00,4,demo,squash,,"
        "demo/googlenet_gap/eval/val-cam\n"
        "AlexNet*-GAP,,,44.90,20.90,,,,,,,,,,,\n"
        "AlexNet-GAP,,,51.10,26.30,,,,,,,,,,,\n"
        "GoogLeNet,,,31.90,11.30,,,,,,,,,,,\n"
        "VGGnet,100.00,100.00,31.20,11.40,,,100.00,100.00,100.00,100.00,4,demo,squash,,"
        "demo/vgg/eval/val-backprop\n"
        "AlexNet,,,42.60,19.50,,,,,,,,,,,\n"
        "NIN,,,41.90,19.60,,,,,,,,,,,\n"
        "GoogLeNet-GMP,,,35.60,13.90,,,,,,,,,,,\n"
    )
    assert row(table2, "VGGnet-GAP").startswith("VGGnet-GAP,0.00,0.00,57.20,45.14,,,")
    assert row(table2, "GoogLeNet-GAP").startswith("GoogLeNet-GAP,100.00,100.00,56.40,43.00,,,")
    assert row(table2, "Backprop on VGGnet").endswith("demo/vgg/eval/val-backprop")
    assert table3 == (
        "Method,supervision,top-5 test error,paper (ILSVRC test) top-5,difference top-5,"
        "top-5 95% low,top-5 95% high,n,data,view,split,settings,run,note\n"
        "GoogLeNet-GAP (heuristics),weakly,100.00,37.10,,100.00,100.00,4,demo,squash,val,,"
        "demo/googlenet_gap/eval/val-cam,\n"
        "GoogLeNet-GAP,weakly,100.00,42.90,,100.00,100.00,4,demo,squash,val,,"
        "demo/googlenet_gap/eval/val-cam,\n"
        "Backprop,weakly,100.00,46.40,,100.00,100.00,4,demo,squash,val,,"
        "demo/vgg/eval/val-backprop,"
        "our vgg network; the paper's number is of Simonyan et al.'s own network\n"
        "GoogLeNet,full,,26.70,,,,,,,,,,"
        "cited by the paper; fully supervised; nothing here trains it\n"
        "OverFeat,full,,29.90,,,,,,,,,,"
        "cited by the paper; fully supervised; nothing here trains it\n"
        "AlexNet,full,,34.20,,,,,,,,,,"
        "cited by the paper; fully supervised; nothing here trains it\n"
    )


def test_on_ilsvrc_the_difference_is_given(make_run, tmp_path):
    make_run("nin", n=1000, cls_right=581, loc_right=346, data="ilsvrc", is_ilsvrc=True)
    table1, table2, _ = csvs(tmp_path, "ilsvrc")
    assert table1.startswith(f"{HEADERS[0]},paper top-1,paper top-5,difference top-1,")
    assert row(table1, "NIN").startswith("NIN,41.90,41.90,41.90,19.60,+0.00,+22.30,")
    assert row(table2, "NIN").startswith("NIN,65.40,65.40,65.47,54.19,-0.07,+11.21,")
    low, high = map(float, row(table1, "NIN").split(",")[7:9])
    assert low == pytest.approx(41.9 - 3.06, abs=0.3)
    assert high == pytest.approx(41.9 + 3.06, abs=0.3)


def test_table1_prefers_the_cam_run_and_rows_take_their_own_saliency(make_run, tmp_path):
    make_run("googlenet", cls_right=4, loc_right=4)
    make_run("googlenet", "backprop", cls_right=0)
    table1, table2, _ = csvs(tmp_path)
    assert row(table1, "GoogLeNet").startswith("GoogLeNet,0.00,0.00,")
    assert row(table2, "GoogLeNet").startswith("GoogLeNet,0.00,0.00,")
    assert row(table2, "Backprop on GoogLeNet").startswith("Backprop on GoogLeNet,100.00,100.00,")


def test_table3_takes_the_test_split_only_where_it_has_labels(make_run, tmp_path):
    make_run("googlenet_gap", cls_right=4, loc_right=4)
    make_run("googlenet_gap", split="test", has_labels=False)
    _, _, table3 = csvs(tmp_path)
    assert ",val,,demo/googlenet_gap/eval/val-cam," in row(table3, "GoogLeNet-GAP")
    make_run("googlenet_gap", split="test")
    table1, _, table3 = csvs(tmp_path)
    assert ",test,,demo/googlenet_gap/eval/test-cam," in row(table3, "GoogLeNet-GAP")
    assert row(table1, "GoogLeNet-GAP").endswith("val-cam")


def test_the_newest_of_equal_runs_counts(make_run, tmp_path):
    make_run("nin", created="2025-03-01T00:00:00Z", folder="b")
    make_run("nin", cls_right=4, created="2025-02-01T00:00:00Z", folder="c")
    assert row(csvs(tmp_path)[0], "NIN").endswith("demo/nin/eval/b")


def test_other_images_under_the_same_name_never_meet_in_a_table(make_run, tmp_path, caplog):
    make_run("nin")
    make_run("vgg_gap")
    make_run("alexnet_gap", fingerprint="other", created="2026-01-01T00:00:00Z")
    table1, _, _ = csvs(tmp_path)
    assert row(table1, "AlexNet-GAP") == "AlexNet-GAP,,,51.10,26.30,,,,,,,,,,,"
    assert "demo/alexnet_gap/eval/val-cam is left out: it scored other images" in caplog.text


def test_data_sets_are_kept_apart(make_run, tmp_path):
    make_run("nin", cls_right=4)
    make_run("nin", view="ten")
    make_run("nin", data="other")
    runs = tmp_path / "runs"
    assert {name: len(found) for name, found in find_runs(runs).items()} == {"demo": 2, "other": 1}
    assert list(find_runs(runs, data="other")) == ["other"]
    assert row(csvs(tmp_path)[0], "NIN").startswith("NIN,0.00,")
    assert row(csvs(tmp_path, "other")[0], "NIN").startswith("NIN,100.00,")
    with pytest.raises(UserError, match=r"no scored runs of data=foo .* choose one of demo, other"):
        find_runs(runs, data="foo")


def test_a_run_that_cannot_be_scored_is_named_and_left_out(make_run, tmp_path, caplog):
    ids = [f"image{i:05d}" for i in range(4)]
    blacklist = Blacklist(images=4, ids=ids)
    make_run("vgg_gap", cls_right=4)
    make_run("nin", blacklist=blacklist)
    table1, _, _ = csvs(tmp_path)
    assert row(table1, "VGGnet-GAP").startswith("VGGnet-GAP,0.00,")
    assert row(table1, "NIN").startswith("NIN,,,")
    assert (
        "left out: demo/nin/eval/val-cam: no image to score: every image is blacklisted"
        in caplog.text
    )
    make_run("vgg_gap", cls_right=4, blacklist=blacklist)
    with pytest.raises(UserError, match=r"^no scored run can be shown \(2 left out\)$"):
        find_runs(tmp_path / "runs")


def test_a_broken_run_is_left_out_with_one_line(make_run, tmp_path, caplog):
    make_run("vgg_gap", cls_right=4)
    path = make_run("nin")
    edit_manifest(path, schema=99)
    (make_run("googlenet") / "predictions.parquet").write_bytes(b"PAR1")
    table1, _, _ = csvs(tmp_path)
    assert row(table1, "VGGnet-GAP").startswith("VGGnet-GAP,0.00,0.00,33.40,")
    assert row(table1, "NIN") == "NIN,,,41.90,19.60,,,,,,,,,,,"
    runs = tmp_path / "runs" / "demo"
    broken, damaged = sorted(caplog.messages, reverse=True)
    assert broken == (
        f"left out: {path / 'manifest.json'} has schema 99, this version reads 1 to 2: "
        "score the run again with cam-eval overwrite=true"
    )
    parquet = runs / "googlenet" / "eval" / "val-cam" / "predictions.parquet"
    assert damaged.startswith(f"left out: {parquet} is not as it was written")

    shutil.rmtree(runs / "vgg_gap")
    for data in (None, "demo"):
        with pytest.raises(UserError, match=r"no scored run under .* can be read"):
            find_runs(tmp_path / "runs", data)


def test_without_true_boxes_there_is_classification_only(make_run, tmp_path):
    make_run("nin", cls_right=1, has_boxes=False)
    table1, table2, _ = csvs(tmp_path)
    assert row(table1, "NIN").startswith("NIN,75.00,75.00,41.90,")
    assert row(table2, "NIN") == "NIN,,,65.47,54.19,,,,,,,,,,,"


@pytest.mark.parametrize("is_ilsvrc", [True, False])
def test_markdown_fits_the_terminal_and_says_whose_numbers_stand_there(
    make_run, tmp_path, is_ilsvrc
):
    for i, (model, right) in enumerate({"googlenet_gap": 0, "vgg_gap": 500, "nin": 1}.items()):
        make_run(model, n=600 + i, cls_right=right, loc_right=right, is_ilsvrc=is_ilsvrc)
    runs = find_runs(tmp_path / "runs")["demo"]
    tables = build_tables(runs, SOURCES["paper"])
    sheets = [*map(paper_sheet, tables), runs_sheet(runs)]
    text = markdown(sheets)
    assert max(map(len, text.splitlines())) <= 100
    assert ("not comparable with ours" in text.replace("\n", " ")) == (not is_ilsvrc)
    assert ("diff" in text) == is_ilsvrc
    assert "n = 600 to 602" in text.replace("\n", " ")
    names = ["table1.csv", "table2.csv", "table3.csv", "runs.csv", "tables.md"]
    assert write_sheets(sheets, tmp_path / "out") == names
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(names)
    for name, header in zip(names, HEADERS, strict=False):
        assert (tmp_path / "out" / name).read_text().startswith(f"{header},")
    assert (tmp_path / "out" / "tables.md").read_text() == text


def test_importing_the_tables_imports_neither_torch_nor_opencv():
    code = (
        "import sys, cam_repro.tables, cam_repro.metrics.scores, cam_repro.cli.tables\n"
        "import cam_repro.cli.score, cam_repro.geometry\n"
        "print([m for m in ('torch', 'torchvision', 'cv2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_boxes_of_a_run_are_held_against_the_true_ones_once(make_run, tmp_path, monkeypatch):
    make_run("nin", rules=["threshold", "heuristic", "dt_box"])
    make_run("nin", view="ten", rules=["dt_box"])
    asked = []

    def counted(table, rule):
        asked.append((table.manifest.view, rule))
        return scores.loc_outcomes(table, rule)

    monkeypatch.setattr("cam_repro.tables.build.loc_outcomes", counted)
    runs = find_runs(tmp_path / "runs")["demo"]
    tables = [build_tables(runs, source) for source in SOURCES.values()]
    assert [table[1].lines[5].n for table in tables] == [4, 4]  # NIN of Table 2
    assert len(runs_sheet(runs).rows) == 4
    own = [("squash", name) for name in ("threshold", "heuristic", "dt_box")]
    assert sorted(asked) == sorted([*own, ("ten", "dt_box")])
