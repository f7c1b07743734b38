"""Columns of Arrow tables are those that pyarrow itself makes, null by null, without pandas."""

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cam_repro.runs.columns import column

ITEMS = {
    pa.string(): st.text(st.characters(codec="utf-8"), max_size=5),
    pa.binary(): st.binary(max_size=5),
    pa.int32(): st.integers(-(2**31), 2**31 - 1),
    pa.uint8(): st.integers(0, 255),
    pa.uint32(): st.integers(0, 2**32 - 1),
    pa.float32(): st.floats(width=32, allow_nan=False),
}
ONES = st.sampled_from(list(ITEMS)).flatmap(
    lambda kind: st.tuples(st.just(kind), st.lists(st.none() | ITEMS[kind]))
)
LISTS = st.sampled_from(list(ITEMS)).flatmap(
    lambda kind: st.tuples(
        st.just(pa.list_(kind)), st.lists(st.none() | st.lists(ITEMS[kind], max_size=4))
    )
)


@given(ONES | LISTS)
def test_a_column_is_what_pyarrow_makes(drawn):
    kind, values = drawn
    made = column(values, kind)
    made.validate(full=True)
    assert made.type == kind
    assert made.null_count == sum(value is None for value in values)
    assert made.equals(pa.array(values, kind))


def test_arrays_may_be_given_as_numbers_and_as_lists():
    assert column(np.arange(3), pa.int32()).equals(pa.array([0, 1, 2], pa.int32()))
    pairs = [np.array([1.5, 2], np.float32), np.array([], np.float32)]
    assert column(pairs, pa.list_(pa.float32())).to_pylist() == [[1.5, 2.0], []]
    table_22 = np.array([[1, 2], [3, 4]])
    assert column(table_22, pa.list_(pa.int32())).to_pylist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(("value", "kind"), [(2**31, pa.int32()), (-1, pa.uint32())])
def test_numbers_that_do_not_fit_are_no_others(value, kind):
    with pytest.raises(OverflowError):
        column([value], kind)


def test_pandas_is_not_imported():
    code = (
        "import sys, pyarrow as pa; from cam_repro.runs.columns import column\n"
        "pa.table({'a': column(['a', None], pa.string()), 'b': column([[1], []],"
        " pa.list_(pa.int32()))}).sort_by('a').combine_chunks()\n"
        "sys.exit('pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
