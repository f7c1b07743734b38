"""Name the classes of a data set, and convert between the three ways to name one.

WordNet id
    ``n01751748``: names the class in folders, annotations and mapping files.
class index
    0-based position among the sorted WordNet ids of the data set: what networks (torchvision's,
    Caffe's) put out, and what every array of this package holds. Names that are whole numbers
    stand in the order of the numbers (``in_class_order``).
development-kit id
    1 to 1000, ``ILSVRC2012_ID`` in ``meta.mat`` and the same number under other years' names in
    the later kits: what ``ILSVRC2012_validation_ground_truth.txt`` and submissions hold. The kit
    numbers the classes in an order of its own: no id is class index + 1. ``n01751748``, the sea
    snake, has class index 65 and id 490.

A folder or object may also be called by a class index itself, as in ImageNetV2, whose folders are
0 to 999: ``are_indices`` and ``ClassTable.find``.

The 1,000 classes of ILSVRC (CLS-LOC, the same from 2012 to 2017) are shipped as
``ilsvrc_classes.csv``: WordNet ids and names of ``LOC_synset_mapping.txt``, ids of the kits'
``map_clsloc.txt``. A data set with exactly these classes has these ids, wherever it was read from.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from numbers import Integral
from pathlib import Path
from typing import Any, cast

import numpy as np

from cam_repro.errors import UserError, did_you_mean
from cam_repro.matlab import read_structs
from cam_repro.types import NO_LABEL

SHIPPED = Path(__file__).with_name("ilsvrc_classes.csv")
SHIPPED_FROM = "the shipped table of ILSVRC's classes"
MOST_CLASSES = 1_000_000
"""How many classes a truth may have that does not name them."""
NO_IDS = "none, as these are not ILSVRC's 1,000 classes"

_WHOLE = re.compile(r"\d{1,9}", re.ASCII)
_WNID = re.compile(r"n\d{8}", re.ASCII)
_BETWEEN = re.compile(r"[\s,;|]+")
_HEADERS = {
    *("category", "class", "class_id", "class_name", "classes", "code", "folder", "id", "ids"),
    *("imagenet_id", "label", "labels", "name", "synset", "synset_id", "synsets", "wnid", "wnids"),
    *("wordnet", "wordnet_id"),
}
"""What the first column of a list of classes may be called, in small letters."""

_ID_FIELD = re.compile(r"ILSVRC20\d\d_(clsloc_)?ID", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class ClassTable:
    """Hold the classes of a data set in class-index order (sorted WordNet ids).

    wnids: WordNet ids, distinct and in the order of ``in_class_order``.
    names: the first synonym of each class, or its WordNet id where no name is known. Two classes
        may share a name: ILSVRC has two cranes and two maillots.
    devkit_ids_C: development-kit id by class index, int32 (C,); None where the classes have none.
    ids_from: says in a manifest where the development-kit ids come from.
    is_named: false if no more is known of the classes than the highest index (``unnamed_classes``).
    """

    wnids: tuple[str, ...]
    names: tuple[str, ...]
    devkit_ids_C: np.ndarray | None
    ids_from: str
    is_named: bool = True

    def __post_init__(self) -> None:
        # Sets that older versions packed have a/10 before a/2.
        orders = (in_class_order(set(self.wnids)), sorted(set(self.wnids)))
        assert list(self.wnids) in orders, "sorted and distinct"
        assert len(self.names) == len(self.wnids)
        if self.devkit_ids_C is not None:
            assert self.devkit_ids_C.shape == (len(self.wnids),)
            assert len(set(self.devkit_ids_C.tolist())) == len(self.wnids)
            assert (self.devkit_ids_C >= 1).all()

    def __len__(self) -> int:
        return len(self.wnids)

    @cached_property
    def _index_by_wnid(self) -> dict[str, int]:
        return {wnid: index for index, wnid in enumerate(self.wnids)}

    @cached_property
    def _index_by_label(self) -> np.ndarray:
        """Give the class index of each submission label, int32; ``NO_LABEL`` in the gaps."""
        labels_C = self.submission_labels_C
        indices = np.full(int(labels_C.max(initial=0)) + 1, NO_LABEL, np.int32)
        indices[labels_C] = np.arange(len(self), dtype=np.int32)
        return indices

    def get(self, wnid: str) -> int | None:
        """Give the class index of a WordNet id; None where it is not a class of this data set."""
        return self._index_by_wnid.get(wnid)

    def find(self, name: str) -> int | None:
        """Give the class index of what a folder or an object is called; None if of no class.

        It is called by its WordNet id or, if the classes are ILSVRC's, by its class index.
        """
        index = self.get(name)
        if index is None and _WHOLE.fullmatch(name) and self.wnids == ilsvrc_classes().wnids:
            return int(name) if int(name) < len(self) else None
        return index

    def index_of(self, wnid: str) -> int:
        """Give the class index of a WordNet id; UserError where it is no class of this data set."""
        index = self.get(wnid)
        if index is None:
            raise UserError(
                f"class {wnid}: not among the {len(self):,} classes of the data set; "
                "check the WordNet id or the data set's list of classes"
            )
        return index

    @property
    def submission_labels_C(self) -> np.ndarray:  # noqa: N802
        """Give the label to write to a submission for each class index, int32 (C,).

        These are the development-kit ids where the classes have them, else class index + 1.
        """
        if self.devkit_ids_C is not None:
            return self.devkit_ids_C
        return np.arange(1, len(self) + 1, dtype=np.int32)

    @property
    def labels_are(self) -> str:
        """Say in a manifest what ``submission_labels_C`` holds."""
        if self.devkit_ids_C is None:
            return "class index + 1"
        return "ILSVRC2012_ID of the development kit"

    def indices_of_labels(self, labels_X: np.ndarray) -> np.ndarray:
        """Turn submission labels (integers, any shape) into class indices, int32, same shape.

        The inverse of ``submission_labels_C``. A number that is no label becomes ``NO_LABEL``.
        """
        labels_X = np.asarray(labels_X)
        assert labels_X.size == 0 or np.issubdtype(labels_X.dtype, np.integer), "whole numbers"
        known_X = (labels_X >= 0) & (labels_X < len(self._index_by_label))
        return self._index_by_label[np.where(known_X, labels_X, 0).astype(np.int64)]


def are_numbers(names: Iterable[str]) -> bool:
    """Tell whether all names are whole numbers, 0 or more."""
    return all(_WHOLE.fullmatch(name) for name in names)


def in_class_order(names: Iterable[str]) -> list[str]:
    """Sort the names of classes into the order of their indices.

    Whole numbers alone are sorted as numbers (2 before 10), all other names as text. So are names
    of folders in folders of which each ends in a number (``val/2`` before ``val/10``).
    """
    names = list(names)
    if not are_numbers(map(_last_part, names)):
        return sorted(names)
    return sorted(names, key=lambda name: (name.rpartition("/")[0], int(_last_part(name)), name))


def _last_part(name: str) -> str:
    return name.rpartition("/")[2]


def reading_of_numbers(index_of: Mapping[str, int]) -> str:
    """Say how class folders were turned into class indices if their names are, or end in, numbers.

    index_of: class index by name. The words follow "class folders"; "" where there are no numbers.
    """
    number_of = {name: _last_part(name) for name in in_class_order(index_of)}
    if not index_of or not are_numbers(number_of.values()):
        return ""
    other = next((n for n, number in number_of.items() if index_of[n] != int(number)), None)
    if other is None:
        return ", whose numbers are the class indices"
    return f", in the order of their numbers: {other} is class index {index_of[other]}"


def are_indices(names: Iterable[str]) -> bool:
    """Tell whether the names of class folders are indices of ILSVRC's classes, as in ImageNetV2.

    They are if they are whole numbers up to 999, all of them or with gaps. Fewer numbers without a
    gap, from 0 or 1, are those of a data set with classes of its own.
    """
    names = list(names)
    if not names or not are_numbers(names):
        return False
    numbers = sorted(map(int, names))
    if numbers[-1] >= len(ilsvrc_classes()):
        return False
    has_gap = numbers[0] > 1 or numbers != list(range(numbers[0], numbers[0] + len(numbers)))
    return has_gap or len(numbers) == len(ilsvrc_classes())


@cache
def ilsvrc_classes() -> ClassTable:
    """Give the 1,000 classes of ILSVRC CLS-LOC, from the table shipped with the package."""
    with SHIPPED.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))[1:]
    ids_C = np.array([int(row[1]) for row in rows], np.int32)
    ids_C.setflags(write=False)  # cached: all callers share this array
    return ClassTable(
        wnids=tuple(row[0] for row in rows),
        names=tuple(row[2] for row in rows),
        devkit_ids_C=ids_C,
        ids_from=SHIPPED_FROM,
    )


def classes_of(
    wnids: Iterable[str],
    names: Mapping[str, str] | None = None,
    meta: ClassTable | None = None,
) -> ClassTable:
    """Make the class table of a data set that has exactly these WordNet ids.

    wnids: in any order; repeats are dropped.
    names: readable names by WordNet id. A missing name comes from ``meta``, then from the shipped
        table; where neither has it, the WordNet id is the name.
    meta: what ``read_meta`` gave, where the data set has a meta file.

    The development-kit ids come from ``meta``. Without it they come from the shipped table if the
    classes are exactly ILSVRC's 1,000; any other classes, a part of the 1,000 too, have no such
    ids, and their submission labels are class index + 1.

    Raises UserError where ``meta`` lacks a class, or where it contradicts the shipped table on
    ILSVRC's 1,000 classes.
    """
    wnids = tuple(in_class_order(set(wnids)))
    if not wnids:
        raise UserError("no classes: expected one WordNet id or more")
    shipped = ilsvrc_classes()
    known = dict(zip(shipped.wnids, shipped.names, strict=True))
    ids_C, ids_from = None, NO_IDS
    if meta is not None:
        assert meta.devkit_ids_C is not None, "meta: a table read by read_meta"
        known |= dict(zip(meta.wnids, meta.names, strict=True))
        missing = [wnid for wnid in wnids if meta.get(wnid) is None]
        if missing:
            raise UserError(
                f"{meta.ids_from}: has no class {missing[0]}; it belongs to another data set"
            )
        ids_C = meta.devkit_ids_C[[meta.index_of(wnid) for wnid in wnids]]
        ids_from = meta.ids_from
        _check_against_shipped(wnids, ids_C, ids_from)
    elif wnids == shipped.wnids:
        ids_C, ids_from = shipped.devkit_ids_C, shipped.ids_from
    known |= dict(names or {})
    return ClassTable(wnids, tuple(known.get(wnid, wnid) for wnid in wnids), ids_C, ids_from)


def unnamed_classes(count: int) -> ClassTable:
    """Make the table of classes of which the indices, 0 to ``count`` - 1, are all that is known.

    Raises UserError for more than ``MOST_CLASSES``.
    """
    if count > MOST_CLASSES:
        raise UserError(f"class {count - 1}: is no class index, they are below {MOST_CLASSES:,}")
    table = classes_of([f"class{index:05d}" for index in range(count)])
    return replace(table, names=tuple(f"class {i}" for i in range(count)), is_named=False)


def find_class(
    wanted: str | Integral | int, names: Sequence[str], wnids: Sequence[str] = ()
) -> int:
    """Find a class by its index, its WordNet id or its name, in capitals or not.

    wanted: ``index:7`` and ``name:7`` say which of both a number in a text is. names: of the
    classes, by class index. wnids: their WordNet ids, if they have any.
    Raises UserError for a name that no class has, with the nearest ones, or that several have; and
    for a number in a text that is the index of one class and the name of another.
    """
    if isinstance(wanted, bool) or not isinstance(wanted, str | Integral):
        raise UserError(f"class {wanted!r}: give a name, a WordNet id or an index")
    if isinstance(wanted, Integral):
        return _class_at(int(wanted), len(names))
    kind, colon, rest = wanted.partition(":")
    if not colon or kind not in ("index", "name") or _called(wanted, names, wnids):
        kind, rest = "", wanted
    if not rest.strip():
        raise UserError(f"class {wanted!r}: give a name, a WordNet id or an index")
    called = _called(rest, names, wnids)
    if kind == "index" or (not kind and rest.isdecimal()):
        if not _WHOLE.fullmatch(rest):
            raise UserError(f"class {wanted}: is no class index: they are whole numbers from 0")
        others = [] if kind else [index for index in called if index != int(rest)]
        if others and int(rest) < len(names):
            raise UserError(
                f"class {wanted}: class index {others[0]} is called so too: give index:{rest} or "
                f"name:{rest}"
            )
        if not others:
            return _class_at(int(rest), len(names))
    if len(called) == 1:
        return called[0]
    if called:
        listed = " or ".join(f"index:{index}" for index in called)
        raise UserError(f"class {wanted}: {len(called)} classes have this name; give {listed}")
    lower = [name.lower() for name in names]
    part = [name for name in lower if rest.strip().lower() in name][:4]
    advice = f"; did you mean {' or '.join(part)}?" if part else ""
    advice = advice or did_you_mean(rest.strip().lower(), lower) or "; give its index"
    raise UserError(f"class {wanted}: the network has no class of this name{advice}")


def as_typed(wanted: Any) -> Any:
    """Give the class, or the list of them, of a command line as it was typed: numbers as texts.

    A number may be a class's name there, as that of a folder; in a program it is an index.
    """
    if isinstance(wanted, list):
        return [as_typed(one) for one in wanted]
    return str(wanted) if isinstance(wanted, int) and not isinstance(wanted, bool) else wanted


def _class_at(index: int, count: int) -> int:
    """Give a class index back; UserError unless it is one of ``count`` classes."""
    if not 0 <= index < count:
        raise UserError(f"class {index}: the network has {count:,} classes, 0 to {count - 1}")
    return index


def _called(wanted: str, names: Sequence[str], wnids: Sequence[str]) -> list[int]:
    """List the classes of a WordNet id or, if it is none, of a name, in capitals or not."""
    if wanted in wnids:
        return [wnids.index(wanted)]
    lower = wanted.strip().lower()
    return [index for index, name in enumerate(names) if name.lower() == lower]


def read_synset_mapping(path: Path | str) -> ClassTable:
    """Read the classes that ``LOC_synset_mapping.txt`` lists (``n01440764 tench, Tinca tinca``).

    A comma, a semicolon, a tab or a bar may stand in place of the first blank, and quotes do not
    count. Raises UserError for a file that is missing, empty, or not in the order of
    ``in_class_order``, and for one whose first line is a header.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: missing; it maps WordNet ids to class names, one class a line")
    wnids, names = [], {}
    for line in _read_text(path).splitlines():
        if line.strip():
            wnid, *words = _BETWEEN.split(line.replace('"', " ").strip(), maxsplit=1)
            wnids.append(wnid)
            names[wnid] = _first_synonym("".join(words)) or wnid
    if not wnids:
        raise UserError(f"{path}: empty; expected one 'WordNet-id name' a line")
    if _is_header(wnids, names):
        header = " ".join(dict.fromkeys([wnids[0], names[wnids[0]]]))
        raise UserError(f"{path}: its first line, {header}, is a header, not a class: remove it")
    if wnids != in_class_order(set(wnids)):
        raise UserError(f"{path}: WordNet ids must be sorted and distinct; class indices follow it")
    return classes_of(wnids, names)


def _is_header(wnids: list[str], names: Mapping[str, str]) -> bool:
    """Tell whether the first line of a list of classes names its columns.

    It does if all other lines have numbers, and it has none; or if its first word is one of
    ``_HEADERS``, and more than that word tells: a second one, or WordNet ids in all other lines.
    """
    first, others = wnids[0], wnids[1:]
    if others and are_numbers(others) and not are_numbers([first]):
        return True
    tells = names[first] != first or (others and all(map(_WNID.fullmatch, others)))
    return first.lower() in _HEADERS and bool(tells)


def read_meta(path: Path | str) -> ClassTable:
    """Read the classes of a development kit's ``meta.mat`` (2012) or ``meta_clsloc.mat`` (2013 on).

    The file lists WordNet synsets. Those without children are the classes (``num_children`` 0,
    ids 1 to 1000); the others are ancestors of the classes. ``ids_from`` is the path.

    Raises UserError for any other file (``meta_det.mat`` too), and for a file that gives ILSVRC's
    1,000 classes other ids than the shipped table does.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: missing; give the development kit's meta.mat or meta_clsloc.mat")
    try:
        fields = read_structs(path, "synsets")
    except ValueError as error:
        raise UserError(f"{path}: not the development kit's meta.mat ({error})") from None
    id_field = next((field for field in fields if _ID_FIELD.fullmatch(field)), None)
    if id_field is None or "WNID" not in fields:
        raise UserError(
            f"{path}: not the development kit's meta.mat (fields {', '.join(fields) or 'none'}); "
            "expected WNID and ILSVRC2012_ID, as in meta.mat or meta_clsloc.mat"
        )
    ids = _whole_numbers(fields[id_field], path)
    if "num_children" in fields:
        is_class = [number == 0 for number in _whole_numbers(fields["num_children"], path)]
    else:
        is_class = [number <= 1000 for number in ids]
    names_field = next((field for field in ("words", "name") if field in fields), "WNID")
    rows = sorted(
        (str(wnid), number, _first_synonym(words) if isinstance(words, str) else "")
        for wnid, number, words, keep in zip(
            fields["WNID"], ids, fields[names_field], is_class, strict=True
        )
        if keep
    )
    wnids = tuple(row[0] for row in rows)
    distinct_ids = {number for _, number, _ in rows}
    if not rows or len(set(wnids)) != len(rows) or len(distinct_ids) != len(rows):
        raise UserError(f"{path}: has no classes, or the same class or {id_field} twice")
    if min(distinct_ids) < 1:
        raise UserError(f"{path}: has {id_field} {min(distinct_ids)}; the ids start at 1")
    ids_C = np.array([row[1] for row in rows], np.int32)
    _check_against_shipped(wnids, ids_C, str(path))
    names = tuple(row[2] or row[0] for row in rows)
    return ClassTable(wnids, names, ids_C, str(path))


def _whole_numbers(values: Sequence[object], path: Path) -> list[int]:
    """Give numbers of a meta file as int; raises UserError where one is not whole, or huge."""
    for value in values:
        if not isinstance(value, float) or not value.is_integer() or abs(value) >= 2**31:
            raise UserError(f"{path}: not the development kit's meta.mat ({value} is no number)")
    return [int(cast(float, value)) for value in values]


def _check_against_shipped(wnids: tuple[str, ...], ids_C: np.ndarray, source: str) -> None:
    """Raise UserError where ILSVRC's 1,000 classes have other ids than in the shipped table."""
    shipped = ilsvrc_classes()
    if wnids != shipped.wnids or shipped.devkit_ids_C is None:
        return
    wrong = np.flatnonzero(ids_C != shipped.devkit_ids_C)
    if len(wrong):
        first = int(wrong[0])
        raise UserError(
            f"{source}: gives {len(wrong)} of ILSVRC's 1,000 classes another id than the "
            f"development kits ({wnids[first]}: {ids_C[first]}, should be "
            f"{shipped.devkit_ids_C[first]}); restore the file or take it away"
        )


def _first_synonym(words: str) -> str:
    return words.split(",")[0].strip()


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8 text; restore the file") from None
