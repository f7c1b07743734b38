"""The section of later protocols: what cam-score kept with the runs, beside what was published."""

from cam_repro.runs.scores import write_scores

V2 = {
    "mean": 61.5,
    "thresholds_are": {"mean": "oracle", "chosen": "chosen on imagenetv2 val (runs/x)"},
    "chosen": {"mean": 60.25},
}
PXAP = {"pxap": 50.5, "pxap_95": [48.0, 52.25], "thresholds_are": {}}


def test_kept_scores_stand_beside_published_ones(make_run, write_report):
    folder = make_run("vgg16_cam", cls_right=3, loc_right=2, data="ilsvrc", split="val")
    write_scores(folder, "max_box_acc_v2", V2)
    write_scores(folder, "pxap", PXAP)
    page = write_report(data="ilsvrc")
    head, *rows = page.tables["by-protocol"]
    columns = ["number", "run", "accuracy, 95 %", "threshold", "images", "published"]
    assert head == columns
    of = {(row[0], row[3].split()[0]): row for row in rows}
    label, images = of["PxAP", "all"][1], of["PxAP", "all"][4]
    assert of["MaxBoxAccV2", "oracle"] == [
        *("MaxBoxAccV2", label, "61.50", "oracle", images, "60.0 VGG16, Choe et al., CVPR 2020")
    ]
    chosen = ("60.25", "chosen on imagenetv2 val (runs/x)", images, "–")
    assert of["MaxBoxAccV2", "chosen"] == ["MaxBoxAccV2", label, *chosen]
    assert of["PxAP", "all"][2:] == ["50.50 48.0–52.2", "all", images, "–"]
    assert of["top-1 localization", "fixed"][2].startswith("50.00 ")
    assert {row[1] for row in rows} == {label}


def test_without_kept_scores_the_page_says_how_to_get_some(make_run, write_report):
    make_run("nin")
    page = write_report()
    assert "by-protocol" not in page.tables
    assert "No run has kept scores of these: cam-score submission=RUN keep=true" in page.flat


def test_runs_with_the_same_lowest_error_are_counted(make_run, write_report):
    for name in ("one", "two", "three"):
        make_run("nin", cls_right=3, loc_right=2, folder=name)
    page = write_report()
    # One guess is the run's, whatever its box rules; there are as many boxes as rules and runs.
    tiles = page.flat.partition("Overview The lowest")[2].partition("The paper’s tables")[0]
    said = [part.partition(" more")[0] for part in tiles.split("; ")[1:] if " more with" in part]
    assert said == ["5", "5", "2"]
