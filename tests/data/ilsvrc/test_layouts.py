"""One small set of images in every layout that people have: the same ImageSet each time."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from cam_repro.classes import ilsvrc_classes
from cam_repro.commands.evaluate import run_evaluation
from cam_repro.commands.train import run_training
from cam_repro.data.ilsvrc.image_set import ImageSet, load_image_set
from cam_repro.data.ilsvrc.layouts import (
    Layout,
    Places,
    class_folders,
    find_layout,
    has_class_folders,
    image_id,
    is_image,
)
from cam_repro.data.sources import places_of
from cam_repro.errors import UserError
from cam_repro.types import NO_LABEL

TENCH, SNAKE, GOOSE = "n01440764", "n01751748", "n01855672"
INDEX = {TENCH: 0, SNAKE: 65, GOOSE: 99}
DEVKIT_ID = {TENCH: 449, SNAKE: 490, GOOSE: 420}
SIZE = (32, 24)

TRAIN = {
    f"{TENCH}_10": (TENCH, [(0, 0, 15, 11)]),
    f"{TENCH}_2": (TENCH, []),  # most training images have no XML file
    f"{SNAKE}_7": (SNAKE, [(3, 2, 18, 13), (0, 0, 4, 4)]),
    f"{GOOSE}_1": (GOOSE, [(6, 4, 31, 23)]),
}
VAL = {
    "ILSVRC2012_val_00000001": (SNAKE, [(1, 2, 20, 12)]),  # 490 in the development kit
    "ILSVRC2012_val_00000002": (TENCH, [(9, 6, 24, 17), (0, 0, 0, 0)]),
    "ILSVRC2012_val_00000003": (GOOSE, [(15, 10, 30, 21)]),
}
TEST = ["ILSVRC2012_test_00000001", "ILSVRC2012_test_00000002"]

# In the order of the file names, as (id, class index, boxes).
EXPECTED = {
    "train": [(name, INDEX[w], [list(b) for b in boxes]) for name, (w, boxes) in TRAIN.items()],
    "val": [(name, INDEX[w], [list(b) for b in boxes]) for name, (w, boxes) in VAL.items()],
    "test": [(name, NO_LABEL, []) for name in TEST],
}


def as_tuples(images: ImageSet) -> list[tuple[str, int, list[list[int]]]]:
    return [(s.id, s.label, s.boxes_M4.tolist()) for s in (images[i] for i in range(len(images)))]


# --- the parts of which the layouts are made -----------------------------------------------------


def write_image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    grey = sum(path.name.encode()) % 256
    Image.new("RGB", SIZE, (grey, grey, grey)).save(path, format="jpeg")


def write_train(folder: Path) -> None:
    for name, (wnid, _) in TRAIN.items():
        write_image(folder / wnid / f"{name}.JPEG")


def write_val(folder: Path, sort: bool = False) -> None:
    for name, (wnid, _) in VAL.items():
        write_image(folder / (wnid if sort else "") / f"{name}.JPEG")


def write_test(folder: Path) -> None:
    for name in TEST:
        write_image(folder / f"{name}.JPEG")


def write_xml(path: Path, wnid: str, boxes: list[tuple[int, ...]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    objects = "".join(
        f"<object><name>{wnid}</name><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin>"
        f"<xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
        for x0, y0, x1, y1 in boxes
    )
    width, height = SIZE
    size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    path.write_text(f"<annotation>{size}{objects}</annotation>")


def write_train_boxes(folder: Path) -> None:
    for name, (wnid, boxes) in TRAIN.items():
        if boxes:
            write_xml(folder / wnid / f"{name}.xml", wnid, boxes)


def write_val_boxes(folder: Path, sort: bool = False) -> None:
    for name, (wnid, boxes) in VAL.items():
        write_xml(folder / (wnid if sort else "") / f"{name}.xml", wnid, boxes)


def write_solutions(folder: Path, *splits: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for split in splits:
        lines = ["ImageId,PredictionString"]
        for name, (wnid, boxes) in reversed({"train": TRAIN, "val": VAL}[split].items()):
            if boxes:
                words = " ".join(f"{wnid} {' '.join(map(str, box))}" for box in boxes)
                lines.append(f"{name},{words} ")
        (folder / f"LOC_{split}_solution.csv").write_text("\n".join(lines) + "\n")


def write_lists(folder: Path) -> None:
    folder.mkdir(parents=True)
    train = [f"{wnid}/{name}" for name, (wnid, _) in TRAIN.items()]
    for name, entries in {"train_cls": train, "val": list(VAL), "test": TEST}.items():
        lines = [f"{entry} {number}\n" for number, entry in enumerate(reversed(entries), 1)]
        (folder / f"{name}.txt").write_text("".join(lines))


def write_mapping(folder: Path) -> None:
    classes = ilsvrc_classes()
    lines = [
        f"{w} {name}, and so on\n" for w, name in zip(classes.wnids, classes.names, strict=True)
    ]
    (folder / "LOC_synset_mapping.txt").write_text("".join(lines))


@dataclass(frozen=True)
class Parts:
    """What takes long to make and is made once.

    kit: the data of a development kit: meta.mat with an ancestor among the classes, and labels.
    train: training images, in three of 1,000 class folders.
    """

    kit: Path
    train: Path


@pytest.fixture(scope="session")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    classes = ilsvrc_classes()
    assert classes.devkit_ids_C is not None
    kit = tmp_path_factory.mktemp("kit")
    rows = list(zip(classes.devkit_ids_C.tolist(), classes.wnids, classes.names, strict=True))
    rows = [(number, wnid, f"{name}, and so on", 0) for number, wnid, name in sorted(rows)]
    fields = ("ILSVRC2012_ID", "WNID", "words", "num_children")
    synsets = np.array(
        [*rows, (1001, "n00001740", "entity", 8)], [(name, object) for name in fields]
    )
    savemat(kit / "meta.mat", {"synsets": synsets[:, None]})
    ids = [DEVKIT_ID[wnid] for wnid, _ in VAL.values()]
    (kit / "ILSVRC2012_validation_ground_truth.txt").write_text("\n".join(map(str, ids)) + "\n")
    (kit / "ILSVRC2012_validation_blacklist.txt").write_text("36\n")

    train = tmp_path_factory.mktemp("images") / "train"
    for wnid in classes.wnids:
        (train / wnid).mkdir(parents=True)
    write_train(train)
    return Parts(kit, train)


def link_train(folder: Path, parts: Parts) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.symlink_to(parts.train)


# --- the layouts ---------------------------------------------------------------------------------


def kaggle(
    root: Path, parts: Parts, inner: str = "ILSVRC", sort: bool = False, xml: bool = True
) -> None:
    data = root / inner / "Data/CLS-LOC"
    link_train(data / "train", parts)
    write_val(data / "val", sort)
    write_test(data / "test")
    if xml:
        write_train_boxes(root / inner / "Annotations/CLS-LOC/train")
        write_val_boxes(root / inner / "Annotations/CLS-LOC/val")
    write_lists(root / inner / "ImageSets/CLS-LOC")
    write_solutions(root, "train", "val")
    write_mapping(root)


def official(root: Path, parts: Parts, boxes: str = "bbox/{split}") -> None:
    """What ``cam-data unpack`` makes; boxes: folders of the XML files."""
    link_train(root / "train", parts)
    write_val(root / "val")
    write_test(root / "test")
    write_train_boxes(root / boxes.format(split="train"))
    write_val_boxes(root / boxes.format(split="val"))
    shutil.copytree(parts.kit, root / "ILSVRC2012_devkit_t12/data")


def image_folder(root: Path, parts: Parts) -> None:
    link_train(root / "train", parts)
    write_val(root / "val", sort=True)
    write_test(root / "test")


Lay = Callable[[Path, Parts], Places | None]


def _kaggle(root: Path, parts: Parts) -> None:
    kaggle(root, parts)


def _kaggle_without_outer_folder(root: Path, parts: Parts) -> None:
    kaggle(root, parts, inner="")


def _kaggle_solutions_only(root: Path, parts: Parts) -> None:
    kaggle(root, parts, xml=False)


def _kaggle_without_lists(root: Path, parts: Parts) -> None:
    kaggle(root, parts)
    shutil.rmtree(root / "ILSVRC/ImageSets")


def _kaggle_val_sorted(root: Path, parts: Parts) -> None:
    kaggle(root, parts, sort=True)


def _kaggle_without_mapping(root: Path, parts: Parts) -> None:
    kaggle(root, parts)
    (root / "LOC_synset_mapping.txt").unlink()


def _kaggle_with_kit(root: Path, parts: Parts) -> None:
    kaggle(root, parts)
    shutil.copytree(parts.kit, root / "ILSVRC2012_devkit_t12/data")


def _official(root: Path, parts: Parts) -> None:
    official(root, parts)


def _official_boxes_by_archive(root: Path, parts: Parts) -> None:
    official(root, parts, boxes="ILSVRC2012_bbox_{split}_v3/{split}")


def _official_boxes_flat_by_archive(root: Path, parts: Parts) -> None:
    official(root, parts, boxes="ILSVRC2012_bbox_{split}_v3")


def _official_folders_by_archive(root: Path, parts: Parts) -> None:
    official(root, parts)
    for split in ("train", "val", "test"):
        (root / split).rename(root / f"ILSVRC2012_img_{split}")


def _official_without_kit(root: Path, parts: Parts) -> None:
    official(root, parts)
    shutil.rmtree(root / "ILSVRC2012_devkit_t12")


def _official_labels_without_meta(root: Path, parts: Parts) -> None:
    official(root, parts)
    (root / "ILSVRC2012_devkit_t12/data/meta.mat").unlink()


def _kit_beside_the_images(root: Path, parts: Parts) -> None:
    official(root, parts)
    shutil.copytree(parts.kit, root, dirs_exist_ok=True)
    shutil.rmtree(root / "ILSVRC2012_devkit_t12")


def _xml_among_the_images(root: Path, parts: Parts) -> None:
    official(root, parts)
    shutil.rmtree(root / "bbox")
    (root / "train").unlink()
    shutil.copytree(parts.train, root / "train")
    write_train_boxes(root / "train")
    write_val_boxes(root / "val")


def _image_folder_with_boxes(root: Path, parts: Parts) -> None:
    image_folder(root, parts)
    write_train_boxes(root / "boxes/train")
    write_val_boxes(root / "boxes/val", sort=True)


def _image_folder_boxes_elsewhere(root: Path, parts: Parts) -> Places:
    image_folder(root, parts)
    write_train_boxes(root.parent / "elsewhere/train")
    write_val_boxes(root.parent / "elsewhere/val")
    return Places(boxes=str(root.parent / "elsewhere"))


def _image_folder_boxes_of_a_kaggle_tree(root: Path, parts: Parts) -> Places:
    image_folder(root, parts)
    kaggle(root.parent / "kaggle", parts)
    return Places(boxes=str(root.parent / "kaggle"))


def _images_elsewhere(root: Path, parts: Parts) -> Places:
    root.mkdir()
    other = root.parent / "disk"
    official(other, parts)
    write_train_boxes(root / "annotations/train")
    write_val_boxes(root / "annotations/val")
    return Places(**{split: str(other / split) for split in ("train", "val", "test")})


def _everything_named(root: Path, parts: Parts) -> Places:
    root.mkdir()
    other = root.parent / "disk"
    official(other, parts)
    (other / "ILSVRC2012_devkit_t12").rename(other / "kit")
    (other / "bbox").rename(other / "xml")
    images = {part: str(other / part) for part in ("train", "val", "test")}
    return Places(**images, boxes=str(other / "xml"), devkit=str(other / "kit"))


LAYOUTS: dict[Lay, tuple[str, str, str]] = {
    # kind, where the val labels come from, where its boxes come from
    _kaggle: ("Kaggle", "", "ILSVRC/Annotations/CLS-LOC/val"),
    _kaggle_without_outer_folder: ("Kaggle", "", "Annotations/CLS-LOC/val"),
    _kaggle_solutions_only: ("Kaggle", "", "LOC_val_solution.csv"),
    _kaggle_without_lists: ("Kaggle", "", "ILSVRC/Annotations/CLS-LOC/val"),
    _kaggle_val_sorted: ("Kaggle", "class folders", "ILSVRC/Annotations/CLS-LOC/val"),
    _kaggle_without_mapping: ("Kaggle", "", "ILSVRC/Annotations/CLS-LOC/val"),
    _kaggle_with_kit: ("Kaggle", "{kit}", "ILSVRC/Annotations/CLS-LOC/val"),
    _official: ("official archives", "{kit}", "bbox/val"),
    _official_boxes_by_archive: ("official archives", "{kit}", "ILSVRC2012_bbox_val_v3/val"),
    _official_boxes_flat_by_archive: ("official archives", "{kit}", "ILSVRC2012_bbox_val_v3"),
    _official_folders_by_archive: ("official archives", "{kit}", "bbox/val"),
    _official_without_kit: ("official archives", "", "bbox/val"),
    _official_labels_without_meta: ("official archives", "{kit}", "bbox/val"),
    _kit_beside_the_images: ("official archives", "{labels}", "bbox/val"),
    _xml_among_the_images: ("official archives", "{kit}", "val"),
    _image_folder_with_boxes: ("ImageFolder", "class folders", "boxes/val"),
    _image_folder_boxes_elsewhere: ("ImageFolder", "class folders", "{above}/elsewhere/val"),
    _image_folder_boxes_of_a_kaggle_tree: (
        "ImageFolder",
        "class folders",
        "{above}/kaggle/ILSVRC/Annotations/CLS-LOC/val",
    ),
    _images_elsewhere: ("official archives", "", "annotations/val"),
    _everything_named: (
        "official archives",
        "{above}/disk/kit/data/{labels}",
        "{above}/disk/xml/val",
    ),
}


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory, parts: Parts) -> Callable[[str], ImageSet]:
    """A split of the Kaggle tree, which all others must equal."""
    root = tmp_path_factory.mktemp("reference") / "root"
    kaggle(root, parts)
    return lambda split: load_image_set(root, split)


@pytest.mark.parametrize("lay", LAYOUTS, ids=lambda lay: lay.__name__.strip("_"))
def test_every_layout_is_the_same_image_set(lay, reference, parts, tmp_path):
    root = tmp_path / "root"
    places = lay(root, parts)
    for split in ("train", "val", "test"):
        images, wanted = load_image_set(root, split, places=places), reference(split)
        assert as_tuples(images) == EXPECTED[split]
        assert images.classes.wnids == ilsvrc_classes().wnids
        assert images.classes.names == ilsvrc_classes().names
        assert images.classes.devkit_ids_C.tolist() == ilsvrc_classes().devkit_ids_C.tolist()
        assert images.fingerprint == wanted.fingerprint
        assert images.name == "root"  # it is not the complete ILSVRC
        assert not images.is_ilsvrc
        for index in range(len(images)):
            assert images[index].path.is_file()
            assert images[index].path.read_bytes() == wanted[index].path.read_bytes()
        # Labels do not depend on whether boxes are read.
        without = load_image_set(root, split, places=places, with_boxes=False)
        assert without.labels_N.tolist() == images.labels_N.tolist()
        assert without.ids == images.ids

    kind, labels, boxes = LAYOUTS[lay]
    words = {"labels": "ILSVRC2012_validation_ground_truth.txt", "above": tmp_path}
    words["kit"] = f"ILSVRC2012_devkit_t12/data/{words['labels']}"
    labels, boxes = labels.format(**words), boxes.format(**words)
    expected = f"labels from {labels}, boxes from {boxes}"
    assert load_image_set(root, "val", places=places).described == f"layout {kind}, " + (
        expected if labels else f"labels and boxes from {boxes}"
    )


def test_image_one_is_490_in_the_kit_and_65_in_the_arrays(parts, tmp_path):
    official(tmp_path / "root", parts)
    images = load_image_set(tmp_path / "root", "val")
    labels = (tmp_path / "root/ILSVRC2012_devkit_t12/data").glob("*_validation_ground_truth.txt")
    assert next(labels).read_text().splitlines()[0] == "490"
    assert images[0].label == 65
    assert images.classes.submission_labels_C[65] == 490
    assert images.classes.labels_are == "ILSVRC2012_ID of the development kit"


def test_an_image_folder_without_boxes(parts, tmp_path):
    image_folder(tmp_path / "root", parts)
    for split in ("train", "val"):
        images = load_image_set(tmp_path / "root", split)
        assert as_tuples(images) == [(name, label, []) for name, label, _ in EXPECTED[split]]
        assert not images.has_boxes
        assert images.sizes_N2 is None
        assert images.described == "layout ImageFolder, labels from class folders, no boxes"


@pytest.mark.parametrize("given", ["", "ILSVRC", "ILSVRC/Data/CLS-LOC"])
def test_the_root_may_be_named_at_three_depths_of_a_kaggle_tree(
    parts, given, reference, tmp_path, monkeypatch
):
    kaggle(tmp_path / "root", parts)
    for split in ("train", "val", "test"):
        images = load_image_set(tmp_path / "root" / given, split)
        assert images.fingerprint == reference(split).fingerprint
        assert images.described.startswith("layout Kaggle")
    layout = find_layout(tmp_path / "root" / given)
    assert layout.synset_mapping == tmp_path / "root/LOC_synset_mapping.txt"
    assert layout.solutions["val"] == tmp_path / "root/LOC_val_solution.csv"
    monkeypatch.chdir(tmp_path / "root" / given)
    assert load_image_set(".", "val").fingerprint == reference("val").fingerprint


def test_class_folders_give_the_classes_of_a_set_of_ones_own(make_tree, tmp_path):
    """Labels and boxes are those of the tree with its mapping; names are not known."""
    root = make_tree(tmp_path / "mine")
    with_mapping = [load_image_set(root, split) for split in ("train", "val", "test")]
    (root / "LOC_synset_mapping.txt").unlink()
    for split, wanted in zip(("train", "val", "test"), with_mapping, strict=True):
        images = load_image_set(root, split)
        assert images.fingerprint == wanted.fingerprint
        assert images.classes.wnids == ("n00001000", "n00001010", "n00001020")
        assert images.classes.names == images.classes.wnids
        assert images.classes.devkit_ids_C is None
        assert images.classes.submission_labels_C.tolist() == [1, 2, 3]
    shutil.rmtree(root / "ILSVRC/Data/CLS-LOC/train")
    # Now the annotations of val tell, for test too.
    for split in ("val", "test"):
        assert load_image_set(root, split).classes.wnids == ("n00001000", "n00001010", "n00001020")


# --- the classes ---------------------------------------------------------------------------------


def test_a_part_of_val_alone_has_ilsvrcs_classes_in_every_layout(parts, tmp_path):
    """Three classes are seen; without training images the 1,000 are meant."""
    roots = {name: tmp_path / name for name in ("flat", "sorted", "kit", "kaggle")}
    write_val(roots["flat"] / "val")
    write_val_boxes(roots["flat"] / "bbox/val")
    write_val(roots["sorted"] / "val", sort=True)
    write_val_boxes(roots["sorted"] / "bbox/val")
    write_val(roots["kit"] / "val", sort=True)
    write_val_boxes(roots["kit"] / "bbox/val")
    shutil.copytree(parts.kit, roots["kit"] / "devkit")
    write_val(roots["kaggle"] / "Data/CLS-LOC/val")
    write_solutions(roots["kaggle"], "val")
    write_mapping(roots["kaggle"])
    for root in roots.values():
        images = load_image_set(root, "val")
        assert as_tuples(images) == EXPECTED["val"]
        assert images.classes.wnids == ilsvrc_classes().wnids
    assert len({load_image_set(root, "val").fingerprint for root in roots.values()}) == 1


def test_training_folders_are_the_classes_and_ilsvrc_can_be_asked_for(parts, tmp_path):
    root = tmp_path / "root"
    write_train(root / "train")
    write_val(root / "val", sort=True)
    few = load_image_set(root, "val")
    assert few.classes.wnids == (TENCH, SNAKE, GOOSE)
    assert few.classes.names == ("tench", "sea snake", "goose")
    assert few.classes.devkit_ids_C is None
    assert few.labels_N.tolist() == [1, 0, 2]

    asked = load_image_set(root, "val", classes="ilsvrc")
    assert asked.labels_N.tolist() == [65, 0, 99]
    mapping = tmp_path / "classes.txt"
    mapping.write_text(f"n00000001 other\n{TENCH} t\n{SNAKE} s\n{GOOSE} g\n")
    of_file = load_image_set(root, "val", classes=str(mapping))
    assert of_file.labels_N.tolist() == [2, 1, 3]
    assert of_file.classes.names == ("other", "t", "s", "g")

    # The kit knows these three: their ids are its.
    shutil.copytree(parts.kit, root / "devkit")
    assert load_image_set(root, "val").classes.devkit_ids_C.tolist() == [449, 490, 420]


def test_folders_that_bear_no_wordnet_id_are_no_classes_of_ilsvrc(tmp_path):
    for name in (SNAKE, TENCH, "lost+found", "n0175174", ".hidden"):
        (tmp_path / "train" / name).mkdir(parents=True)
    (tmp_path / "train/readme.txt").touch()
    assert class_folders(tmp_path / "train") == [TENCH, SNAKE]
    for name in ("cat", "dog"):
        (tmp_path / "other" / name).mkdir(parents=True)
    assert class_folders(tmp_path / "other") == ["cat", "dog"]


# --- what is found -------------------------------------------------------------------------------


def test_the_parts_of_an_official_tree(parts, tmp_path):
    root = tmp_path / "root"
    official(root, parts)
    data = root / "ILSVRC2012_devkit_t12/data"
    assert find_layout(root) == Layout(
        root=root,
        kind="official archives",
        images={split: root / split for split in ("train", "val", "test")},
        boxes={split: root / "bbox" / split for split in ("train", "val")},
        lists={},
        solutions={},
        synset_mapping=None,
        meta=data / "meta.mat",
        val_labels=data / "ILSVRC2012_validation_ground_truth.txt",
        blacklist=data / "ILSVRC2012_validation_blacklist.txt",
    )


def test_the_parts_of_a_kaggle_tree(parts, tmp_path):
    root = tmp_path / "root"
    kaggle(root, parts)
    inner = root / "ILSVRC"
    names = {"train": "train_cls.txt", "val": "val.txt", "test": "test.txt"}
    assert find_layout(root) == Layout(
        root=root,
        kind="Kaggle",
        images={split: inner / "Data/CLS-LOC" / split for split in names},
        boxes={split: inner / "Annotations/CLS-LOC" / split for split in ("train", "val")},
        lists={split: inner / "ImageSets/CLS-LOC" / name for split, name in names.items()},
        solutions={split: root / f"LOC_{split}_solution.csv" for split in ("train", "val")},
        synset_mapping=root / "LOC_synset_mapping.txt",
        meta=None,
        val_labels=None,
        blacklist=None,
    )


@pytest.mark.parametrize(
    ("kit", "meta", "labels"),
    [
        ("", "meta.mat", "ILSVRC2012_validation_ground_truth.txt"),
        ("data", "meta.mat", "ILSVRC2012_validation_ground_truth.txt"),
        ("ILSVRC2012_devkit_t12/data", "meta.mat", "ILSVRC2012_validation_ground_truth.txt"),
        ("devkit/data", "meta.mat", "ILSVRC2012_validation_ground_truth.txt"),
        (
            "ILSVRC2014_devkit/data",
            "meta_clsloc.mat",
            "ILSVRC2014_clsloc_validation_ground_truth.txt",
        ),
    ],
)
def test_development_kits_of_any_year_are_found(parts, kit, meta, labels, tmp_path):
    (tmp_path / "val").mkdir()
    (tmp_path / kit).mkdir(parents=True, exist_ok=True)
    (tmp_path / kit / meta).touch()
    (tmp_path / kit / labels).touch()
    layout = find_layout(tmp_path)
    assert layout.meta == tmp_path / kit / meta
    assert layout.val_labels == tmp_path / kit / labels
    if kit:
        named = find_layout(tmp_path, Places(devkit=str(tmp_path / Path(kit).parts[0])))
        assert (named.meta, named.val_labels) == (layout.meta, layout.val_labels)


def test_class_folders_are_told_from_a_flat_folder_whatever_lies_beside(tmp_path):
    folder = tmp_path / "val"
    folder.mkdir()
    assert not has_class_folders(folder)
    (folder / "readme.txt").touch()
    (folder / ".cache").mkdir()
    assert not has_class_folders(folder)
    (folder / TENCH).mkdir()
    assert has_class_folders(folder)
    (folder / "a.JPEG").touch()  # XML files in a folder of their own, say
    assert not has_class_folders(folder)
    (folder / "a.JPEG").rename(folder / ".a.JPEG")
    assert has_class_folders(folder)


def test_a_link_to_images_is_followed(parts, tmp_path):
    official(tmp_path / "disk", parts)
    (tmp_path / "root/train").mkdir(parents=True)
    for wnid in (TENCH, SNAKE, GOOSE):
        (tmp_path / "root/train" / wnid).symlink_to(parts.train / wnid)
    (tmp_path / "root/val").symlink_to(tmp_path / "disk/val")
    (tmp_path / "root/bbox").symlink_to(tmp_path / "disk/bbox")
    for split in ("train", "val"):
        images = load_image_set(tmp_path / "root", split, classes="ilsvrc")
        assert as_tuples(images) == EXPECTED[split]


def test_names_of_images():
    assert [is_image(n) for n in ("a.JPEG", "a.jpg", "a.PNG", "a.b.jpeg")] == [True] * 4
    assert [is_image(n) for n in ("a.xml", "JPEG", "._a.JPEG", ".JPEG", "a.JPEG.part")] == [
        False
    ] * 5
    assert image_id("n1/a.b.JPEG", nested=False) == "a.b"
    assert image_id("n1/a.b.JPEG", nested=True) == "n1/a.b"
    assert image_id("a.b", nested=False) == "a.b"  # a name of a ground truth, without a suffix


# --- what is named -------------------------------------------------------------------------------


def test_a_named_part_wins_over_what_lies_in_the_tree(parts, tmp_path):
    root, other = tmp_path / "root", tmp_path / "other"
    kaggle(root, parts)
    write_image(other / "val/ILSVRC2012_val_00000002.JPEG")
    write_xml(other / "xml/ILSVRC2012_val_00000002.xml", GOOSE, [(1, 1, 2, 2)])
    places = Places(val=str(other / "val"), boxes=str(other / "xml"))
    images = load_image_set(root, "val", places=places)
    # What lies there is taken, not what the tree's list names.
    assert as_tuples(images) == [("ILSVRC2012_val_00000002", 99, [[1, 1, 2, 2]])]
    assert images[0].path == other / "val/ILSVRC2012_val_00000002.JPEG"
    assert as_tuples(load_image_set(root, "test", places=places)) == EXPECTED["test"]


def test_boxes_named_for_one_split_leave_the_other_as_it_is(parts, tmp_path):
    root, other = tmp_path / "root", tmp_path / "other"
    kaggle(root, parts)
    write_xml(other / "val/ILSVRC2012_val_00000001.xml", SNAKE, [(5, 5, 6, 6)])
    places = Places(boxes=str(other))
    layout = find_layout(root, places)
    assert layout.boxes == {
        "train": root / "ILSVRC/Annotations/CLS-LOC/train",
        "val": other / "val",
    }
    assert as_tuples(load_image_set(root, "train", places=places)) == EXPECTED["train"]


@pytest.mark.parametrize("what", ["a solution file", "a flat folder"])
def test_boxes_may_be_one_file_or_one_folder(parts, what, tmp_path):
    root, other = tmp_path / "root", tmp_path / "other"
    image_folder(root, parts)
    if what == "a solution file":
        write_solutions(other, "val")
        named = other / "LOC_val_solution.csv"
    else:
        write_val_boxes(other)
        named = other
    places = Places(boxes=str(named))
    assert as_tuples(load_image_set(root, "val", places=places)) == EXPECTED["val"]
    train = load_image_set(root, "train", places=places)
    assert as_tuples(train) == [(name, label, []) for name, label, _ in EXPECTED["train"]]
    assert train.described == "layout ImageFolder, labels from class folders, no boxes"


def test_a_home_folder_may_be_named(parts, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    image_folder(tmp_path / "root", parts)
    write_val_boxes(tmp_path / "xml")
    images = load_image_set("~/root", "val", places=Places(boxes="~/xml"))
    assert as_tuples(images) == EXPECTED["val"]


def test_each_part_can_be_named_on_the_command_line(compose_config):
    for part in ("train", "val", "test", "boxes", "devkit"):
        cfg = compose_config("data_command", "data=ilsvrc", f"data.{part}=there")
        assert places_of(cfg.data) == Places(**{part: "there"})
    assert places_of(compose_config("data_command", "data=demo").data) == Places()


@pytest.mark.parametrize(
    ("places", "words"),
    [
        ({"train": "nowhere"}, ["data.train=nowhere: no such folder"]),
        ({"val": "file.txt"}, ["data.val=file.txt: no such folder"]),
        ({"test": "nowhere"}, ["data.test=nowhere: no such folder"]),
        ({"boxes": "nowhere"}, ["data.boxes=nowhere: no such folder or file"]),
        ({"boxes": "empty"}, ["data.boxes=empty: holds no XML files"]),
        ({"devkit": "nowhere"}, ["data.devkit=nowhere: no such folder"]),
        ({"devkit": "empty"}, ["data.devkit=empty: holds neither meta.mat nor"]),
    ],
)
def test_a_place_that_is_not_there_is_named(parts, places, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.txt").touch()
    image_folder(tmp_path / "root", parts)
    with pytest.raises(UserError) as caught:
        find_layout(tmp_path / "root", Places(**places))
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_root_and_no_images_are_named(tmp_path):
    with pytest.raises(UserError, match=r"data\.root=.*/nowhere: no such folder"):
        find_layout(tmp_path / "nowhere")
    (tmp_path / "stuff").mkdir()
    with pytest.raises(UserError, match=r"holds no images; looked for \[ILSVRC/\]Data/CLS-LOC"):
        find_layout(tmp_path)


# --- what comes of it ----------------------------------------------------------------------------


def test_predictions_are_equal_byte_for_byte(parts, compose_config, tmp_path):
    network = ["model=alexnet_gap", "model.width=0.05", "model.input_size=64"]
    network += ["model.resize_size=72", "device=cpu", "data.workers=0", f"runs={tmp_path / 'runs'}"]
    kaggle(tmp_path / "kaggle", parts)
    words = [*network, "data=ilsvrc", f"data.root={tmp_path / 'kaggle'}", "tensorboard=false"]
    words += ["optim.iterations=1", "optim.batch_size=2", f"output={tmp_path / 'trained'}"]
    trained = run_training(compose_config("train", *words))

    results = []
    lays = (_kaggle, _kaggle_solutions_only, _official, _image_folder_boxes_elsewhere)
    for number, lay in enumerate(lays):
        root = tmp_path / str(number) / "root"
        root.parent.mkdir()
        places = lay(root, parts)
        words = [*network, f"model.weights={trained / 'last.pt'}", "contact_sheet=0"]
        words += ["data=ilsvrc", f"data.root={root}", f"output={tmp_path / f'out{number}'}"]
        words += [] if places is None else [f"data.boxes={places.boxes}"]
        (folder,) = run_evaluation(compose_config("eval", *words), words)
        names = ["predictions.parquet", "scores.json"]
        names += sorted(path.name for path in folder.glob("submission_*"))
        assert len(names) > 2
        results.append({name: (folder / name).read_bytes() for name in names})
    assert results[1:] == results[:1] * 3
