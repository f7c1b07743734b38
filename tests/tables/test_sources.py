"""The rows of the tables by either source, alone and side by side."""

import pytest

from cam_repro.runs.manifest import Blacklist
from cam_repro.tables import (
    SOURCES,
    build_tables,
    find_runs,
    has_runs,
    markdown,
    paper_sheet,
    sources_sheet,
)

DT = ["dt_box", "dt_box_heuristic"]


@pytest.fixture
def tables(make_run, tmp_path):
    """Tables 1 to 3 of the runs written so far, by source."""

    def build():
        (runs,) = find_runs(tmp_path / "runs").values()
        return {name: build_tables(runs, source) for name, source in SOURCES.items()}

    return build


@pytest.fixture
def both(tables):
    """The sheets of Tables 1 to 3 side by side."""

    def build():
        found = tables()
        pairs = zip(found["paper"], found["authors"], strict=True)
        return [sources_sheet(paper, authors) for paper, authors in pairs]

    return build


def filled(table):
    """``row: run`` of the rows that some run fills."""
    return {line.row.name: line.run.name.removeprefix("demo/") for line in table.lines if line.run}


def test_each_source_takes_its_own_view_and_boxes(make_run, tables):
    make_run("googlenet_gap", rules=["threshold", "heuristic", *DT])
    make_run("googlenet_gap", view="ten", rules=["threshold", "heuristic", *DT])
    make_run("vgg", "backprop", view="ten", rules=["dt_box"])
    make_run("nin", rules=DT)
    make_run("nin", view="ten")
    make_run("alexnet_gap", view="center")
    paper, authors = tables().values()
    assert filled(paper[0]) == {
        "GoogLeNet-GAP": "googlenet_gap/eval/val-cam",
        "NIN": "nin/eval/val-cam",
    }
    assert filled(paper[1]) == {"GoogLeNet-GAP": "googlenet_gap/eval/val-cam"}
    assert filled(paper[2]) == {
        "GoogLeNet-GAP (heuristics)": "googlenet_gap/eval/val-cam",
        "GoogLeNet-GAP": "googlenet_gap/eval/val-cam",
    }
    assert filled(authors[0]) == {
        "GoogLeNet-GAP": "googlenet_gap/eval/val-cam-ten",
        "NIN": "nin/eval/val-cam-ten",
        "VGGnet": "vgg/eval/val-backprop-ten",
    }
    assert filled(authors[1]) == {
        "GoogLeNet-GAP": "googlenet_gap/eval/val-cam-ten",
        "Backprop on VGGnet": "vgg/eval/val-backprop-ten",
    }
    assert filled(authors[2]) == {
        "GoogLeNet-GAP (heuristics)": "googlenet_gap/eval/val-cam-ten",
        "GoogLeNet-GAP": "googlenet_gap/eval/val-cam-ten",
        "Backprop": "vgg/eval/val-backprop-ten",
    }
    assert paper_sheet(paper[1]).stem == "table2"
    assert paper_sheet(authors[1]).stem == "table2_authors"
    assert "Box rule: `threshold`." in paper_sheet(paper[1]).text
    assert "Box rule: `dt_box`." in paper_sheet(authors[1]).text


def test_the_authors_rows_want_caffes_network_and_say_where_another_stands_in(make_run, tables):
    # torchvision's is the newer run; Backprop on Caffe's before CAM on torchvision's in Table 1
    for view, rules in (("squash", ["threshold"]), ("ten", DT)):
        common = {"view": view, "rules": rules}
        make_run("googlenet", **common, cls_right=4, created="2026-01-01T00:00:00Z")
        make_run("googlenet_caffe", "backprop", **common)
        make_run("nin", **common)
        make_run("nin_caffe", **common)
    paper, authors = tables().values()
    assert filled(paper[0]) == {
        "GoogLeNet": "googlenet/eval/val-cam",
        "NIN": "nin/eval/val-cam",
    }
    assert filled(authors[0]) == {
        "GoogLeNet": "googlenet_caffe/eval/val-backprop-ten",
        "NIN": "nin_caffe/eval/val-cam-ten",
    }
    assert filled(authors[1]) == {
        "GoogLeNet": "googlenet/eval/val-cam-ten",
        "NIN": "nin_caffe/eval/val-cam-ten",
        "Backprop on GoogLeNet": "googlenet_caffe/eval/val-backprop-ten",
    }
    settings = {line.row.name: line.settings for line in authors[1].lines if line.run}
    assert settings == {
        "GoogLeNet": ("model.variant=torchvision",),
        "NIN": (),
        "Backprop on GoogLeNet": (),
    }
    sheet = paper_sheet(authors[1])
    assert "| GoogLeNet [1]         |" in sheet.text
    assert sheet.text.endswith("|\n\n[1] model.variant=torchvision\n")
    (csv_row,) = [row for row in sheet.rows if row[0] == "GoogLeNet"]
    assert csv_row[-2:] == ["model.variant=torchvision", "demo/googlenet/eval/val-cam-ten"]
    assert "[1]" not in paper_sheet(paper[1]).text


def test_has_runs(make_run, tmp_path):
    def there():
        (runs,) = find_runs(tmp_path / "runs").values()
        return [name for name, source in SOURCES.items() if has_runs(source, runs)]

    make_run("nin", view="ten")
    make_run("nin", rules=["dt_box", "whole_image"])
    assert there() == []
    make_run("vgg", view="ten", rules=["dt_box_heuristic"])
    assert there() == ["authors"]
    make_run("vgg")
    assert there() == ["paper", "authors"]


def test_literally_side_by_side(make_run, both):
    # n = 4, so that an image is 25 points
    make_run("googlenet_gap", cls_right=4, loc_right=1)
    make_run("googlenet_gap_caffe", view="ten", cls_right=3, loc_right=2, rules=DT)
    make_run("nin", cls_right=2, loc_right=2)
    make_run("vgg", "backprop", view="ten", cls_right=4, loc_right=4, rules=["dt_box"])
    table1, table2, table3 = both()
    assert [sheet.stem for sheet in both()] == [
        *("table1_sources", "table2_sources", "table3_sources")
    ]
    assert table2.csv_text.splitlines()[:3] == [
        "Method,error,published (ILSVRC val),paper,authors,authors - paper,paper n,authors n,data,"
        "paper split,authors split,paper settings,authors settings,paper run,authors run,"
        "paper 95% low,paper 95% high,authors 95% low,authors 95% high,difference 95% low,"
        "difference 95% high",
        "GoogLeNet-GAP,top-1,56.40,75.00,50.00,-25.00,4,4,demo,val,val,,,"
        "demo/googlenet_gap/eval/val-cam,demo/googlenet_gap_caffe/eval/val-cam-ten,"
        "25.00,100.00,0.00,100.00,-75.00,0.00",
        "GoogLeNet-GAP,top-5,43.00,75.00,50.00,-25.00,4,4,demo,val,val,,,"
        "demo/googlenet_gap/eval/val-cam,demo/googlenet_gap_caffe/eval/val-cam-ten,"
        "25.00,100.00,0.00,100.00,-75.00,0.00",
    ]
    assert table1.rows[2][:6] == ["GoogLeNet-GAP", "top-1", "35.00", "0.00", "25.00", "+25.00"]
    assert (
        table3.text
        == """\
**Table 3. Localization error, weak and full supervision, by the paper and by the authors' code
(%)**: data set demo; paper: split val, view squash, box rules `threshold` and `heuristic`, n = 4;
authors: split val, view ten, box rules `dt_box` and `dt_box_heuristic`, n = 4; authors - paper in
points. Below: 95 % bootstrap intervals over images, of the errors by their farther end, of the
difference over the images of both. The paper's numbers are of another data set, ILSVRC test: not
comparable with ours.

| Method                     | error | published: ILSVRC | paper | authors | authors - paper |
| -------------------------- | ----- | ----------------: | ----: | ------: | --------------: |
| GoogLeNet-GAP (heuristics) | top-5 |             37.10 | 75.00 |   50.00 |          -25.00 |
|                            |       |                   | ±50.0 |   ±50.0 |   -75.0 to +0.0 |
| GoogLeNet-GAP              | top-5 |             42.90 | 75.00 |   50.00 |          -25.00 |
|                            |       |                   | ±50.0 |   ±50.0 |   -75.0 to +0.0 |
| Backprop [1]               | top-5 |             46.40 |       |    0.00 |                 |
|                            |       |                   |       |    ±0.0 |                 |

[1] authors: model.variant=torchvision
"""
    )


def test_on_ilsvrc_side_by_side(make_run, both):
    make_run("nin", n=1000, cls_right=581, loc_right=346, is_ilsvrc=True)
    caffe = {"view": "ten", "rules": DT, "n": 1000, "is_ilsvrc": True}
    make_run("nin_caffe", **caffe, cls_right=600, loc_right=400)
    table2 = both()[1]
    assert "| NIN                   | top-1 |     65.47 | 65.40 |   60.00 |           -5.40 |" in (
        table2.text
    )
    assert " ".join(table2.text.split("\n\n")[0].split()) == (
        "**Table 2. Localization error, by the paper and by the authors' code (%)**: "
        "data set demo; paper: split val, view squash, box rule `threshold`, n = 1000; "
        "authors: split val, view ten, box rule `dt_box`, n = 1000; "
        "authors - paper in points. Below: 95 % bootstrap intervals over images, of the errors by "
        "their farther end, of the difference over the images of both. The paper's numbers are of "
        "ILSVRC val."
    )


def test_a_difference_that_cannot_be_paired_has_no_interval(make_run, both, caplog):
    blacklist = {"blacklist": Blacklist(images=1, ids=["image00000"])}
    make_run("nin")
    make_run("nin_caffe", view="ten", rules=DT, **blacklist)
    (row,) = [row for row in both()[1].rows if row[:2] == ["NIN", "top-1"]]
    assert row[3:6] == ["100.00", "100.00", "+0.00"]
    assert row[-2:] == ["", ""]
    assert (
        "no interval of a difference: demo/nin/eval/val-cam and demo/nin_caffe/eval/val-cam-ten "
        "differ in the blacklist of 1 of 4 images (the first: image00000)"
    ) in caplog.text


def test_different_splits_are_not_subtracted(make_run, both):
    make_run("googlenet_gap", split="test")
    make_run("googlenet_gap_caffe", view="ten", rules=DT)
    table3 = both()[2]
    heuristics = ["GoogLeNet-GAP (heuristics)", "top-5", "37.10", "100.00", "100.00", ""]
    assert table3.rows[0][:6] == heuristics
    assert table3.rows[0][9:11] == ["test", "val"]


def test_all_of_it_fits_the_terminal(make_run, tables, both):
    boxes = {"heuristic": {"loose": 0.15, "tight": 0.45}}
    boxes |= {name: {"thresholds": [30, 90, 150], "jpeg_quality": None} for name in DT}
    for view, rules in (("squash", ["threshold", "heuristic"]), ("ten", DT)):
        config = {"box": boxes}
        make_run("googlenet_gap", view=view, rules=rules, n=600, config=config)
    paper, authors = tables().values()
    every = markdown([*map(paper_sheet, [*paper, *authors]), *both()])
    assert max(map(len, every.splitlines())) <= 100
    assert every.endswith("""
[1] paper: box.heuristic.loose=0.15, box.heuristic.tight=0.45, authors: model.variant=torchvision,
box.dt_box_heuristic.thresholds=[30,90,150], box.dt_box_heuristic.jpeg_quality=null; [2] authors:
model.variant=torchvision, box.dt_box.thresholds=[30,90,150], box.dt_box.jpeg_quality=null
""")
