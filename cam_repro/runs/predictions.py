"""Write and read a run's predictions: scoring writes them, everything after it only reads them.

Needs no torch. A run folder holds

``predictions.parquet``
    one row an image, in file-name order: ``id``, ``width``, ``height``, ``label`` (class index,
    -1 unknown), ``gt_boxes`` (flat, four numbers a box), ``classes`` and ``probabilities`` (the
    best five, best first), and for each rule ``<rule>/classes`` and ``<rule>/boxes``
    (up to five guesses, boxes flat) and ``<rule>/gt_known`` (one box, or null). ``right_at``: the
    thresholds, whole percent of the map's maximum, at which ``box=threshold`` boxes the true class
    right; null where no maps were saved. ``map_crc32``: of the file of the image's map; the column
    is only there where maps were saved. ``label_set``: all classes that the image shows; only there
    where the data set tells them.
``submission_<rule>.txt``
    the same guesses in the development kit's format; for split=test also ``.csv`` in Kaggle's.
``scores.json``
    errors and accuracies of the pass, with what each threshold is (``metrics.scores``).
``examples.parquet``, ``contact_sheet.png``
    pictures and maps of some images, for figures (``runs.examples``), and a page of them.
``quality_<measure>.parquet``
    what the network answered about its maps, where it was asked (``runs.answers``).
``maps/<id>.npy``
    the true class's maps, where they were asked for.
``manifest.json``
    where it all came from. Written last: a folder with a manifest is complete.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cam_repro.classes import NO_IDS, ClassTable, ilsvrc_classes
from cam_repro.errors import UserError
from cam_repro.files import atomic_path
from cam_repro.formats.submissions import (
    check_kaggle_submission,
    check_submission,
    write_kaggle_submission,
    write_submission,
)
from cam_repro.runs.columns import column
from cam_repro.runs.manifest import EvalManifest, check_unchanged, read_eval_manifest
from cam_repro.truth import LabelSets, RaggedBoxes, Truth
from cam_repro.types import MAX_GUESSES, NO_LABEL, PAD, Guess, Prediction

PARQUET = "predictions.parquet"
SCORES = "scores.json"
MAPS = "maps"

ROWS_AT_A_TIME = 8192
"""How many rows are encoded together when they are written; this limits memory."""


@dataclass
class RuleTable:
    """Hold the guesses of one box rule for N images.

    classes_N5: class indices, int32 (N, 5); boxes_N54: int32 (N, 5, 4); gt_known_N4: int32 (N, 4).
    ``PAD`` (-1) fills what is not there.
    """

    classes_N5: np.ndarray
    boxes_N54: np.ndarray
    gt_known_N4: np.ndarray


@dataclass(frozen=True, eq=False, kw_only=True)
class Predictions(Truth):
    """Hold what a run found: its guesses, with the truth of its images.

    ``sizes_N2`` holds the sizes of the images as they were read, none of them 0.

    classes_N5: the best five classes, best first, int32, ``PAD`` where the data set has fewer.
    probabilities_N5: float32, 0 there. rules: the guesses by box rule. right_at_N100: whether the
    box of the true class is right at each whole percent of the map's maximum, 0 to 99, bool; None
    where the run did not save maps. map_crc32_N: of the files of the maps, uint32; None where the
    run does not say.
    """

    classes_N5: np.ndarray
    probabilities_N5: np.ndarray
    rules: dict[str, RuleTable]
    manifest: EvalManifest
    right_at_N100: np.ndarray | None = None
    map_crc32_N: np.ndarray | None = None


def to_arrow(predictions: Sequence[Prediction], rules: Sequence[str]) -> pa.Table:
    """Make the rows of ``predictions.parquet``, which take a twentieth of the objects' memory.

    rules: names of box rules; every prediction must have exactly these.
    """
    _assert_sound(predictions, rules)
    columns: dict[str, Sequence[Any] | np.ndarray] = {
        "id": [p.id for p in predictions],
        "width": [p.width for p in predictions],
        "height": [p.height for p in predictions],
        "label": [p.label for p in predictions],
        "gt_boxes": [np.asarray(p.true_boxes_M4, np.int32).ravel() for p in predictions],
        "classes": [p.classes for p in predictions],
        "probabilities": [p.probabilities for p in predictions],
        "right_at": [p.right_at for p in predictions],
        "map_crc32": [p.map_crc32 for p in predictions],
        "label_set": [p.label_set for p in predictions],
    }
    for name in rules:
        guesses = [p.rules[name] for p in predictions]
        columns[f"{name}/classes"] = [[c for c, _ in g.guesses] for g in guesses]
        columns[f"{name}/boxes"] = [[v for _, box in g.guesses for v in box] for g in guesses]
        columns[f"{name}/gt_known"] = [g.gt_known for g in guesses]
    return _table(columns, rules)


def boxes_to_arrow(truth: Truth, boxes: Mapping[str, np.ndarray]) -> pa.Table:
    """Make the rows of a pass that guesses no classes, as ``to_arrow`` does, all at once.

    truth: of the images, with their sizes as read. boxes: by box rule, integers (N, 4), the box
    for the true class of each image; an image of no known class gets none.
    """
    sizes_N2, labels_N, sets = truth.sizes_N2, np.asarray(truth.labels_N), truth.label_sets
    assert sizes_N2 is not None, "a run has the sizes of its images"
    nothing: list[Any] = [[]] * len(truth)
    unknown: list[Any] = [None] * len(truth)
    columns: dict[str, Sequence[Any] | np.ndarray] = {
        "id": truth.ids,
        "width": sizes_N2[:, 0],
        "height": sizes_N2[:, 1],
        "label": labels_N,
        "gt_boxes": _parts(truth.boxes.values_T4.ravel(), 4 * truth.boxes.offsets),
        "classes": nothing,
        "probabilities": nothing,
        "right_at": unknown,
        "map_crc32": unknown,
        "label_set": unknown if sets is None else _parts(sets.values_T, sets.offsets),
    }
    for name, boxes_N4 in boxes.items():
        are_sound = RaggedBoxes.from_counts(boxes_N4, np.ones(len(truth), np.int64))
        assert not are_sound.impossible(sizes_N2).any(), f"{name}: box outside the image"
        of_label = zip(boxes_N4.tolist(), (labels_N == NO_LABEL).tolist(), strict=True)
        columns[f"{name}/classes"] = columns[f"{name}/boxes"] = nothing
        columns[f"{name}/gt_known"] = [None if is_unknown else box for box, is_unknown in of_label]
    return _table(columns, list(boxes))


def _parts(values_T: np.ndarray, offsets: np.ndarray) -> list[list[Any]]:
    """Cut values into the list of each image."""
    values = values_T.tolist()
    return [values[start:end] for start, end in pairwise(offsets.tolist())]


def _table(columns: Mapping[str, Sequence[Any] | np.ndarray], rules: Sequence[str]) -> pa.Table:
    """Make the table of these columns. rules: those whose guesses they hold."""
    integer, integers = pa.int32(), pa.list_(pa.int32())
    kinds = {
        "id": pa.string(),
        "width": integer,
        "height": integer,
        "label": integer,
        "gt_boxes": integers,
        "classes": integers,
        "probabilities": pa.list_(pa.float32()),
        "right_at": pa.list_(pa.uint8()),
        "map_crc32": pa.uint32(),
        "label_set": integers,
    }
    for name in rules:
        kinds |= {f"{name}/{what}": integers for what in ("classes", "boxes", "gt_known")}
    return pa.table({name: column(columns[name], kind) for name, kind in kinds.items()})


def write_predictions(
    folder: Path | str,
    predictions: pa.Table,
    manifest: EvalManifest,
    classes: ClassTable | None = None,
    missing: Sequence[str] = (),
) -> None:
    """Write predictions and submissions into a new folder; ``write_manifest`` completes the run.

    Rows are sorted by id, so the order in which they come does not matter.

    predictions: rows made by ``to_arrow``, one an image.
    manifest: its ``rules`` names the rules of the rows, its ``counts.images`` is their number.
    classes: the data set's, whose labels the submissions carry; where None, class index + 1.
    missing: ids of images without a prediction. Submissions must have a line for every image of the
        split, and have an empty one for these.
    """
    folder = Path(folder)
    ids: list[str] = predictions["id"].to_pylist()
    if ids != sorted(ids):
        predictions = predictions.sort_by("id")
        ids.sort()
    predictions = predictions.combine_chunks()
    assert len(set(ids)) == len(ids), "an image was scored twice"
    assert manifest.counts.images == len(ids), "manifest counts other images"
    for name in ("map_crc32", "label_set"):
        if name in predictions.column_names and not _all_known(predictions[name]):
            predictions = predictions.drop_columns(name)

    memory = pa.default_memory_pool()  # it keeps what is freed: some times the size of the rows
    memory.release_unused()
    with atomic_path(folder / PARQUET) as path:
        pq.write_table(predictions, path, row_group_size=ROWS_AT_A_TIME)
    memory.release_unused()
    if manifest.classifies:
        every = sorted([*ids, *missing])
        for name in manifest.rules:
            guesses = _Guesses(every, ids, predictions, name)
            _write_submissions(folder, name, every, guesses, classes, manifest.split == "test")


class _Guesses(Sequence):
    """Give the guesses of one box rule image by image, built when asked for, to save memory.

    ids: the images, in order. rows: the ids of the rows; an image without a row has no guesses.
    """

    def __init__(self, ids: list[str], rows: list[str], predictions: pa.Table, rule: str) -> None:
        row_of = {image_id: row for row, image_id in enumerate(rows)}
        self._rows = [row_of.get(image_id) for image_id in ids]
        self._classes, lengths_N = _ragged(predictions, f"{rule}/classes")
        self._boxes_G4 = _ragged(predictions, f"{rule}/boxes")[0].reshape(-1, 4)
        self._starts = np.concatenate([[0], np.cumsum(lengths_N)]).tolist()

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> list[Guess]:
        row = self._rows[index]
        if row is None:
            return []
        part = slice(self._starts[row], self._starts[row + 1])
        boxes = map(tuple, self._boxes_G4[part].tolist())
        return list(zip(self._classes[part].tolist(), boxes, strict=True))


def _write_submissions(
    folder: Path,
    rule: str,
    ids: list[str],
    guesses: Sequence[Sequence[Guess]],
    classes: ClassTable | None,
    for_server: bool,
) -> None:
    """Write a text file for the development kit and, for the server, a CSV for Kaggle.

    Files for the server are read back and checked: it allows few tries, and as its labels are not
    public, a mistake cannot be noticed here by a bad score.
    """
    labels_C = None if classes is None else classes.submission_labels_C
    text, table = (folder / f"submission_{rule}.{suffix}" for suffix in ("txt", "csv"))
    write_submission(text, guesses, labels_C)
    if for_server and classes is not None:
        write_kaggle_submission(table, ids, guesses, classes.wnids)
        check_submission(text, guesses, labels_C)
        check_kaggle_submission(table, ids, guesses, classes.wnids)


def read_predictions(folder: Path | str, manifest: EvalManifest | None = None) -> Predictions:
    """Read a run folder.

    manifest: of a pass under way, whose folder has none yet; None: the one in the folder.

    Raises UserError where the manifest is missing or of a schema that is not read, and where the
    rows are missing, damaged, changed since, or not as many as the manifest says.
    """
    folder = Path(folder)
    manifest = manifest or read_eval_manifest(folder)
    path, again = folder / PARQUET, "score the run again with cam-eval overwrite=true"
    check_unchanged(path, again)
    try:
        # pq.read_table would import pyarrow.dataset, and to_numpy() pandas: 0.3 s in all.
        with pq.ParquetFile(path) as file:
            read = _from_columns(_Columns(file), manifest)
    except FileNotFoundError:
        raise UserError(f"{path} is missing: {again}") from None
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}): {again}") from error
    expected = manifest.counts.images
    if len(read) != expected:
        raise UserError(f"{path} has {len(read)} images, its manifest says {expected}: {again}")
    return read


def run_classes(manifest: EvalManifest) -> ClassTable:
    """Give the classes of a run by its manifest.

    They are ILSVRC's where there are 1,000 and the submissions carry ids of the development kit.
    Else they have no WordNet ids, and their labels are class index + 1; in runs of older versions,
    whose manifests do not name them, they are called ``class 0`` ...
    """
    n_classes = manifest.data.n_classes
    shipped = ilsvrc_classes()
    if n_classes == len(shipped) and manifest.submission_labels == shipped.labels_are:
        return shipped
    known = manifest.data.class_names or []
    names = tuple(known) if len(known) == n_classes else _numbered(n_classes)
    numbers = tuple(f"class{index:07d}" for index in range(n_classes))
    return ClassTable(numbers, names, None, NO_IDS)


def _numbered(n_classes: int) -> tuple[str, ...]:
    return tuple(f"class {index}" for index in range(n_classes))


def _assert_sound(predictions: Sequence[Prediction], names: Sequence[str]) -> None:
    """Assert that predictions have all rules, at most five guesses, and boxes in the image."""
    for prediction in predictions:
        assert set(prediction.rules) == set(names), prediction.id
        assert len(prediction.classes) == len(prediction.probabilities) <= MAX_GUESSES
        for rule in prediction.rules.values():
            assert len(rule.guesses) <= MAX_GUESSES, prediction.id
            boxes = [box for _, box in rule.guesses]
            for x0, y0, x1, y1 in boxes + ([rule.gt_known] if rule.gt_known else []):
                assert 0 <= x0 <= x1 < prediction.width, f"{prediction.id}: box outside the image"
                assert 0 <= y0 <= y1 < prediction.height, f"{prediction.id}: box outside the image"


class _Columns:
    """Read columns of a Parquet file when asked for, to save memory: a KeyError if one is missing.

    column_names: those that there are.
    """

    def __init__(self, file: pq.ParquetFile) -> None:
        self._file = file
        self.column_names: list[str] = file.schema_arrow.names

    def __getitem__(self, name: str) -> pa.ChunkedArray:
        return self._file.read(columns=[name])[name]


def _from_columns(table: _Columns, manifest: EvalManifest) -> Predictions:
    rules = {}
    for name in manifest.rules:
        classes_N5 = _padded(table, f"{name}/classes", MAX_GUESSES, PAD)
        boxes_N20 = _padded(table, f"{name}/boxes", 4 * MAX_GUESSES, PAD)
        rules[name] = RuleTable(
            classes_N5=classes_N5,
            boxes_N54=boxes_N20.reshape(-1, MAX_GUESSES, 4),
            gt_known_N4=_padded(table, f"{name}/gt_known", 4, PAD),
        )
    values, lengths_N = _ragged(table, "gt_boxes")
    sides = [np.from_dlpack(table[side].combine_chunks()) for side in ("width", "height")]
    ids = table["id"].to_pylist()
    blacklist = manifest.blacklist
    return Predictions(
        ids=ids,
        labels_N=np.from_dlpack(table["label"].combine_chunks()),
        boxes=RaggedBoxes.from_counts(values, lengths_N // 4),
        classes=run_classes(manifest),
        sizes_N2=np.stack(sides, axis=1),
        blacklisted_N=np.isin(ids, blacklist.ids) if blacklist else None,
        classes_N5=_padded(table, "classes", MAX_GUESSES, PAD),
        probabilities_N5=_padded(table, "probabilities", MAX_GUESSES, 0),
        rules=rules,
        manifest=manifest,
        right_at_N100=_right_at(table),
        map_crc32_N=_map_crc32(table),
        label_sets=_label_sets(table),
    )


def _all_known(column: pa.ChunkedArray) -> bool:
    """Tell whether a column has a value of every image, and of one at least."""
    return len(column) > 0 and not column.null_count


def _map_crc32(table: _Columns) -> np.ndarray | None:
    """Read the column ``map_crc32`` as uint32 (N,); None where it is not there or has a null."""
    if "map_crc32" not in table.column_names or not _all_known(table["map_crc32"]):
        return None
    return np.from_dlpack(table["map_crc32"].combine_chunks())


def _label_sets(table: _Columns) -> LabelSets | None:
    """Read the column ``label_set``; None where it is not there or has a null."""
    if "label_set" not in table.column_names or not _all_known(table["label_set"]):
        return None
    values, lengths_N = _ragged(table, "label_set")
    return LabelSets(values, np.cumsum([0, *lengths_N.tolist()]))


def _right_at(table: _Columns) -> np.ndarray | None:
    """Read the column ``right_at`` as bool (N, 100); None where it has a null or is not there."""
    if "right_at" not in table.column_names or not _all_known(table["right_at"]):
        return None
    percents, lengths_N = _ragged(table, "right_at")
    right_N100 = np.zeros((len(lengths_N), 100), bool)
    right_N100[np.repeat(np.arange(len(lengths_N)), lengths_N), percents] = True
    return right_N100


def _ragged(table: pa.Table | _Columns, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Give all values of a list column, one after another, and each list's length (null: 0)."""
    column = table[name].combine_chunks()
    values = np.from_dlpack(pc.list_flatten(column))
    return values, np.diff(np.from_dlpack(column.offsets)).astype(np.int64)


def _padded(table: _Columns, name: str, width: int, fill: int) -> np.ndarray:
    """Give a list column as an array (N, width), short lists filled up with ``fill``."""
    values, lengths_N = _ragged(table, name)
    if lengths_N.max(initial=0) > width:
        raise ValueError(f"{name} holds more than {width} values")
    padded_NW = np.full((len(lengths_N), width), fill, values.dtype)
    padded_NW[np.arange(width) < lengths_N[:, None]] = values
    return padded_NW
