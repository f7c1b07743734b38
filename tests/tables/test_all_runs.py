"""The table of every scored run."""

from cam_repro.tables import find_runs, runs_sheet


def sheet(tmp_path):
    (runs,) = find_runs(tmp_path / "runs").values()
    return runs_sheet(runs)


def test_every_run_and_rule_has_its_line(make_run, tmp_path):
    rules = {"threshold": {"threshold": 0.15}, "heuristic": {"loose": 0.2}}
    config = {"box": rules}
    make_run("squeezenet", "gradcam", cls_right=3, loc_right=1, config=config)
    make_run("squeezenet", view="ten", cls_right=4, loc_right=2, rules=["dt_box"])
    make_run("vgg", "backprop", cls_right=4, n=3, loc_right=3, rules=["whole_image"])
    found = sheet(tmp_path)
    assert found.stem == "runs"
    assert (
        found.csv_text
        == """\
network,maps,view,split,box,settings,cls top-1,cls top-5,loc top-1,loc top-5,GT-known,n,data,run,\
cls top-1 95% low,cls top-1 95% high,cls top-5 95% low,cls top-5 95% high,loc top-1 95% low,\
loc top-1 95% high,loc top-5 95% low,loc top-5 95% high,GT-known 95% low,GT-known 95% high,\
thresholds,GT-known oracle,GT-known oracle 95% low,GT-known oracle 95% high
squeezenet,cam,ten,val,dt_box,,0.00,0.00,50.00,50.00,50.00,4,demo,demo/squeezenet/eval/val-cam-ten,\
0.00,0.00,0.00,0.00,0.00,100.00,0.00,100.00,0.00,100.00,fixed,,,
squeezenet,gradcam,squash,val,threshold,box.threshold.threshold=0.15,25.00,25.00,75.00,75.00,75.00,4,demo,\
demo/squeezenet/eval/val-gradcam,0.00,75.00,0.00,75.00,25.00,100.00,25.00,100.00,25.00,100.00,fixed,,,
squeezenet,gradcam,squash,val,heuristic,,25.00,25.00,75.00,75.00,75.00,4,demo,\
demo/squeezenet/eval/val-gradcam,0.00,75.00,0.00,75.00,25.00,100.00,25.00,100.00,25.00,100.00,fixed,,,
vgg,backprop,squash,val,whole_image,,0.00,0.00,0.00,0.00,0.00,3,demo,demo/vgg/eval/val-backprop,\
0.00,0.00,0.00,0.00,0.00,0.00,0.00,0.00,0.00,0.00,fixed,,,
"""
    )
    assert (
        found.text
        == """\
**All runs**: data set demo, split val, n = 3 to 4 (each row's is in the CSV). Errors in %:
classification (cls) and localization (loc), top-1/top-5, and localization with the true class given
(GT-known). ±: the farther end of the 95 % bootstrap interval over images; both ends are in the CSV.
Thresholds are fixed: IoU 0.5, and those of the settings.

| network    | maps     | view   | box           |        cls |        loc |    GT |
| ---------- | -------- | ------ | ------------- | ---------: | ---------: | ----: |
| squeezenet | cam      | ten    | dt_box        |    0.0/0.0 |  50.0/50.0 |  50.0 |
|            |          |        |               |   ±0.0/0.0 | ±50.0/50.0 | ±50.0 |
| squeezenet | gradcam  | squash | threshold [1] |  25.0/25.0 |  75.0/75.0 |  75.0 |
|            |          |        |               | ±50.0/50.0 | ±50.0/50.0 | ±50.0 |
| squeezenet | gradcam  | squash | heuristic     |  25.0/25.0 |  75.0/75.0 |  75.0 |
|            |          |        |               | ±50.0/50.0 | ±50.0/50.0 | ±50.0 |
| vgg        | backprop | squash | whole_image   |    0.0/0.0 |    0.0/0.0 |   0.0 |
|            |          |        |               |   ±0.0/0.0 |   ±0.0/0.0 |  ±0.0 |

[1] box.threshold.threshold=0.15
"""
    )


def test_what_a_run_cannot_know_is_empty(make_run, tmp_path):
    make_run("nin", cls_right=1, rules=["threshold"], has_boxes=False)
    boxes = {"rules": ["center"], "split": "train", "cls_right": 4, "loc_right": 3}
    make_run("none", "none", view="none", folder="train", classifies=False, **boxes)
    make_run("nin", split="test", has_labels=False)
    found = sheet(tmp_path)
    assert [row[:2] + row[3:5] + row[6:11] for row in found.rows] == [
        ["nin", "cam", "val", "threshold", "75.00", "75.00", "", "", ""],
        ["none", "none", "train", "center", "", "", "", "", "25.00"],
    ]
    assert [line[:54] for line in found.text.splitlines() if line.startswith("**")] == [
        "**All runs**: data set demo, split train, n = 4. Error",
        "**All runs**: data set demo, split val, n = 4. Errors ",
    ]
    assert "| none    | none | none | center |     |     |  25.0 |" in found.text
    assert "|         |      |      |        |     |     | ±50.0 |" in found.text
    assert "| nin     | cam  | squash | threshold |  75.0/75.0 |     |    |" in found.text


def test_the_oracle_takes_one_threshold_for_all_images(make_run, tmp_path):
    # Each image is right somewhere, but no threshold is right for more than three of the four.
    right_at = [[20, 40, 41], [40], [41, 99], [0, 40]]
    make_run("nin", cls_right=4, loc_right=2, right_at=right_at)
    found = sheet(tmp_path)
    column = found.header.index("GT-known oracle")
    assert [row[4:5] + row[10:11] + row[column : column + 3] for row in found.rows] == [
        ["threshold", "50.00", "25.00", "0.00", "75.00"],
        ["heuristic", "50.00", "", "", ""],
    ]
    assert "| threshold |  0.0/0.0 |  50.0/50.0 |  50.0/25.0 |" in found.text
    assert "|           | ±0.0/0.0 | ±50.0/50.0 | ±50.0/50.0 |" in found.text
    assert "| heuristic |  0.0/0.0 |  50.0/50.0 |       50.0 |" in found.text
    assert "Behind the slash of GT: the error at the one threshold" in found.text


def test_the_longest_names_fit_the_terminal(make_run, tmp_path):
    boxes = {"dt_box_heuristic": {"thresholds": [30, 90, 150], "jpeg_quality": None}}
    changes = {"rules": ["dt_box_heuristic", "whole_image"], "config": {"box": boxes}}
    make_run("alexnet_star_gap_caffe", "backprop", n=600, **changes)
    lines = sheet(tmp_path).text.splitlines()
    assert any(line.startswith("| alexnet_star_gap_caffe | backprop | squash |") for line in lines)
    assert max(map(len, lines)) <= 100


def test_without_any_label_there_is_nothing_to_list(make_run, tmp_path):
    make_run("nin", split="test", has_labels=False)
    found = sheet(tmp_path)
    assert (found.rows, found.text) == ([], "")
