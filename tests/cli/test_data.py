import json
from pathlib import Path

import pytest

from cam_repro.data.synthetic import CLASSES

WORDS = ["data=ilsvrc", "data.workers=0"]


def test_check_counts_what_is_there(command, make_tree, tmp_path):
    make_tree(tmp_path / "tree", classes=4, train=3, val=2, test=5)
    done = command("data", "check", *WORDS, "data.root=tree", "output=report.json")
    assert (done.status, done.errors) == (0, []), done.err
    report = json.loads((tmp_path / "report.json").read_text())
    counts = ("images", "classes", "boxes", "images_without_boxes", "unreadable", "boxes_outside")
    assert {split: [report[split][key] for key in counts] for split in report} == {
        "train": [12, 4, 12, 0, [], []],
        "val": [8, 4, 8, 0, [], []],
        "test": [5, 0, 0, 5, [], []],
    }
    assert report["train"]["images_per_class"] == [3, 3]
    assert "train  12 images, 4 classes (3 to 3 images each), 12 boxes" in done.err


def test_check_names_faults_and_fails(command, make_tree, tmp_path):
    inner = make_tree(tmp_path / "tree") / "ILSVRC"
    images = sorted((inner / "Data" / "CLS-LOC" / "val").iterdir())
    images[0].write_bytes(images[0].read_bytes()[:300])
    xml = inner / "Annotations" / "CLS-LOC" / "val" / f"{images[1].stem}.xml"
    assert "<xmax>18</xmax>" in xml.read_text()
    xml.write_text(xml.read_text().replace("<xmax>18</xmax>", "<xmax>32</xmax>"))  # of 0 to 31
    done = command("data", "check", *WORDS, "data.root=tree", "output=report.json")
    assert done.status == 1
    assert done.errors == [
        "error: 2 faults in the data set, named above; mend or remove those files"
    ]
    report = json.loads((tmp_path / "report.json").read_text())
    assert len(report["val"]["unreadable"]) == len(report["val"]["boxes_outside"]) == 1
    assert images[0].name in report["val"]["unreadable"][0]
    assert images[1].name in report["val"]["boxes_outside"][0]
    assert images[0].name in done.err
    assert report["train"]["unreadable"] == report["test"]["unreadable"] == []

    # Without decoding neither can be seen.
    done = command("data", "check", *WORDS, "data.root=tree", "decode=false")
    assert done.status == 0


def test_a_tree_without_training_images_can_still_be_scored(command, make_tree, tmp_path):
    inner = make_tree(tmp_path / "tree") / "ILSVRC"
    (inner / "Data" / "CLS-LOC" / "train").rename(tmp_path / "away")
    done = command("data", "check", *WORDS, "data.root=tree", "output=report.json")
    assert done.status == 0, done.err
    report = json.loads((tmp_path / "report.json").read_text())
    assert "missing" in report["train"]
    assert report["val"]["images"] == 6


@pytest.mark.parametrize("action", [["make"], ["check"]])
def test_the_built_in_set_is_made_once_in_the_cache(command, tmp_path, monkeypatch, action):
    monkeypatch.setenv("CAM_REPRO_CACHE", str(tmp_path / "cache"))
    words = [*action, "data=demo", "data.n_train=24", "data.n_val=12"]
    done = command("data", *words)
    assert done.status == 0, done.err
    images = list((tmp_path / "cache").rglob("*.JPEG"))
    assert len([path for path in images if "train" in path.parts]) == 24
    assert len([path for path in images if "val" in path.parts]) == 12
    (mapping,) = (tmp_path / "cache").rglob("LOC_synset_mapping.txt")
    assert len(mapping.read_text().splitlines()) == len(CLASSES)
    if action == ["make"]:
        assert f"data set demo is in {mapping.parent}" in done.err
    before = {path: Path(path).stat().st_mtime_ns for path in images}
    assert command("data", *words).status == 0
    assert {path: Path(path).stat().st_mtime_ns for path in images} == before
