"""``cam-data``: the built-in set, what check says and with which status, archives to a tree."""

import gzip
import io
import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from cam_repro.classes import ilsvrc_classes
from cam_repro.data.demo.draw import CLASSES

CHECK = ["check", "data=ilsvrc", "data.root=tree"]
IMAGES = "ILSVRC/Data/CLS-LOC"
ANNOTATIONS = "ILSVRC/Annotations/CLS-LOC"


def said(done):
    """What the command said, without the date and time of warnings."""
    return done.err.splitlines()


# --- check ---------------------------------------------------------------------------------------


def test_what_check_says_of_a_good_tree(command, make_tree, tmp_path):
    tree = make_tree(tmp_path / "tree", classes=4, train=3, val=2, test=5)
    for number, path in enumerate(sorted(tree.rglob("*.JPEG"))):
        Image.new("RGB", (32, 24), (9 * number, 0, 0)).save(path)
    done = command("data", *CHECK, "output=report.json")
    assert (done.status, done.errors) == (0, []), done.err
    report = json.loads((tmp_path / "report.json").read_text())
    versions = {s: report["splits"][s]["annotation_version"] for s in ("train", "val")}
    assert {len(version) for version in versions.values()} == {64}
    assert said(done) == [
        "tree: layout Kaggle",
        "the 4 classes of tree/LOC_synset_mapping.txt, in submissions by class index + 1",
        "train  12 images; 4 of 4 classes, 3 in each; labels from class folders",
        f"       12 boxes from {ANNOTATIONS}/train (version {versions['train'][:12]}); "
        "0 images without a box",
        f"val    8 images; 4 of 4 classes, 2 in each; labels from {ANNOTATIONS}/val",
        f"       8 boxes from {ANNOTATIONS}/val (version {versions['val'][:12]}); "
        "0 images without a box",
        "test   5 images",
        "not ILSVRC's classes: tables can be made, but none compares with the paper's",
        "Table 1   lacks nothing",
        "Table 2   lacks nothing",
        "Table 3   lacks nothing",
        "cam-train ready",
        "cam-eval  ready",
    ]
    counts = ("images", "complete", "boxes", "images_without_boxes", "faults", "problem")
    assert {name: [split[key] for key in counts] for name, split in report["splits"].items()} == {
        "train": [12, 1_281_167, 12, 0, {}, None],
        "val": [8, 50_000, 8, 0, {}, None],
        "test": [5, 100_000, 0, 5, {}, None],
    }
    assert set(report["splits"]["train"]["images_by_class"].values()) == {3}
    assert report["can_train"] is report["can_eval"] is None
    # The tables of the annotations are kept beside the runs.
    assert len(list((tmp_path / "runs/.cache").iterdir())) == 2


def test_what_check_says_of_a_bad_tree(command, make_tree, tmp_path):
    inner = make_tree(tmp_path / "tree") / "ILSVRC"
    images = sorted((inner / "Data/CLS-LOC/val").iterdir())
    for image in images[:4]:
        image.write_bytes(b"")
    images[4].unlink()
    xml = inner / f"Annotations/CLS-LOC/val/{images[5].stem}.xml"
    assert "<xmax>30</xmax>" in xml.read_text()
    xml.write_text(xml.read_text().replace("<xmax>30</xmax>", "<xmax>32</xmax>"))  # of 0 to 31
    done = command("data", *CHECK, "output=report.json")
    assert done.status == 1
    assert done.errors == [], "what was found is no error of the command"
    lines = said(done)
    assert lines[4].startswith("val    5 images; 3 of 3 classes, 1 to 2 in each; labels from")
    name = "ILSVRC2012_val_0000000"
    assert lines[6:12] == [
        f"       FAULT files listed but not there (1): {name}5.JPEG",
        f"       FAULT files of no bytes (4): {name}1.JPEG; {name}2.JPEG; {name}3.JPEG and 1 more",
        "       FAULT images with a box that is empty or reaches beyond them (1): "
        f"{name}6.JPEG (32x24): [[15, 10, 32, 21]]",
        f"       note: annotations without an image (1): {name}5",
        "       note: images whose boxes in XML differ from those in the solution file (1): "
        f"{name}6.JPEG: XML n00001020 15 10 32 21, LOC_val_solution.csv n00001020 15 10 30 21",
        "test   2 images",
    ]
    assert lines[-2:] == [
        "cam-train not ready: val has files listed but not there, files of no bytes",
        "cam-eval  not ready: val has files listed but not there, files of no bytes, images with a "
        "box that is empty or reaches beyond them",
    ]
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["splits"]["val"]["faults"]["empty"] == [f"{name}{i}.JPEG" for i in range(1, 5)]
    assert report["can_eval"] == lines[-1].partition(": ")[2]

    done = command("data", *CHECK, "decode=false")
    assert not any("no bytes" in line for line in said(done))
    assert any("FAULT files listed but not there (1)" in line for line in said(done))


def _nothing_wrong(tree: Path) -> None:
    pass


def _train_missing(tree: Path) -> None:
    (tree / IMAGES / "train").rename(tree.parent / "away")


def _train_image_empty(tree: Path) -> None:
    next((tree / IMAGES / "train").rglob("*.JPEG")).write_bytes(b"")


def _train_box_outside(tree: Path) -> None:
    xml = next((tree / ANNOTATIONS / "train").rglob("*.xml"))
    xml.write_text(
        xml.read_text().replace("<xmin>0<", "<xmin>-1<").replace("<xmin>3<", "<xmin>-1<")
    )


def _val_box_outside(tree: Path) -> None:
    xml = tree / ANNOTATIONS / "val/ILSVRC2012_val_00000001.xml"
    xml.write_text(xml.read_text().replace("<xmin>0<", "<xmin>-1<"))


def _val_missing(tree: Path) -> None:
    (tree / IMAGES / "val").rename(tree.parent / "away")


def _test_missing(tree: Path) -> None:
    (tree / IMAGES / "test").rename(tree.parent / "away")


def _mapping_broken(tree: Path) -> None:
    (tree / "LOC_synset_mapping.txt").write_text("")


@pytest.mark.parametrize(
    ("spoil", "status"),
    [
        (_nothing_wrong, 0),
        (_train_box_outside, 0),
        (_test_missing, 0),
        (_train_missing, 2),
        (_train_image_empty, 2),
        (_val_box_outside, 3),
        (_val_missing, 1),
        (_mapping_broken, 1),
    ],
)
def test_status_says_what_can_run(command, make_tree, tmp_path, spoil, status):
    spoil(make_tree(tmp_path / "tree"))
    done = command("data", *CHECK)
    assert (done.status, done.errors) == (status, []), done.err
    trains, evaluates = {0: (True, True), 1: (False, False), 2: (False, True), 3: (True, False)}[
        status
    ]
    assert ("cam-train ready" in said(done)) is trains
    assert ("cam-eval  ready" in said(done)) is evaluates


def test_the_help_states_these_statuses(command):
    done = command("data", "--help")
    text = " ".join(done.out.split())
    assert (
        "Exit status of check: 0: cam-train and cam-eval can run; 2: only cam-eval; 3: only "
        "cam-train; 1: neither." in text
    )


def test_splits_that_are_not_there_say_how_to_name_them(command, make_tree, tmp_path):
    tree = make_tree(tmp_path / "tree")
    _train_missing(tree)
    done = command("data", *CHECK)
    assert "train  none: no folder of train images (data.train=DIR names one)" in said(done)
    done = command("data", *CHECK, "data.train=away")
    assert done.status == 0, done.err
    assert "train  12 images; 3 of 3 classes, 4 in each; labels from class folders" in said(done)


def test_boxes_and_classes_may_be_named(command, make_tree, tmp_path):
    tree = make_tree(tmp_path / "tree")
    (tree / ANNOTATIONS).rename(tmp_path / "xml")
    for split in ("train", "val"):
        (tree / f"LOC_{split}_solution.csv").unlink()
    (tree / "LOC_synset_mapping.txt").rename(tmp_path / "classes.txt")
    assert command("data", *CHECK).status == 1  # val has no labels
    done = command("data", *CHECK, "data.boxes=xml", "data.classes=classes.txt")
    assert done.status == 0, done.err
    assert said(done)[1].startswith("the 3 classes of classes.txt, ")
    assert any(line.startswith("       6 boxes from xml/val (version ") for line in said(done))
    done = command("data", *CHECK, "data.boxes=xml/val")
    assert done.status == 0, done.err
    assert "       no boxes" in said(done)  # of train


def test_a_tree_of_ilsvrcs_classes_is_held_against_the_complete_one(command, tmp_path):
    wnids = ilsvrc_classes().wnids[:2]
    for number, wnid in enumerate((*wnids, wnids[0])):
        path = tmp_path / f"tree/val/{wnid}/ILSVRC2012_val_{number + 1:08d}.JPEG"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 9), (99 * number, 0, 0)).save(path)
    done = command("data", *CHECK)
    assert done.status == 2
    assert said(done) == [
        "tree: layout ImageFolder",
        "ILSVRC's 1,000 classes, in submissions by ILSVRC2012_ID of the development kit",
        "train  none: no folder of train images (data.train=DIR names one)",
        "val    3 of 50,000 images; 2 of 1,000 classes, 1 to 2 in each; labels from class folders",
        "       no boxes",
        "test   none: no folder of test images (data.test=DIR names one)",
        "Table 1   lacks 49,997 of 50,000 validation images",
        "Table 2   lacks 49,997 of 50,000 validation images; boxes of the validation images",
        "Table 3   lacks 49,997 of 50,000 validation images; boxes of the validation images; "
        "the test images (the validation images stand in)",
        "cam-train not ready: no folder of train images (data.train=DIR names one)",
        "cam-eval  ready",
    ]


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["check", "data=ilsvrc"], ["data.root is not given: add data.root=DIR"]),
        (["check", "data=ilsvrc", "data.root=nowhere"], ["data.root=nowhere: no such folder"]),
        (["check", "data=ground_truth"], ["needs a data set with images: data=demo"]),
        (["make", "data=ilsvrc", "data.root=."], ["makes the built-in set alone"]),
        (
            ["chekc"],
            ["cam-data chekc: choose one of make, check, unpack, pack; did you mean check?"],
        ),
        (["unpack", "output=new"], ["add tars=DIR, the archives, and output=DIR"]),
        (["unpack", "tars=."], ["add tars=DIR, the archives, and output=DIR"]),
        (["unpack", "tars=.", "output=new"], ["found none of ILSVRC2012_devkit_t12.tar.gz"]),
        (
            ["unpack", "tars=.", "output=new", "splits=[vall]"],
            ["splits=vall: choose one of train, val, test; did you mean val?"],
        ),
        (["pack", "data=ilsvrc", "data.root=."], ["add output=DIR, the new folder"]),
        (["pack", "data=ilsvrc", "output=new"], ["data.root is not given: add data.root=DIR"]),
        (["pack", "data=ilsvrc", "data.root=nowhere", "output=new"], ["nowhere: no such folder"]),
        (["pack", "data=ground_truth", "output=new"], ["needs a data set with images: data=demo"]),
        (["pack", "output=new", "size=0"], ["size=0: must be 1 to 16,383, or null"]),
        (["pack", "output=new", "size=null", "format=png"], ["leave format and jpg_quality out"]),
        (["pack", "output=new", "decode=false"], ["decode=false: size=null alone packs images"]),
        (["pack", "output=new", "shard_bytes=0"], ["shard_bytes=0: must be over 0"]),
        (["pack", "output=new", "size=many"], ["size=many: must be a whole number"]),
        (["pack", "output=new", "loader.workers=-1"], ["loader.workers=-1: must be 0 or more"]),
        (["check", "data=packed"], ["data.root is not given: add data.root=DIR"]),
        (["check", "data=packed", "data.root=nowhere"], ["nowhere: no such folder"]),
        (["check", "data=packed", "data.root=."], ["data.root=.: has no manifest.json"]),
    ],
)
def test_what_cannot_be_done_is_one_line(command, tmp_path, monkeypatch, words, parts):
    monkeypatch.delenv("CAM_REPRO_ILSVRC", raising=False)
    done = command("data", *words)
    assert done.status == 1
    assert len(done.errors) == 1, done.err
    for part in parts:
        assert part in done.errors[0]


# --- make ----------------------------------------------------------------------------------------


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
        assert f"the data set is in {mapping.parent}" in done.err
    before = {path: Path(path).stat().st_mtime_ns for path in images}
    assert command("data", *words).status == 0
    assert {path: Path(path).stat().st_mtime_ns for path in images} == before


# --- pack ----------------------------------------------------------------------------------------

PACK = ["pack", "data=ilsvrc", "data.root=tree", "output=packed"]
CHECK_PACKED = ["check", "data=packed", "data.root=packed"]


def test_a_tree_is_packed_and_checked(command, make_tree, tmp_path):
    make_tree(tmp_path / "tree")
    done = command("data", *PACK, "size=16", "shard_bytes=9000")
    assert (done.status, done.errors) == (0, []), done.err
    tars = {
        split: sorted((tmp_path / "packed" / split).glob("*.tar"))
        for split in ("train", "val", "test")
    }
    assert len(tars["train"]) > 1
    assert len(tars["test"]) == 1
    megabytes = sum(path.stat().st_size for path in tars["train"]) / 1e6
    lines = said(done)
    assert f"train  12 images in {len(tars['train'])} shards, {megabytes:.1f} MB" in lines
    assert "test   2 images in 1 shard, 0.0 MB" in lines
    assert lines[-1] == "the packed set is in packed: data=packed data.root=packed"
    manifest = json.loads((tmp_path / "packed/manifest.json").read_text())
    assert (manifest["size"], manifest["format"], manifest["quality"]) == (16, "webp", None)
    assert {"command", "created", "git", "versions"} <= manifest.keys()
    assert manifest["source"]["root"] == "tree"

    done = command("data", *CHECK_PACKED, "output=report.json")
    assert (done.status, done.errors) == (0, []), done.err
    assert said(done) == [
        "packed: layout packed",
        "3 classes, in submissions by class index + 1",
        "train  12 images; 3 of 3 classes, 4 in each; labels from index.parquet",
        "       12 boxes from index.parquet; 0 images without a box",
        "val    6 images; 3 of 3 classes, 2 in each; labels from index.parquet",
        "       6 boxes from index.parquet; 0 images without a box",
        "test   2 images",
        "not ILSVRC's classes: tables can be made, but none compares with the paper's",
        "Table 1   lacks nothing",
        "Table 2   lacks nothing",
        "Table 3   lacks nothing",
        "cam-train ready",
        "cam-eval  ready",
    ]
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["layout"] == "packed"
    assert [split["images"] for split in report["splits"].values()] == [12, 6, 2]


IMPOSSIBLE = (
    "1 of 6 true boxes are empty or reach beyond their image (the first: [-1, 0, 15, 11] of "
    "ILSVRC2012_val_00000001): errors count them as they are"
)
OTHER_SIZE = (
    "1 of 6 images have another size than their annotations state, so their boxes may be of other "
    "pixels (the first: ILSVRC2012_val_00000002 is 32x24, not 320x24)"
)


def test_every_command_says_which_boxes_cannot_be(command, make_tree, tmp_path):
    """What check calls a fault is scored with a count of it, from files and from packed data."""
    tree = make_tree(tmp_path / "tree", train=1)
    _val_box_outside(tree)
    xml = tree / "ILSVRC/Annotations/CLS-LOC/val/ILSVRC2012_val_00000002.xml"
    xml.write_text(xml.read_text().replace("<width>32<", "<width>320<"))
    fault = "FAULT images with a box that is empty or reaches beyond them (1): "
    box = " (32x24): [[-1, 0, 15, 11]]"
    checked = command("data", "check", "data=ilsvrc", "data.root=tree")
    assert checked.status == 3
    assert f"{fault}ILSVRC2012_val_00000001.JPEG{box}" in checked.err
    packed = command("data", *PACK, "splits=[val]")
    assert IMPOSSIBLE in said(packed)
    assert OTHER_SIZE in said(packed)
    checked = command("data", *CHECK_PACKED)
    assert f"{fault}ILSVRC2012_val_00000001{box}" in checked.err
    note = "note: annotations with another size than their image's (1): ILSVRC2012_val_00000002 is "
    assert f"{note}32x24, not 320x24" in checked.err
    none = ["model=none", "box=[whole_image]", "data.cache=null"]
    scored = command("eval", *none, "data=ilsvrc", "data.root=tree")
    assert IMPOSSIBLE in said(scored)
    assert OTHER_SIZE in said(scored)
    scored = command("eval", *none[:2], "data=packed", "data.root=packed")
    assert IMPOSSIBLE in said(scored)
    assert "; 1 of another size than annotated)" in said(scored)[0]
    run = "submission=runs/tree/none/eval/val"
    assert IMPOSSIBLE in said(command("score", run, "protocol=gt_known"))


def test_splits_choose_what_is_packed(command, make_tree, tmp_path):
    make_tree(tmp_path / "tree")
    done = command("data", *PACK, "size=null", "splits=[val]")
    assert (done.status, done.errors) == (0, []), done.err
    assert sorted(path.name for path in (tmp_path / "packed").iterdir()) == ["manifest.json", "val"]
    done = command("data", *CHECK_PACKED)
    assert done.status == 2
    missing = "data.root=packed: split=train was not packed, only val"
    assert f"train  none: {missing}" in said(done)
    assert f"cam-train not ready: {missing}" in said(done)
    done = command("train", "model=nin", "recipe=ilsvrc", "data=packed", "data.root=packed")
    assert done.errors == [f"error: {missing}"]

    done = command("data", *PACK)
    assert done.status == 1
    assert done.errors == ["error: packed: is not empty; give a new folder with output=DIR"]
    done = command("data", "pack", "data=packed", "data.root=packed", "splits=[val]", "output=two")
    assert done.errors == ["error: packed/val: no files of images: pack the original data set"]
    done = command("eval", "data=ilsvrc", "data.root=packed")
    assert "packed/val: holds no images for split=val, but shards, which data=packed" in done.err
    shutil.rmtree(tmp_path / "tree/ILSVRC/Data/CLS-LOC/train")
    done = command("data", *PACK, "output=other", "splits=[train,val]")
    assert done.status == 1
    assert "tree: missing images; split=train needs a folder train" in done.errors[0]
    assert not (tmp_path / "other").exists()


def test_check_finds_what_is_broken_in_packed_data(command, make_tree, tmp_path):
    tree = make_tree(tmp_path / "tree")
    images = sorted((tree / IMAGES / "val").iterdir())
    images[1].write_bytes(b"")
    assert command("data", *PACK, "size=null").status == 1
    assert not (tmp_path / "packed").exists()
    done = command("data", *PACK, "size=null", "loader.on_error=skip")
    assert done.status == 0, done.err
    assert "val    6 images in 1 shard, 0.0 MB; 1 could not be read" in said(done)
    shard = tmp_path / "packed/val/val-000000.tar"
    content = bytearray(shard.read_bytes())
    content[512:900] = bytes(388)  # of the first image
    shard.write_bytes(content)

    name = "ILSVRC2012_val_0000000"
    at_packing = f"packed/val: image {name}2: could not be read when packed"
    done = command("data", *CHECK_PACKED)
    assert done.status == 1
    unreadable, changed = (line for line in said(done) if "FAULT" in line)
    place = shard.relative_to(tmp_path)
    assert unreadable == (
        f"       FAULT unreadable images (2): {place}: image {name}1: is not as it was packed "
        "(CRC-32); copy it again, or pack it again with cam-data pack, into a new folder; "
        + at_packing
    )
    assert changed.startswith(f"       FAULT files that are not as they were packed (1): {place}")
    done = command("data", *CHECK_PACKED, "decode=false")
    assert f"       FAULT unreadable images (1): {at_packing}" in said(done)
    assert "note: images were not opened (decode=false): broken ones are not found" in said(done)

    shard.write_bytes(content[:-1])
    done = command("data", *CHECK_PACKED)
    assert done.status == 1
    assert any(
        line.startswith("val    none: packed/val/val-000000.tar: has ") for line in said(done)
    )


def test_the_built_in_set_is_packed(command, tmp_path, monkeypatch):
    monkeypatch.setenv("CAM_REPRO_CACHE", str(tmp_path / "cache"))
    words = ["data.n_train=24", "data.n_val=12", "splits=[val]", "size=32", "format=jpg"]
    done = command("data", "pack", "data=demo", *words, "jpg_quality=80", "output=packed")
    assert (done.status, done.errors) == (0, []), done.err
    manifest = json.loads((tmp_path / "packed/manifest.json").read_text())
    assert manifest["splits"]["val"]["name"] == "demo-32"
    assert (manifest["format"], manifest["quality"]) == ("jpg", 80)


# --- unpack --------------------------------------------------------------------------------------

TENCH, SNAKE = "n01440764", "n01751748"


def tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def jpeg(red: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 12), (red, 0, 0)).save(buffer, "jpeg")
    return buffer.getvalue()


def xml(wnid: str) -> bytes:
    return (
        "<annotation><size><width>16</width><height>12</height></size>"
        f"<object><name>{wnid}</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>9</xmax>"
        "<ymax>8</ymax></bndbox></object></annotation>"
    ).encode()


@pytest.fixture
def tars(tmp_path):
    """All six archives, of four training, two validation and one test image."""
    folder = tmp_path / "tars"
    folder.mkdir()
    kit = tmp_path / "kit"
    kit.mkdir()
    classes = ilsvrc_classes()
    assert classes.devkit_ids_C is not None
    fields = [("ILSVRC2012_ID", object), ("WNID", object), ("words", object)]
    rows = zip(classes.devkit_ids_C.tolist(), classes.wnids, classes.names, strict=True)
    savemat(kit / "meta.mat", {"synsets": np.array(sorted(rows), fields)[:, None]})
    inner = "ILSVRC2012_devkit_t12/data"
    archives = {
        "ILSVRC2012_img_train.tar": tar(
            {
                f"{wnid}.tar": tar({f"{wnid}_{i}.JPEG": jpeg(start + 40 * i) for i in (1, 2)})
                for start, wnid in ((0, TENCH), (20, SNAKE))
            }
        ),
        "ILSVRC2012_img_val.tar": tar(
            {f"ILSVRC2012_val_{i:08d}.JPEG": jpeg(100 + 30 * i) for i in (1, 2)}
        ),
        "ILSVRC2012_img_test_v10102019.tar": tar({"test/ILSVRC2012_test_00000001.JPEG": jpeg(250)}),
        "ILSVRC2012_bbox_train_v2.tar.gz": tar({f"{SNAKE}/{SNAKE}_2.xml": xml(SNAKE)}),
        "ILSVRC2012_bbox_val_v3.tgz": tar(
            {f"val/ILSVRC2012_val_{i:08d}.xml": xml(wnid) for i, wnid in ((1, SNAKE), (2, TENCH))}
        ),
        "ILSVRC2012_devkit_t12.tar.gz": tar(
            {
                f"{inner}/meta.mat": (kit / "meta.mat").read_bytes(),
                f"{inner}/ILSVRC2012_validation_ground_truth.txt": b"490\n449\n",
                f"{inner}/ILSVRC2012_validation_blacklist.txt": b"2\n36\n",
            }
        ),
    }
    for name, content in archives.items():
        (folder / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    shutil.rmtree(kit)
    return folder


def test_archives_become_a_tree_that_check_understands(command, tars, tmp_path):
    done = command("data", "unpack", "tars=tars", "output=tree", "verify=false")
    assert (done.status, done.errors) == (0, []), done.err
    assert said(done)[-1] == "the tree is in tree: cam-data check data=ilsvrc data.root=tree"

    done = command("data", *CHECK, "output=report.json")
    assert done.status == 0, done.err
    assert "       1 blacklisted" in said(done)
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["layout"] == "official archives"
    splits = report["splits"]
    assert {name: (s["images"], s["boxes"], s["labels"]) for name, s in splits.items()} == {
        "train": (4, 1, "class folders"),
        "val": (2, 2, "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt"),
        "test": (1, 0, None),
    }
    assert splits["val"]["images_by_class"] == {TENCH: 1, SNAKE: 1}
    assert all(not s["faults"] and not s["notes"] for s in splits.values())

    # Run again, it finds all done; of a tree in the making check says what is there.
    done = command("data", "unpack", "tars=tars", "output=tree", "verify=false")
    assert done.status == 0, done.err
    assert "finished before" in done.err
    shutil.rmtree(tmp_path / "tree/train")
    assert command("data", *CHECK).status == 2


def test_splits_choose_among_the_archives(command, tars, tmp_path):
    words = ["unpack", "tars=tars", "output=tree", "verify=false", "splits=[val]"]
    done = command("data", *words)
    assert done.status == 0, done.err
    folders = {path.name for path in (tmp_path / "tree").iterdir() if path.name[0] != "."}
    assert folders == {"val", "bbox", "ILSVRC2012_devkit_t12"}
    done = command("data", *CHECK)
    assert done.status == 2, done.err
    assert "val    2 of 50,000 images; 2 of 1,000 classes, 1 in each; labels from " in done.err
