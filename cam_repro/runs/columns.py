"""Make the columns of Arrow tables without pandas.

``pa.array`` imports pandas, to find out whether it was given something of pandas: some tenths of a
second, and 45 MiB, of each command that writes a table. From its buffers an array is made without.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa


def column(values: Sequence[Any] | np.ndarray, kind: pa.DataType) -> pa.Array:
    """Make a column: ``pa.array(values, kind)``.

    kind: string, binary, an integer or a float type, or a list of any of these. values: None is
    null. Numbers may come as an array, and lists of numbers as arrays, one for each: of numbers
    that ``kind`` can hold, none of them null.
    """
    if isinstance(values, np.ndarray) and values.ndim == 1:
        return _from_buffers(kind, len(values), None, values.astype(kind.to_pandas_dtype()))
    known_N = np.array([value is not None for value in values], bool)
    known = [value for value in values if value is not None]
    if pa.types.is_list(kind):
        are_arrays = len(known) > 0 and isinstance(known[0], np.ndarray)
        flat = np.concatenate(known) if are_arrays else list(chain.from_iterable(known))
        items = [column(flat, kind.value_type)]
        return _from_buffers(kind, len(values), known_N, _offsets(known_N, known), children=items)
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        texts = [value.encode() if isinstance(value, str) else value for value in known]
        return _from_buffers(kind, len(values), known_N, _offsets(known_N, texts), b"".join(texts))
    numbers_N = np.zeros(len(values), kind.to_pandas_dtype())
    numbers_N[known_N] = known
    return _from_buffers(kind, len(values), known_N, numbers_N)


def _offsets(known_N: np.ndarray, known: Sequence[Any]) -> np.ndarray:
    """Give where each value begins among all items, int32 (N + 1,); null has no item."""
    lengths_N = np.zeros(len(known_N), np.int64)
    lengths_N[known_N] = [len(value) for value in known]
    ends_N = np.cumsum([0, *lengths_N])
    assert ends_N[-1] < 2**31, "too many items for one column"
    return ends_N.astype(np.int32)


def _from_buffers(
    kind: pa.DataType,
    length: int,
    known_N: np.ndarray | None,
    *data: Any,
    children: list[pa.Array] | None = None,
) -> pa.Array:
    """Make an array from its buffers. known_N: False is null; None: there is none."""
    nulls = None
    if known_N is not None and not known_N.all():
        nulls = pa.py_buffer(np.packbits(known_N, bitorder="little"))
    buffers = [nulls, *map(pa.py_buffer, data)]
    return pa.Array.from_buffers(kind, length, buffers, children=children)
