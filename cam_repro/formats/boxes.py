"""Read true boxes from folders of PASCAL VOC XML files, or from Kaggle's solution files.

Reading 50,000 XML files takes seconds, so what a folder holds is kept as one table in a cache
folder. The table is used as long as names, sizes and modification times of the XML files stay the
same; when any of them changes, it is made anew.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cam_repro.errors import UserError
from cam_repro.files import atomic_path, refuse_special
from cam_repro.formats.names import files_below, image_id, is_image, is_junk, is_xml
from cam_repro.formats.submissions import KAGGLE_HEADER
from cam_repro.formats.text import CsvTable, number, whole_number
from cam_repro.progress import Bar
from cam_repro.truth import RaggedBoxes
from cam_repro.types import Box

log = logging.getLogger(__name__)

CACHE_VERSION = 5
"""Version of the cached table; tables of other versions are not used."""

_ENCODING = re.compile(rb"""\s*<\?xml[^>]*?encoding\s*=\s*["']([\w.:-]+)["']""", re.ASCII)


class Record(NamedTuple):
    """Hold the annotation of one image.

    path: of the annotation, without suffix. size: (width, height), (0, 0) where not stated.
    objects: WordNet id and box of each object. rounded: whether a coordinate was no whole number.
    difficult: of each object, whether it is marked as such; none where the format has no mark.
    """

    path: str
    size: tuple[int, int]
    objects: list[tuple[str, Box]]
    rounded: bool = False
    difficult: Sequence[bool] = ()


@dataclass(frozen=True, eq=False)
class Annotations:
    """Hold the annotations of N images: their sizes, and class and box of every object.

    paths: the annotation files' paths below their folder, without suffix, or the image names of a
        solution file; in the order of ``ids``, which are sorted.
    sizes_N2: width and height as the annotation states them, int32; 0 where it does not.
    wnids_T: WordNet id of every object, text, in the order of ``boxes``.
    rounded_N: bool, whether coordinates were fractions, which are rounded to whole pixels.
    difficult_T: bool, whether an object is marked as difficult to recognize, as VOC does.
    """

    paths: list[str]
    sizes_N2: np.ndarray
    wnids_T: np.ndarray
    boxes: RaggedBoxes
    rounded_N: np.ndarray
    difficult_T: np.ndarray

    @cached_property
    def ids(self) -> list[str]:
        """Give the image ids: names without folder, or ``paths`` where such names repeat."""
        return _ids_of(self.paths)

    @cached_property
    def row_of(self) -> dict[str, int]:
        """Give the row of each image id."""
        return {own_id: row for row, own_id in enumerate(self.ids)}

    @cached_property
    def version(self) -> str:
        """Compute a SHA-256 of ids, classes and boxes: the same for equal annotations."""
        digest = hashlib.sha256(_bytes("\n".join(self.ids)))
        digest.update(_bytes("\n".join(self.wnids_T.tolist())))
        for array in (self.boxes.values_T4, self.boxes.offsets):
            digest.update(np.ascontiguousarray(array, np.int64).tobytes())
        return digest.hexdigest()

    def ids_for(self, files: Sequence[str]) -> list[str]:
        """Find the annotation of each image file; give its id, or "" where there is none.

        files: paths of images below their folder.

        An image has the annotation with the same path (``cat/001``). If there is none, it has the
        one with the same name in any folder (``val_1.xml`` for ``n01751748/val_1``), provided
        that no other image and no other annotation has this name.
        """
        by_path = dict(zip(self.paths, self.ids, strict=True))
        names = [path.rpartition("/")[2] for path in self.paths]
        by_name = dict(zip(names, self.ids, strict=True))
        wanted = [image_id(file, False) for file in files]
        for counts in (Counter(names), Counter(wanted)):
            for name, count in counts.items():
                if count > 1:
                    by_name.pop(name, None)
        return [
            by_path.get(image_id(file, True)) or by_name.get(name, "")
            for file, name in zip(files, wanted, strict=True)
        ]

    def select(self, ids: Sequence[str]) -> Annotations:
        """Take the annotations of the images ``ids``, in that order.

        An id that is not in ``self.ids`` gets no objects and the size 0, 0. Ids may repeat. They
        become the result's ``paths``.
        """
        rows_N = np.array([self.row_of.get(wanted, -1) for wanted in ids], np.int64)
        sizes_N2 = np.zeros((len(ids), 2), np.int32)
        sizes_N2[rows_N >= 0] = self.sizes_N2[rows_N[rows_N >= 0]]
        rounded_N = np.append(self.rounded_N, False)[rows_N]  # -1 picks the False at the end
        places_T = self.boxes.places_of(rows_N)
        return Annotations(
            paths=list(ids),
            sizes_N2=sizes_N2,
            wnids_T=self.wnids_T[places_T],
            boxes=self.boxes.select(rows_N),
            rounded_N=rounded_N,
            difficult_T=self.difficult_T[places_T],
        )


def read_annotations(
    source: Path, cache: Path | None = None, broken: list[str] | None = None
) -> Annotations:
    """Read a folder of XML files (flat, or one sub-folder a class) or a Kaggle solution file.

    cache: folder in which the table of an XML folder is kept; None keeps none.
    broken: a list that takes a message for each unreadable file or line, which is then left out.

    Raises UserError where ``source`` does not exist and, if ``broken`` is None, for the first
    unreadable file or line.
    """
    if source.is_dir():
        return _read_folder(source, cache, broken)
    if source.is_file():
        return _table(_read_solution(source, broken))
    raise UserError(f"{source}: no such folder or file; it should hold the true boxes")


def _table(records: Iterable[Record]) -> Annotations:
    records = list(records)
    ids = _ids_of([record.path for record in records])
    order = sorted(range(len(records)), key=ids.__getitem__)
    sorted_records = [records[row] for row in order]
    objects = [item for record in sorted_records for item in record.objects]
    counts = [len(record.objects) for record in sorted_records]
    difficult = [r.difficult or [False] * n for r, n in zip(sorted_records, counts, strict=True)]
    return Annotations(
        paths=[record.path for record in sorted_records],
        sizes_N2=np.array([record.size for record in sorted_records], np.int32).reshape(-1, 2),
        wnids_T=np.array([wnid for wnid, _ in objects], str),
        boxes=RaggedBoxes.from_counts(np.array([box for _, box in objects], np.int32), counts),
        rounded_N=np.array([record.rounded for record in sorted_records], bool),
        difficult_T=np.array([each for of_image in difficult for each in of_image], bool),
    )


def _ids_of(paths: list[str]) -> list[str]:
    """Give the names without folders where they are distinct, else ``paths`` itself."""
    names = [path.rpartition("/")[2] for path in paths]
    return names if len(set(names)) == len(names) else paths


def _bytes(text: str) -> bytes:
    """Encode text for a hash; it may be a file name that is not UTF-8."""
    return text.encode("utf-8", "surrogateescape")


def _whole(text: str) -> int:
    """Read a whole number of pixels, also written ``12.0``; ValueError for anything else."""
    value = whole_number(text.strip())
    if value is None:
        raise ValueError(f"{text.strip()!r} is not a whole number below 2^31")
    return value


# --- XML -----------------------------------------------------------------------------------------


def _read_folder(folder: Path, cache: Path | None, broken: list[str] | None) -> Annotations:
    deeper: list[str] = []
    files = sorted(_xml_files(folder, deeper), key=lambda file: file[0])
    if deeper:
        log.info(
            "%s: %d annotations lie deeper than in one sub-folder and are not read (the first: %s)",
            folder,
            len(deeper),
            deeper[0],
        )
    signature = hashlib.sha256(repr((CACHE_VERSION, files)).encode()).hexdigest()
    place = None
    if cache is not None:
        name = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
        place = cache / f"annotations-{name}.npz"
        kept = _load(place, signature)
        if kept is not None:
            return kept
    bar = Bar(len(files), f"indexing {folder.name} boxes", " files", iterable=files, leave=False)
    faults: list[str] = []
    records = []
    paths = Counter(_without_suffix(name) for name, _, _ in files)
    for name, _, _ in bar:
        try:
            if paths[_without_suffix(name)] > 1:
                raise UserError(f"{folder / name}: there is .xml and .XML of it; take one away")
            records.append(_read_xml(folder, name))
        except UserError as error:
            if broken is None:
                raise
            faults.append(str(error))
    if broken is not None:
        broken += faults
    table = _table(records)
    if place is not None and not faults:
        try:
            _save(place, signature, table)
        except (OSError, UserError) as error:  # without it the next run is slower, but right
            log.warning("the table of %s is not kept: %s", folder, error)
    return table


def _xml_files(folder: Path, deeper: list[str]) -> Iterator[tuple[str, int, int]]:
    """Give path, size and modification time of each XML file in a folder and its sub-folders.

    deeper: takes the paths of XML files in folders of sub-folders, which are not read.
    """
    with os.scandir(folder) as entries:
        for entry in entries:
            if is_xml(entry.name):
                yield entry.name, *_size_and_time(entry)
            elif entry.is_dir() and not is_junk(entry.name):
                with os.scandir(entry.path) as inner:
                    for file in inner:
                        path = f"{entry.name}/{file.name}"
                        if is_xml(file.name):
                            yield path, *_size_and_time(file)
                        elif not is_image(file.name) and file.is_dir() and not is_junk(file.name):
                            below = files_below(Path(file.path), is_xml)
                            deeper += [f"{path}/{name}" for name in below]


def _size_and_time(entry: os.DirEntry[str]) -> tuple[int, int]:
    try:
        about = entry.stat()
    except OSError:  # a broken link; the error message comes when the file is read
        return -1, 0
    return about.st_size, about.st_mtime_ns


def _read_xml(folder: Path, name: str) -> Record:
    """Read one annotation file in PASCAL VOC form; ``name`` is its path below ``folder``."""
    try:
        refuse_special(folder / name)
        root = _parse((folder / name).read_bytes())
        size = root.find("size")
        width, height = (
            (_number(size, "width"), _number(size, "height")) if size is not None else (0, 0)
        )
        if min(width, height) < 0:
            raise ValueError(f"<width> {width:g} and <height> {height:g} are no size")
        objects: list[tuple[str, Box]] = []
        difficult: list[bool] = []
        rounded = False
        for element in root.iter("object"):
            boxes = element.findall("bndbox")
            if not boxes:
                raise ValueError("an object has no <bndbox>")
            for box in boxes:
                corners = [_number(box, tag) for tag in ("xmin", "ymin", "xmax", "ymax")]
                x0, y0, x1, y1 = map(_nearest, corners)
                rounded |= corners != [x0, y0, x1, y1]
                objects.append((_text(element, "name"), (x0, y0, x1, y1)))
                difficult.append((element.findtext("difficult") or "").strip() == "1")
    # An XML file that declares an unknown encoding raises LookupError.
    except (ET.ParseError, ValueError, LookupError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(
            f"{folder / name}: not a readable annotation ({reason}); restore the file"
        ) from None
    stated = _nearest(width), _nearest(height)
    return Record(_without_suffix(name), stated, objects, rounded, difficult)


def _without_suffix(name: str) -> str:
    return name[: -len(".xml")]


def _parse(content: bytes) -> ET.Element:
    """Parse an annotation; tags come in small letters and without the name of a namespace."""
    try:
        root = ET.fromstring(content)
    except ET.ParseError:
        if not _ENCODING.match(content):
            content.decode()  # raises another error for text that is not UTF-8, which says so
        raise
    except ValueError:  # an encoding that the parser does not know, but Python may: GB 2312
        declared = _ENCODING.match(content)
        if declared is None:
            raise
        root = ET.fromstring(content.decode(declared[1].decode()))
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2].lower()
    if root.tag != "annotation":
        raise ValueError(f"it is of <{root.tag}>, not of <annotation>")
    return root


def _text(element: ET.Element, tag: str) -> str:
    text = (element.findtext(tag) or "").strip()
    if not text:
        raise ValueError(f"no <{tag}> in <{element.tag}>")
    return text


def _number(element: ET.Element, tag: str) -> float:
    text = _text(element, tag)
    value = number(text)
    if value is None:
        raise ValueError(f"<{tag}> {text!r} is not a number below 2^31")
    return value


def _nearest(value: float) -> int:
    """Round a coordinate to the nearest pixel, halves up; two files of VOC 2012 have fractions."""
    return math.floor(value + 0.5)


# --- the cached table ----------------------------------------------------------------------------


def _save(place: Path, signature: str, table: Annotations) -> None:
    with atomic_path(place) as path:
        np.savez(
            path,
            signature=np.array(signature),
            paths=np.array(table.paths, str),
            sizes_N2=table.sizes_N2,
            wnids_T=table.wnids_T,
            boxes_T4=table.boxes.values_T4,
            offsets=table.boxes.offsets,
            rounded_N=table.rounded_N,
            difficult_T=table.difficult_T,
        )


def _load(place: Path, signature: str) -> Annotations | None:
    """Load the cached table; None where it is missing, damaged, or made of other files."""
    try:
        with np.load(place) as kept:
            if str(kept["signature"]) != signature:
                return None
            paths: list[str] = kept["paths"].tolist()
            sizes_N2, wnids_T = kept["sizes_N2"], kept["wnids_T"]
            boxes = RaggedBoxes(kept["boxes_T4"], kept["offsets"])
            rounded_N, difficult_T = kept["rounded_N"], kept["difficult_T"]
    except Exception:  # a damaged file raises anything, from BadZipFile to SyntaxError
        return None
    return Annotations(paths, sizes_N2, wnids_T, boxes, rounded_N, difficult_T)


# --- Kaggle's solution files ---------------------------------------------------------------------


def _read_solution(path: Path, broken: list[str] | None) -> Iterator[Record]:
    """Read the records of ``ImageId,PredictionString`` lines (``wnid x0 y0 x1 y1 ...``)."""
    try:
        table = CsvTable(path, "solution", KAGGLE_HEADER)
    except UserError as error:
        if broken is None:
            raise
        broken.append(str(error))
        return
    seen: set[str] = set()
    for row, (image, text) in enumerate(zip(*table.cells, strict=True)):
        try:
            if not image:
                raise ValueError("the image has no name")
            if image in seen:
                raise ValueError(f"image {image} comes a second time")
            objects = _objects(text.split())
        except ValueError as error:
            message = f"{table.place(row)}: {error}; expected 'wnid x0 y0 x1 y1' for each object"
            if broken is None:
                raise UserError(message) from None
            broken.append(message)
        else:
            seen.add(image)
            yield Record(image, (0, 0), objects)


def _objects(words: list[str]) -> list[tuple[str, Box]]:
    if len(words) % 5:
        raise ValueError(f"{len(words)} words")
    objects: list[tuple[str, Box]] = []
    for i in range(0, len(words), 5):
        x0, y0, x1, y1 = map(_whole, words[i + 1 : i + 5])
        objects.append((words[i], (x0, y0, x1, y1)))
    return objects
