"""Write and read a run's examples: pictures and maps of some of its images, for figures.

Figures and reports are drawn from them later, without the data set and without torch. A pass makes
them for up to ``examples=N`` images of each of four kinds:

``even``
    spread evenly over the split, by index: runs over the same split have the same ones.
``best``, ``typical``, ``worst``
    by the IoU of the first guess's box of the run's first box rule with the true box that it
    overlaps most, whether or not the class is right: the highest, those in the middle of the
    ranking, the lowest. Images without a true box and blacklisted ones do not take part. Of equal
    IoU the first in file-name order are taken.

``examples.parquet`` has one row an image, in the order of the split, with the fields of
``Example``; ``maps`` are flat, and ``map_height`` and ``map_width`` tell their shape. Guesses,
labels and true boxes are not repeated: they stand in ``predictions.parquet`` under the same id.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image

from cam_repro.errors import UserError
from cam_repro.files import atomic_path
from cam_repro.runs.columns import column
from cam_repro.runs.manifest import check_unchanged

EXAMPLES = "examples.parquet"

CONTACT_SHEET = "contact_sheet.png"
"""A picture of the examples, for a first look."""

KINDS = ("even", "best", "typical", "worst")
"""Why an image is among the examples."""

MAX_SIDE = 480
"""The longer side of an example's picture is at most so many pixels."""

QUALITY = 90
"""JPEG quality of the pictures."""

_SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "index": pa.int32(),
        "width": pa.int32(),
        "height": pa.int32(),
        "jpeg": pa.binary(),
        "why": pa.list_(pa.string()),
        "classes": pa.list_(pa.int32()),
        "names": pa.list_(pa.string()),
        "probabilities": pa.list_(pa.float32()),
        "maps": pa.list_(pa.float32()),
        "map_height": pa.int32(),
        "map_width": pa.int32(),
    }
)


@dataclass(frozen=True, eq=False, kw_only=True)
class Example:
    """Hold one image of a run, to draw figures of it.

    id: as in ``predictions.parquet``. index: its position in the split.
    width, height: of the original, in pixels; boxes refer to it.
    jpeg: the picture, RGB, scaled down to at most ``MAX_SIDE`` pixels on its longer side.
    why: the kinds (``KINDS``) that it is an example of, one or more.
    classes: the five best classes, best first; then the true class, if it is known and none of
        them. names: what they are called. probabilities: the network's, 0 to 1.
    maps_Rhw: a raw map for each of ``classes``, as the view merged it, over the whole image;
        float32, rounded to 8 significant bits.
    """

    id: str
    index: int
    width: int
    height: int
    jpeg: bytes
    why: tuple[str, ...]
    classes: tuple[int, ...]
    names: tuple[str, ...]
    probabilities: tuple[float, ...]
    maps_Rhw: np.ndarray

    def picture(self) -> Image.Image:
        """Decode the picture, RGB."""
        return Image.open(io.BytesIO(self.jpeg)).convert("RGB")

    def rank_of(self, class_index: int) -> int | None:
        """Give the place of a class in ``classes``, 0 for the best; None if it has no map here."""
        return self.classes.index(class_index) if class_index in self.classes else None


def small_jpeg(image: Image.Image) -> bytes:
    """Encode an RGB image as a JPEG of at most ``MAX_SIDE`` pixels on its longer side."""
    scale = min(1.0, MAX_SIDE / max(image.size))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    smaller = image if size == image.size else image.resize(size, Image.Resampling.LANCZOS)
    file = io.BytesIO()
    smaller.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def rounded(maps: np.ndarray) -> np.ndarray:
    """Round float32 values to 8 significant bits, an error of at most 1 in 256.

    Figures show no more. The last two bytes of each value become 0, and take no room on disk.
    """
    bits = np.ascontiguousarray(maps, np.float32).view(np.uint32)
    return ((bits + np.uint32(0x8000)) & np.uint32(0xFFFF0000)).view(np.float32)


def write_examples(folder: Path | str, examples: Sequence[Example]) -> None:
    """Write ``examples.parquet`` to a run folder, whole or not at all."""
    ordered = sorted(examples, key=lambda example: example.index)
    columns = {
        field: [getattr(example, field) for example in ordered]
        for field in _SCHEMA.names
        if not field.startswith("map")
    }
    columns["maps"] = [rounded(example.maps_Rhw).ravel() for example in ordered]
    columns["map_height"] = [example.maps_Rhw.shape[1] for example in ordered]
    columns["map_width"] = [example.maps_Rhw.shape[2] for example in ordered]
    with atomic_path(Path(folder) / EXAMPLES) as path:
        pq.write_table(
            pa.table([column(columns[field.name], field.type) for field in _SCHEMA], _SCHEMA),
            path,
            compression="zstd",
            use_dictionary=False,
            # The bytes of numbers apart, the first of all, then the second: they pack better.
            column_encoding={"maps.list.element": "BYTE_STREAM_SPLIT"},
        )


def read_examples(folder: Path | str, ids: Collection[str] | None = None) -> list[Example]:
    """Read the examples of a run, in the order of the split.

    ids: those of the run's predictions, which must have every example; None: it is not checked.
    Raises UserError where the file is missing or damaged, or of another pass.
    """
    path = Path(folder) / EXAMPLES
    again = "score the run again with cam-eval examples=8"
    check_unchanged(path, again)
    try:
        with pq.ParquetFile(path) as file:
            examples = _from_arrow(file.read(columns=_SCHEMA.names))
    except FileNotFoundError:
        raise UserError(f"{path} is missing: {again}") from None
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error}): {again}") from error
    known = None if ids is None else set(ids)
    for example in examples:
        if known is not None and example.id not in known:
            raise UserError(f"{path}: the run has no image {example.id}: {again}")
    return examples


def _from_arrow(table: pa.Table) -> list[Example]:
    """Make the examples; an error of any kind that ``read_examples`` knows where they are damaged.

    Columns are read as they were written: one that is missing is a KeyError.
    """
    table = table.select(_SCHEMA.names).cast(_SCHEMA)
    maps = table["maps"].combine_chunks()
    values = np.from_dlpack(pc.list_flatten(maps))
    ends = np.from_dlpack(maps.offsets).tolist()
    examples = []
    for row, place in zip(table.drop_columns(["maps"]).to_pylist(), pairwise(ends), strict=True):
        _check_row(row)
        shape_Rhw = (len(row["classes"]), row.pop("map_height"), row.pop("map_width"))
        maps_Rhw = values[slice(*place)].reshape(shape_Rhw)
        lists = {key: tuple(value) for key, value in row.items() if isinstance(value, list)}
        examples.append(Example(**{**row, **lists}, maps_Rhw=maps_Rhw))
    return examples


def _check_row(row: dict[str, Any]) -> None:
    """Raise ValueError unless a row has all of its values and a picture that can be decoded."""
    for key, value in row.items():
        if value is None or (isinstance(value, list) and None in value):
            raise ValueError(f"{key} of {row['id']} has no value")
    for key in ("width", "height", "map_height", "map_width"):
        if row[key] < 1:
            raise ValueError(f"{key} of {row['id']} is {row[key]}")
    counts = {len(row[key]) for key in ("classes", "names", "probabilities")}
    if len(counts) > 1 or 0 in counts:
        raise ValueError(f"classes of {row['id']}: not a name and a probability of each")
    try:
        with Image.open(io.BytesIO(row["jpeg"])) as picture:
            picture.load()
    except Exception as error:  # Pillow raises many kinds
        raise ValueError(f"the picture of {row['id']} cannot be read") from error
