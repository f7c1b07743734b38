"""One small set of images, and how it is laid out in every layout that people have."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from cam_repro.classes import ilsvrc_classes
from cam_repro.data.ilsvrc.image_set import ImageSet
from cam_repro.data.ilsvrc.layouts import Places
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


def link_train(folder: Path, parts: Parts) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.symlink_to(parts.train)


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


def _kaggle_solutions_only(root: Path, parts: Parts) -> None:
    kaggle(root, parts, xml=False)


def _official(root: Path, parts: Parts) -> None:
    official(root, parts)


def _image_folder_boxes_elsewhere(root: Path, parts: Parts) -> Places:
    image_folder(root, parts)
    write_train_boxes(root.parent / "elsewhere/train")
    write_val_boxes(root.parent / "elsewhere/val")
    return Places(boxes=str(root.parent / "elsewhere"))
