"""Find the parts of an ILSVRC tree on disk, in whichever layout it was unpacked.

The layouts are

Kaggle
    ``[ILSVRC/]Data/CLS-LOC/{train/<wnid>,val,test}``, ``Annotations/CLS-LOC``,
    ``ImageSets/CLS-LOC``, ``LOC_synset_mapping.txt``, ``LOC_{train,val}_solution.csv``
official archives, unpacked
    ``train/<wnid>``, a flat ``val``, ``test``, boxes in ``bbox/{train,val}``, and the development
    kit with ``meta.mat`` and ``ILSVRC2012_validation_ground_truth.txt``
ImageFolder
    as torchvision and most training scripts want it: ``{train,val}/<wnid>``

and any mixture of them: each part is looked for by itself, unless the user names it (``Places``).
The root may be the folder that holds ``ILSVRC``, ``ILSVRC`` itself, or ``Data/CLS-LOC`` in it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from cam_repro.data.ilsvrc.listing import class_folders
from cam_repro.data.image_set import SPLITS
from cam_repro.data.likely import likely
from cam_repro.errors import UserError
from cam_repro.files import at_home
from cam_repro.formats.names import is_xml

_IMAGE_FOLDERS = ("{split}", "ILSVRC2012_img_{split}", "images/{split}")
_BOX_FOLDERS = (
    "bbox/{split}",
    "boxes/{split}",
    "bbox_{split}",
    "annotations/{split}",
    "Annotations/{split}",
    "ILSVRC2012_bbox_{split}*/{split}",
    "ILSVRC2012_bbox_{split}*",
)
_NAMED_BOX_FOLDERS = (
    "{split}",
    "CLS-LOC/{split}",
    "Annotations/CLS-LOC/{split}",
    "ILSVRC/Annotations/CLS-LOC/{split}",
    *_BOX_FOLDERS,
)
_SOLUTION = "LOC_{split}_solution.csv"
_KIT_FOLDERS = ("", "data", "ILSVRC20*devkit*", "ILSVRC20*devkit*/data", "devkit", "devkit/data")
_META = ("meta.mat", "meta_clsloc.mat")
_VAL_LABELS = ("ILSVRC20*_validation_ground_truth.txt",)
_BLACKLIST = ("ILSVRC20*_validation_blacklist.txt",)

_FOLDERS_TRIED = 10
"""In how many class folders XML files are looked for: if any folder has some, the first ones do."""


@dataclass(frozen=True)
class Places:
    """Hold the paths of parts of a tree that the user names; parts that are None are looked for.

    train, val, test: folders of images. All images there are taken, even if a list of the tree
        leaves some out.
    boxes: a folder of XML files; or a folder that holds folders ``train`` or ``val`` of them (for a
        split that it does not hold, boxes are looked for); or a solution file.
    devkit: the development kit's folder.
    blacklist: a file of image numbers; or ``none``: use no blacklist, even if the kit has one.
    """

    train: str | None = None
    val: str | None = None
    test: str | None = None
    boxes: str | None = None
    devkit: str | None = None
    blacklist: str | None = None


@dataclass(frozen=True)
class Layout:
    """Hold the paths of a tree's parts; a part that was not found is None or not in its dict.

    is_kaggle: whether the images are where Kaggle's archive has them.
    images, boxes, lists, solutions: by split. images: the folder. boxes: an XML folder, else the
        solution file. lists: files that list the images. solutions: solution files.
    synset_mapping: ``LOC_synset_mapping.txt``. meta: the development kit's ``meta.mat``.
    val_labels: the file of the validation images' development-kit ids, in file-name order.
    blacklist: the file of the blacklisted validation images' numbers.
    """

    root: Path
    is_kaggle: bool
    images: dict[str, Path]
    boxes: dict[str, Path]
    lists: dict[str, Path]
    solutions: dict[str, Path]
    synset_mapping: Path | None
    meta: Path | None
    val_labels: Path | None
    blacklist: Path | None

    @cached_property
    def _class_folders(self) -> dict[str, list[str]]:
        return {}

    def class_folders(self, split: str) -> list[str]:
        """List the class folders of a split (``listing.class_folders``), which are looked for once.

        There are none where the images lie side by side, or where the split is missing.
        """
        if split not in self._class_folders:
            folder = self.images.get(split)
            self._class_folders[split] = [] if folder is None else class_folders(folder)
        return self._class_folders[split]

    @property
    def kind(self) -> str:
        """Name the layout by where the images are."""
        if self.is_kaggle:
            return "Kaggle"
        # Only validation images tell: training images are in class folders in all layouts.
        split = "val" if "val" in self.images else "train"
        return "ImageFolder" if self.class_folders(split) else "official archives"

    def describe(self, labels: str | None, boxes: Path | None, with_boxes: bool = True) -> str:
        """Say in a few words which layout it is, and where labels and boxes of a split come from.

        with_boxes: whether boxes were asked for; if not, the text does not mention them.
        """
        boxes_from = None if boxes is None else self.short(boxes)
        words = [f"layout {self.kind}"]
        if labels is not None and labels == boxes_from:
            words.append(f"labels and boxes from {labels}")
        else:
            words += [f"labels from {labels}"] if labels is not None else []
            if with_boxes:
                words.append("no boxes" if boxes_from is None else f"boxes from {boxes_from}")
        return ", ".join(words)

    def short(self, path: Path) -> str:
        """Give a path as text, relative to the root if it is below it."""
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)


def find_layout(root: Path, places: Places | None = None) -> Layout:
    """Find the parts of the tree at ``root``.

    Raises UserError where ``root`` is not a folder, where one of ``places`` does not exist or does
    not hold what it should, and where no images were found.
    """
    places = places or Places()
    if not root.is_dir():
        raise UserError(f"data.root={root}: no such folder; give the folder that holds the data")
    inner = _kaggle_folder(root)
    tops = [root] if inner == root else [root, inner]
    if inner.resolve().name == "ILSVRC" and (inner / "Data").is_dir():
        tops.append(inner.resolve().parent)  # Kaggle's CSV and mapping files are beside ILSVRC
    images, named_images = {}, set()
    for split in SPLITS:
        named = getattr(places, split)
        if named is not None:
            images[split] = _named(f"data.{split}", named, file_too=False)
            named_images.add(split)
        else:
            candidates = [inner / "Data" / "CLS-LOC" / split, *_glob(root, _IMAGE_FOLDERS, split)]
            found = next((path for path in candidates if path.is_dir()), None)
            if found is not None:
                images[split] = found
    if not images:
        raise UserError(
            f"data.root={root}: holds no images; looked for [ILSVRC/]Data/CLS-LOC/<split>, "
            "<split>, ILSVRC2012_img_<split> and images/<split> with train, val, test as split; "
            f"name the folders with data.train=, data.val=, data.test={likely(root, 'ilsvrc')}"
        )
    kits = [kit for top in tops for kit in _kits(top)]
    if places.devkit is not None:
        kits = _kits(_named("data.devkit", places.devkit, file_too=False))
        if _first_file(kits, (*_META, *_VAL_LABELS)) is None:
            raise UserError(
                f"data.devkit={places.devkit}: holds neither {_META[0]} nor {_VAL_LABELS[0]}, nor "
                "a folder data with them; give the folder of the development kit"
            )
    lists = _find_lists(inner / "ImageSets" / "CLS-LOC")
    solutions = {split: _first_file(tops, (_SOLUTION.format(split=split),)) for split in SPLITS}
    return Layout(
        root=root,
        is_kaggle=_is_kaggle(images, inner / "Data" / "CLS-LOC"),
        images=images,
        boxes=_find_boxes(root, inner, tops, images, places),
        lists={split: path for split, path in lists.items() if split not in named_images},
        solutions={split: path for split, path in solutions.items() if path is not None},
        synset_mapping=_first_file(tops, ("LOC_synset_mapping.txt",)),
        meta=_first_file(kits, _META),
        val_labels=_first_file(kits, _VAL_LABELS),
        blacklist=_find_blacklist(kits, places.blacklist),
    )


def _find_blacklist(kits: list[Path], named: str | None) -> Path | None:
    if named == "none":
        return None
    if named is None:
        return _first_file(kits, _BLACKLIST)
    if not at_home(named).is_file():
        raise UserError(f"data.blacklist={named}: no such file; give one, or none")
    return at_home(named)


def _kaggle_folder(root: Path) -> Path:
    """Give the folder where ``Data``, ``Annotations`` and ``ImageSets`` are in Kaggle's layout."""
    if (root / "ILSVRC" / "Data").is_dir():
        return root / "ILSVRC"
    here = root.resolve()
    return here.parents[1] if here.parts[-2:] == ("Data", "CLS-LOC") else root


def _is_kaggle(images: dict[str, Path], kaggle: Path) -> bool:
    return any(path.resolve().parent == kaggle.resolve() for path in images.values())


def _find_boxes(
    root: Path, inner: Path, tops: list[Path], images: dict[str, Path], places: Places
) -> dict[str, Path]:
    named: dict[str, Path | None] = {}
    if places.boxes is not None:
        place = _named("data.boxes", places.boxes, file_too=True)
        if place.is_dir():
            for split in SPLITS:
                candidates = _glob(place, _NAMED_BOX_FOLDERS, split)
                named[split] = _boxes_among(candidates, [place], split)
        if not any(named.values()):
            if place.is_dir() and not _holds_xml(place):
                raise UserError(
                    f"data.boxes={places.boxes}: holds no XML files; give a folder of them, one "
                    "with train or val folders of them, or a solution file"
                )
            # The name does not tell the split. Whoever reads it matches annotations to images.
            return {split: place for split in ("train", "val")}
    found = {}
    for split in SPLITS:
        candidates = [
            inner / "Annotations" / "CLS-LOC" / split,
            *_glob(root, _BOX_FOLDERS, split),
            # bbox_val_v3.tgz may have been unpacked into the folder of the images.
            *([images[split]] if split in images else []),
        ]
        boxes = named.get(split) or _boxes_among(candidates, tops, split)
        if boxes is not None:
            found[split] = boxes
    return found


def _boxes_among(folders: list[Path], tops: list[Path], split: str) -> Path | None:
    """Find the first of the folders that holds XML files, else a solution file in ``tops``."""
    xml = next((path for path in folders if path.is_dir() and _holds_xml(path)), None)
    return xml or _first_file(tops, (_SOLUTION.format(split=split),))


def _holds_xml(folder: Path) -> bool:
    """Tell whether a folder or one of its first sub-folders holds an XML file."""
    folders = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_xml(entry.name):
                return True
            if entry.is_dir() and not entry.name.startswith("."):
                folders.append(entry.path)
    for path in sorted(folders)[:_FOLDERS_TRIED]:
        with os.scandir(path) as entries:
            if any(is_xml(entry.name) for entry in entries):
                return True
    return False


def _find_lists(folder: Path) -> dict[str, Path]:
    names = {"train": "train_cls.txt", "val": "val.txt", "test": "test.txt"}
    return {split: folder / name for split, name in names.items() if (folder / name).is_file()}


def _kits(folder: Path) -> list[Path]:
    return [path for place in _KIT_FOLDERS for path in _glob(folder, (place,)) if path.is_dir()]


def _glob(root: Path, patterns: tuple[str, ...], split: str = "") -> list[Path]:
    """Give the paths below ``root`` that match, in the order of the patterns, then sorted.

    A pattern without ``*`` gives its path, whether it exists or not.
    """
    filled = [pattern.format(split=split) for pattern in patterns]
    return [path for p in filled for path in (sorted(root.glob(p)) if "*" in p else [root / p])]


def _first_file(folders: list[Path], patterns: tuple[str, ...]) -> Path | None:
    files = (path for folder in folders for path in _glob(folder, patterns) if path.is_file())
    return next(files, None)


def _named(key: str, value: str, file_too: bool) -> Path:
    path = at_home(value)
    if not (path.is_dir() or (file_too and path.is_file())):
        raise UserError(f"{key}={value}: no such folder{' or file' if file_too else ''}")
    return path
