"""Write and read what a network answered about the maps of a run (``cam-eval quality=[NAME]``).

``quality_NAME.parquet`` has one row for each image that was asked about, in file-name order:
``id``; ``class``, the one that the map is of; ``answers``, K numbers, which the file's metadata
names. ``cam-score protocol=NAME`` scores them. Needs no torch.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cam_repro.errors import UserError
from cam_repro.files import atomic_path
from cam_repro.runs.columns import column
from cam_repro.runs.folders import answers_file
from cam_repro.runs.manifest import check_unchanged

_LABELS = b"labels"


@dataclass(frozen=True, eq=False)
class Answers:
    """Hold the answers about N images.

    ids: as in ``predictions.parquet``. classes_N: what the maps are of. answers_NK: float32.
    labels: what each of the K answers is called.
    """

    ids: Sequence[str]
    classes_N: np.ndarray
    answers_NK: np.ndarray
    labels: list[str]

    def __post_init__(self) -> None:
        assert self.answers_NK.shape == (len(self.ids), len(self.labels))


def write_answers(folder: Path | str, name: str, answers: Answers) -> None:
    """Write the answers of a measure to a run folder, whole or not at all; sorted by id."""
    order_N = np.argsort(np.array(answers.ids), kind="stable")
    values = answers.answers_NK.astype(np.float32)[order_N]
    table = pa.table(
        {
            "id": column([answers.ids[row] for row in order_N.tolist()], pa.string()),
            "class": column(answers.classes_N[order_N], pa.int32()),
            "answers": column(list(values), pa.list_(pa.float32())),
        },
        metadata={_LABELS: json.dumps(answers.labels)},
    )
    with atomic_path(answers_file(folder, name)) as path:
        pq.write_table(table, path)


def read_answers(folder: Path | str, name: str) -> Answers:
    """Read the answers of a measure; raises UserError where they are missing or damaged."""
    path = answers_file(folder, name)
    again = f"score the run again with cam-eval quality=[{name}] overwrite=true"
    check_unchanged(path, again)
    try:
        with pq.ParquetFile(path) as file:
            table = file.read().combine_chunks()
        labels = json.loads((table.schema.metadata or {})[_LABELS])
        values = np.from_dlpack(pc.list_flatten(table["answers"].combine_chunks()))
        return Answers(
            ids=table["id"].to_pylist(),
            classes_N=np.from_dlpack(table["class"].combine_chunks()),
            answers_NK=values.reshape(table.num_rows, len(labels)),
            labels=labels,
        )
    except FileNotFoundError:
        raise UserError(f"{folder}: was not asked about {name}: {again}") from None
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}): {again}") from error
