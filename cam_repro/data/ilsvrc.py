"""ILSVRC (CLS-LOC) on disk: which images there are, their classes and their boxes.

A layout answers where the files of a split lie; everything after that is common. Known here is
the layout of the Kaggle competition ``imagenet-object-localization-challenge``, with or without
its outer ``ILSVRC`` folder::

    Data/CLS-LOC/{train/<wnid>,val,test}/*.JPEG
    Annotations/CLS-LOC/{train/<wnid>,val}/*.xml
    ImageSets/CLS-LOC/{train_cls,val,test}.txt
    LOC_synset_mapping.txt, LOC_{train,val}_solution.csv

Class indices are 0-based in the order of ``LOC_synset_mapping.txt``, which is sorted by WordNet
id: the order that torchvision's networks use.
"""

from __future__ import annotations

import csv
import hashlib
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from cam_repro.data.devkit_ids import read_devkit_ids
from cam_repro.errors import UserError
from cam_repro.types import NO_LABEL, Sample, empty_boxes

SPLITS = ("train", "val", "test")
IMAGE_SUFFIXES = {".jpeg", ".jpg", ".png"}
ILSVRC_CLASSES, ILSVRC_VAL_IMAGES, ILSVRC_TRAIN_IMAGES = 1000, 50_000, 1_281_167


@dataclass(frozen=True)
class Layout:
    """Where the parts of a tree lie. A further layout is a further way to fill this in."""

    images: Path  # holds train/<wnid>, val, test
    annotations: Path  # holds train/<wnid>, val with one XML an image
    lists: Path  # holds train_cls.txt, val.txt, test.txt
    solutions: Path  # holds LOC_<split>_solution.csv
    synset_mapping: Path


def find_layout(root: Path) -> Layout:
    """Recognise the layout of the tree at ``root``; a UserError says what was looked for."""
    if not root.is_dir():
        raise UserError(f"data.root={root}: no such folder; give the folder that holds the data")
    inner = root / "ILSVRC" if (root / "ILSVRC" / "Data").is_dir() else root
    images = inner / "Data" / "CLS-LOC"
    if not images.is_dir():
        raise UserError(
            f"data.root={root}: found neither Data/CLS-LOC nor ILSVRC/Data/CLS-LOC in it; "
            "expected the Kaggle ILSVRC layout"
        )
    return Layout(
        images=images,
        annotations=inner / "Annotations" / "CLS-LOC",
        lists=inner / "ImageSets" / "CLS-LOC",
        solutions=root,
        synset_mapping=root / "LOC_synset_mapping.txt",
    )


@dataclass(frozen=True, eq=False)
class ImageSet:
    """The images of one split.

    Names are kept as one array of bytes, not as objects: the 1.28 million training images must
    cost little in each of the processes that load them.

    name: the data set's name, part of every output path.
    wnids, class_names: by class index.
    files_N: paths below ``folder``, bytes; labels_N: class indices, ``NO_LABEL`` where unknown.
    boxes_M4, box_offsets: boxes of image i are ``boxes_M4[box_offsets[i]:box_offsets[i + 1]]``.
    submission_labels_C: development-kit ids by class index, where the tree holds its meta.mat.
    is_ilsvrc: whether this is the complete ILSVRC split, whose numbers compare with the paper's.
    """

    name: str
    split: str
    folder: Path
    wnids: list[str]
    class_names: list[str]
    files_N: np.ndarray
    labels_N: np.ndarray
    boxes_M4: np.ndarray
    box_offsets: np.ndarray
    submission_labels_C: np.ndarray | None
    is_ilsvrc: bool

    def __len__(self) -> int:
        return len(self.files_N)

    def __getitem__(self, index: int) -> Sample:
        relative = Path(self.files_N[index].decode())
        start, end = self.box_offsets[index], self.box_offsets[index + 1]
        return Sample(
            id=relative.stem,
            path=self.folder / relative,
            label=int(self.labels_N[index]),
            boxes_M4=self.boxes_M4[start:end],
        )

    @property
    def has_labels(self) -> bool:
        return bool((self.labels_N != NO_LABEL).all())

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over names, labels, boxes and classes: equal sets of images have equal ones."""
        digest = hashlib.sha256()
        digest.update("\n".join(self.wnids).encode())
        digest.update(b"\n".join(self.files_N.tolist()))
        for array in (self.labels_N, self.boxes_M4, self.box_offsets):
            digest.update(np.ascontiguousarray(array, np.int64).tobytes())
        return digest.hexdigest()


def load_image_set(
    root: Path | str, split: str, *, name: str | None = None, with_boxes: bool = True
) -> ImageSet:
    """Index one split of the tree at ``root``.

    name: the data set's name; by default ``ilsvrc`` for a complete split of the real set and the
        folder's own name for any other, so that their results never share a table.
    with_boxes: read the true boxes too (one XML an image). Training does without.

    Raises UserError where something is missing, and for a class folder that the mapping lacks.
    """
    if split not in SPLITS:
        raise UserError(f"split={split}: choose one of {', '.join(SPLITS)}")
    root = Path(root).expanduser()
    layout = find_layout(root)
    wnids, class_names = read_synset_mapping(layout.synset_mapping)
    index_of = {wnid: index for index, wnid in enumerate(wnids)}

    files = _list_files(layout, split)
    labels_N = np.full(len(files), NO_LABEL, np.int32)
    boxes = [empty_boxes()] * len(files)
    if split == "train":
        labels_N[:] = [_label_of_folder(file, index_of, layout) for file in files]
        if with_boxes:
            boxes = [b for _, b in _annotations(layout, split, files, index_of)]
    elif split == "val":
        annotations = _annotations(layout, split, files, index_of)
        labels_N[:] = [label for label, _ in annotations]
        boxes = [b for _, b in annotations]

    complete = {"train": ILSVRC_TRAIN_IMAGES, "val": ILSVRC_VAL_IMAGES}.get(split)
    is_ilsvrc = len(wnids) == ILSVRC_CLASSES and len(files) == complete
    counts = [len(b) for b in boxes]
    return ImageSet(
        name=name or ("ilsvrc" if is_ilsvrc else root.resolve().name),
        split=split,
        folder=layout.images / split,
        wnids=wnids,
        class_names=class_names,
        files_N=np.array([file.encode() for file in files]),
        labels_N=labels_N,
        boxes_M4=np.concatenate(boxes) if boxes else empty_boxes(),
        box_offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        submission_labels_C=read_devkit_ids(root, wnids),
        is_ilsvrc=is_ilsvrc,
    )


def read_synset_mapping(path: Path) -> tuple[list[str], list[str]]:
    """WordNet ids and readable names, by class index, from ``LOC_synset_mapping.txt``."""
    if not path.is_file():
        raise UserError(f"{path}: missing; it maps WordNet ids to class names, one class a line")
    wnids, names = [], []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip():
            wnid, _, name = line.strip().partition(" ")
            wnids.append(wnid)
            names.append(name.split(",")[0].strip() or wnid)
    if not wnids:
        raise UserError(f"{path}: empty; expected one 'WordNet-id name' a line")
    if wnids != sorted(set(wnids)):
        raise UserError(f"{path}: WordNet ids must be sorted and distinct; class indices follow it")
    return wnids, names


def _list_files(layout: Layout, split: str) -> list[str]:
    """Paths below the split's folder, in file-name order."""
    folder = layout.images / split
    if not folder.is_dir():
        raise UserError(f"{folder}: missing; split={split} needs it")
    list_file = layout.lists / ("train_cls.txt" if split == "train" else f"{split}.txt")
    if list_file.is_file():
        lines = list_file.read_text(encoding="utf-8").splitlines()
        files = [f"{line.split()[0]}.JPEG" for line in lines if line.strip()]
    else:
        pattern = "*/*" if split == "train" else "*"
        files = [
            path.relative_to(folder).as_posix()
            for path in folder.glob(pattern)
            if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
        ]
    if not files:
        raise UserError(f"{folder}: holds no images for split={split}")
    return sorted(files)


def _label_of_folder(file: str, index_of: dict[str, int], layout: Layout) -> int:
    wnid = file.partition("/")[0]
    if wnid not in index_of:
        raise UserError(
            f"{layout.images / 'train' / wnid}: class folder is not in {layout.synset_mapping}; "
            "add its line there or take the folder away"
        )
    return index_of[wnid]


def _annotations(
    layout: Layout, split: str, files: list[str], index_of: dict[str, int]
) -> list[tuple[int, np.ndarray]]:
    """(label, boxes) of each file, from its XML or, where there is no XML folder, from the CSV.

    A training image may have no annotation: only 544,546 of them do.
    """
    folder = layout.annotations / split
    solution = layout.solutions / f"LOC_{split}_solution.csv"
    if folder.is_dir():
        by_id = {}
        for file in files:
            xml = folder / Path(file).with_suffix(".xml")
            if xml.is_file():
                by_id[Path(file).stem] = read_xml_boxes(xml)
        source: Path = folder
    elif solution.is_file():
        by_id = read_solution_csv(solution)
        source = solution
    else:
        raise UserError(f"split={split}: no boxes, neither {folder} nor {solution} is there")

    annotations = []
    for file in files:
        objects = by_id.get(Path(file).stem, [])
        names = {wnid for wnid, _ in objects}
        if split == "val" and len(names) != 1:
            found = ", ".join(sorted(names)) or "none"
            raise UserError(f"{source}: {Path(file).stem} must have one class, has {found}")
        for wnid in names:
            if wnid not in index_of:
                raise UserError(
                    f"{source}: class {wnid} of {Path(file).stem} is not in {layout.synset_mapping}"
                )
        label = index_of[names.pop()] if names else NO_LABEL
        boxes_M4 = np.array([box for _, box in objects], np.int32).reshape(-1, 4)
        annotations.append((label, boxes_M4))
    return annotations


def read_xml_boxes(path: Path) -> list[tuple[str, tuple[int, int, int, int]]]:
    """(WordNet id, box) of every object of one annotation file (PASCAL VOC form)."""
    try:
        objects = ET.parse(path).getroot().iter("object")
        return [
            (
                _text(obj, "name"),
                (
                    int(float(_text(obj, "bndbox/xmin"))),
                    int(float(_text(obj, "bndbox/ymin"))),
                    int(float(_text(obj, "bndbox/xmax"))),
                    int(float(_text(obj, "bndbox/ymax"))),
                ),
            )
            for obj in objects
        ]
    except (ET.ParseError, ValueError) as error:
        raise UserError(f"{path}: not a readable annotation ({error}); restore the file") from None


def _text(element: ET.Element, tag: str) -> str:
    text = element.findtext(tag)
    if text is None:
        raise ValueError(f"an object has no <{tag}>")
    return text


def read_solution_csv(path: Path) -> dict[str, list[tuple[str, tuple[int, int, int, int]]]]:
    """Objects by image id from ``ImageId,PredictionString`` lines (``wnid x0 y0 x1 y1 ...``)."""
    by_id = {}
    with path.open(newline="", encoding="utf-8") as file:
        for number, row in enumerate(csv.DictReader(file), start=2):
            try:
                words = row["PredictionString"].split()
                by_id[row["ImageId"]] = [
                    (
                        words[i],
                        (
                            int(words[i + 1]),
                            int(words[i + 2]),
                            int(words[i + 3]),
                            int(words[i + 4]),
                        ),
                    )
                    for i in range(0, len(words), 5)
                ]
            except (KeyError, IndexError, ValueError, AttributeError):
                raise UserError(
                    f"{path}, line {number}: expected ImageId,PredictionString with "
                    "'wnid x0 y0 x1 y1' repeated"
                ) from None
    return by_id
