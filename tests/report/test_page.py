import re
from collections import Counter

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from run_builder import make_manifest

from cam_repro.figures import style
from cam_repro.metrics.intervals import Number
from cam_repro.report.page import difference, ends, signed
from cam_repro.runs.examples import Example, small_jpeg, write_examples
from cam_repro.runs.manifest import write_manifest
from cam_repro.runs.predictions import to_arrow, write_predictions
from cam_repro.types import Prediction, RuleGuesses

EVIL = """<script>alert('x')</script>"""
QUOTED = """it's "quoted" & <b>"""


def rows(page, table):
    """The rows of a table by the text of their first cell."""
    return {row[0]: row[1:] for row in page.tables[table]}


# --- the tables ----------------------------------------------------------------------------------


def test_our_numbers_stand_beside_the_papers(make_run, write_report):
    make_run("nin", cls_right=3, loc_right=2)
    page = write_report()
    table1, table2 = rows(page, "table1-paper"), rows(page, "table2-paper")
    assert table1["NIN"] == ["25.00 0.0–75.0", "41.90", "25.00 0.0–75.0", "19.60", "4"]
    assert table1["VGGnet-GAP"] == ["no run", "33.40", "no run", "12.20", ""]
    assert table2["NIN"] == ["50.00 0.0–100.0", "65.47", "50.00 0.0–100.0", "54.19", "4"]
    assert (
        "1 of the 9 rows that can be run have a run; cam-reproduce makes the others." in page.flat
    )
    assert "ILSVRC val: not comparable with ours , so there is no difference" in page.flat
    assert "table3-paper" not in page.tables
    assert "No run fills a row of this table" in page.flat


def test_on_ilsvrc_there_is_a_difference_with_its_interval(make_run, write_report):
    make_run("nin", data="ilsvrc", is_ilsvrc=True, n=200, cls_right=120)
    page = write_report(data="ilsvrc")
    top1 = ["40.00 33.5–47.0", "41.90", "−1.90 −8.4 to +5.1"]
    assert rows(page, "table1-paper")["NIN"][:3] == top1
    assert rows(page, "table1-paper")["VGGnet"] == [
        "no run",
        "31.20",
        "",
        "no run",
        "11.40",
        "",
        "",
    ]
    assert "not comparable" not in page.flat


def test_citations_are_called_so(make_run, write_report):
    make_run("googlenet_gap", cls_right=1, loc_right=1)
    table3 = rows(write_report(), "table3-paper")
    assert table3["GoogLeNet-GAP"] == ["weakly", "75.00 25.0–100.0", "42.90", "4"]
    assert table3["OverFeat"] == ["full", "cited", "29.90", ""]


def test_each_source_has_its_tables_unless_one_is_chosen(make_run, write_report):
    make_run("nin", cls_right=2)
    make_run("nin", cls_right=2, view="ten", rules=["dt_box"])
    of = {str(table).split("-")[-1] for table in write_report().tables if "table" in str(table)}
    assert of == {"paper", "authors"}
    page = write_report("source=authors")
    assert "table1-authors" in page.tables
    assert "table1-paper" not in page.tables


def test_all_runs_have_a_line_for_each_box_rule(make_run, write_report):
    make_run("nin", cls_right=4, loc_right=3)
    make_run("vgg", "backprop", cls_right=2, rules=["threshold"])
    assert write_report().tables["runs"][1:] == [
        ["nin, cam", rule, *["0.0 none of 4"] * 2, *["25.0 0.0–75.0"] * 3, "4"]
        for rule in ("threshold", "heuristic")
    ] + [
        ["vgg, backprop", "threshold", *["50.0 0.0–100.0"] * 2, *["100.0 all of 4"] * 3, "4"],
    ]


# --- where it fails ------------------------------------------------------------------------------


def test_errors_by_size_number_and_class(make_run, write_report):
    make_run("nin", cls_right=1, loc_right=3, class_names=["cat", "dog", "hen", "d", "e", "f"])
    page = write_report()
    by_size, by_number, by_class, cls_by_class = (page.tables[i] for i in range(4))
    assert by_size == [
        ["run", "0–5 %", "5–10 %", "10–20 %", "20–40 %", "40–60 %", "60–80 %", "80–100 %"],
        ["images", "0", "0", "0", "4", "0", "0", "0"],
        ["nin, cam", "–", "–", "–", "25.0 0–75", "–", "–", "–"],
    ]
    assert by_number[2] == ["nin, cam", "25.0 0–75", "–", "–", "–", "–"]
    assert by_class == [["class", "images", "nin cam"], ["cat", "4", "25.0 0–75"]]
    assert cls_by_class[1] == ["cat", "4", "75.0 25–100"]


def test_each_split_has_its_own_errors_and_number_of_images(make_run, write_report):
    make_run("nin", split="train", n=6, cls_right=6, loc_right=6)
    make_run("nin", n=4, cls_right=2, loc_right=1)
    make_run("vgg", n=4, cls_right=1)
    page = write_report()
    assert "split train: 6 images · split val: 4 images · 3 runs" in page.flat
    train, val = page.flat.split("Split train")[1].split("Split val")[:2]
    assert "Localization, five guesses 0.0 % 95 % interval none of 6; n = 6" in train
    assert "Localization, five guesses 75.0 %" in val
    assert [page.tables[i][2][0] for i in (0, 2)] == ["nin, cam, train", "nin, cam, val"]
    grids = [page.tables[i] for i in range(4, 8)]
    assert [grid[1][:2] for grid in grids] == [["class 0", n] for n in ("6", "6", "4", "4")]
    assert [len(grid[0]) for grid in grids] == [3, 3, 4, 4]
    assert "By size of the object, split val" in page.flat
    assert "By class: top-1 classification error, split train" in page.flat


def write_many_classes(runs, n_classes=50):
    """Two images of each class; of class i the first i images of all are localized right."""
    manifest = make_manifest(model="nin", n_classes=n_classes, n=2 * n_classes, rules=["threshold"])
    predictions = []
    for index in range(2 * n_classes):
        label = index // 2
        box = (0, 0, 9, 9) if label >= 20 else (10, 10, 19, 19)
        predictions.append(
            Prediction(
                id=f"{index:05d}",
                width=20,
                height=20,
                label=label,
                true_boxes_M4=np.array([(0, 0, 9, 9)], np.int32),
                classes=[label],
                probabilities=[1.0],
                rules={"threshold": RuleGuesses([(label, box)], box)},
            )
        )
    folder = runs / "demo" / "nin" / "eval" / "val-cam"
    write_predictions(folder, to_arrow(predictions, ["threshold"]), manifest)
    write_manifest(folder, manifest)


def test_of_many_classes_the_worst_and_best_are_shown_and_all_in_a_closed_list(
    write_report, tmp_path
):
    write_many_classes(tmp_path / "runs")
    page = write_report()
    worst, best, every = (page.tables[i] for i in (2, 3, 4))
    assert worst[1:] == [[f"class {i}", "2", "100.0 all of 2"] for i in range(10)]
    assert best[1:] == [[f"class {i}", "2", "0.0 none of 2"] for i in range(49, 39, -1)]
    assert len(every) == 51
    assert "All 50 classes" in page.flat
    assert not any("open" in details for details in page.all("details", **{"class": "long"}))


# --- what is not there ---------------------------------------------------------------------------


def test_without_labels_there_are_no_errors_and_the_page_says_so(make_run, write_report):
    make_run("nin", split="test", has_labels=False)
    page = write_report()
    assert "No run has labels to score against" in page.flat
    assert "Without labels, and so without errors: nin, cam ." in page.flat
    assert "runs" not in page.tables
    assert "no localization error to take apart" in page.flat


def test_without_true_boxes_there_are_errors_of_classes_alone(make_run, write_report):
    make_run("nin", cls_right=3, has_boxes=False)
    page = write_report()
    assert page.tables["runs"][1][2:] == [*["25.0 0.0–75.0"] * 2, "–", "–", "–", "4"]
    assert "no localization error to take apart" in page.flat


def test_what_runs_did_not_keep_is_said_with_how_to_get_it(make_run, write_report):
    make_run("nin")
    text = write_report().flat
    assert "No run kept what the curve is made of: cam-eval with save_maps=true" in text
    assert "No run has kept examples to show: cam-eval keeps some" in text
    assert "No training run of this data set is among the runs" in text


# --- the page itself -----------------------------------------------------------------------------


def test_all_that_comes_from_files_is_escaped(write_report, tmp_path):
    manifest = make_manifest(
        model=QUOTED, n=1, n_classes=2, rules=[EVIL], class_names=[EVIL, QUOTED], layout=EVIL
    )
    prediction = Prediction(
        id=QUOTED,
        width=20,
        height=20,
        label=0,
        true_boxes_M4=np.array([(0, 0, 9, 9)], np.int32),
        classes=[0, 1],
        probabilities=[0.9, 0.1],
        rules={EVIL: RuleGuesses([(0, (0, 0, 9, 9))], (0, 0, 9, 9))},
    )
    folder = tmp_path / "runs" / "demo" / "m" / "eval" / "val"
    # A box rule names files, and this one cannot: the manifest of a copy may say anything.
    plain = RuleGuesses(prediction.rules[EVIL].guesses, (0, 0, 9, 9))
    named = Prediction(**{**vars(prediction), "rules": {"a": plain}})
    write_predictions(folder, to_arrow([named], ["a"]), make_manifest(n=1, rules=["a"]))

    pq.write_table(to_arrow([prediction], [EVIL]), folder / "predictions.parquet")
    write_manifest(folder, manifest)
    example = Example(
        id=QUOTED,
        index=0,
        width=20,
        height=20,
        jpeg=small_jpeg(Image.new("RGB", (20, 20))),
        why=("best",),
        classes=(0, 1),
        names=(EVIL, QUOTED),
        probabilities=(0.9, 0.1),
        maps_Rhw=np.ones((2, 2, 2), np.float32),
    )
    write_examples(folder, [example])
    page = write_report()
    assert len(page.all("script")) == 1  # ours
    assert not page.all("b", **{})[0].keys() - {"class"}
    assert "alert('x')</script>" not in page.text
    (picture,) = [found for found in page.all("svg") if "Image" in found["aria-label"]]
    assert (
        picture["aria-label"]
        == f"Image {QUOTED}: map of {EVIL}, 1 true boxes, IoU of the guess 1.00"
    )
    assert f"{QUOTED}, cam" in page.tables["runs"][1]
    assert EVIL in page.tables["runs"][1]


def test_the_page_asks_nothing_of_the_network(make_run, write_report):
    make_run("nin", cls_right=2)
    page = write_report()
    places = [found[key] for _, found in page.tags for key in ("href", "src") if key in found]
    assert places
    assert all(place.startswith(("#", "data:")) for place in places)
    addresses = set(re.findall(r"https?://[^\"' )]+", page.text))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert "@import" not in page.text
    (policy,) = page.all("meta", **{"http-equiv": "Content-Security-Policy"})
    assert policy["content"].startswith("default-src 'none'")


def test_the_page_has_the_colours_of_the_figures(make_run, write_report):
    make_run("nin")
    text = write_report().text
    assert ".ours-key::before { border-color: #0072B2; }" in text
    assert ".gt_known-key::before { border-color: #009E73; }" in text
    assert f".picture .guess {{ stroke: {style.GUESSED};" in text
    assert "#57575766, #781c6d, #ed6925, #fcffa4)" in text


def test_every_link_leads_somewhere_and_no_id_comes_twice(make_run, write_report):
    make_run("nin", cls_right=2, loc_right=1)
    make_run("vgg", "backprop")
    page = write_report()
    ids = Counter(found["id"] for _, found in page.tags if "id" in found)
    assert set(ids.values()) == {1}
    links = {found["href"][1:] for found in page.all("a")}
    assert links
    assert links <= ids.keys()
    used = set(re.findall(r"url\(#([^)]+)\)", page.text))
    used |= {found["href"][1:] for found in page.all("use")}
    assert used
    assert used <= ids.keys()


def test_every_number_leads_to_command_revision_hardware_and_seconds(make_run, write_report):
    make_run("nin", cls_right=2)
    page = write_report()
    (run,) = page.all("details", **{"class": "run"})
    assert run["id"] == "run-1"
    for text in (
        *("command cam-eval", "revision unknown (installed package)"),
        *("hardware a CPU, fp32, 1 process", "seconds 0.5 (8.0 images a second)"),
        "scored 2025-01-01T00:00:00+00:00",
    ):
        assert text in page.flat


def test_runs_of_one_name_are_told_apart(make_run, write_report):
    make_run("nin", folder="a")
    make_run("nin", folder="b")
    names = [row[0] for row in write_report().tables["runs"][1:]]
    assert names[::2] == ["nin, cam (demo/nin/eval/a)", "nin, cam (demo/nin/eval/b)"]


# --- how numbers are written ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (Number(46.2, 41.84, 50.61, 500), "41.8–50.6"),
        (Number(0.0, 0.0, 0.0, 1200), "none of 1,200"),
        (Number(100.0, 100.0, 100.0, 3), "all of 3"),
    ],
)
def test_intervals(number, text):
    assert ends(number) == text


def test_differences():
    assert signed(-1.204) == "−1.20"
    assert signed(0.35) == "+0.35"
    assert difference(Number(40.0, 38.04, 42.0, 9), 41.9) == "−3.9 to +0.1"
