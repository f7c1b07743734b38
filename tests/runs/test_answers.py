import numpy as np
import pytest

from cam_repro.errors import UserError
from cam_repro.runs.answers import Answers, read_answers, write_answers


def test_what_is_written_is_read_sorted_by_id(tmp_path):
    values = np.array([[0.5, 1], [0.25, 0], [0, 0.75]], np.float32)
    write_answers(
        tmp_path, "insertion", Answers(["b", "c", "a"], np.array([3, 1, 2]), values, ["0", "1"])
    )
    assert [path.name for path in tmp_path.iterdir()] == ["quality_insertion.parquet"]
    found = read_answers(tmp_path, "insertion")
    assert (found.ids, found.labels) == (["a", "b", "c"], ["0", "1"])
    assert found.classes_N.tolist() == [2, 3, 1]
    assert found.answers_NK.tolist() == [[0, 0.75], [0.5, 1], [0.25, 0]]


def test_missing_and_damaged_files_are_said(tmp_path):
    again = r"score the run again with cam-eval quality=\[deletion\] overwrite=true"
    with pytest.raises(UserError, match=rf"{tmp_path}: was not asked about deletion: {again}"):
        read_answers(tmp_path, "deletion")
    (tmp_path / "quality_deletion.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match=rf"quality_deletion.parquet is damaged .*: {again}"):
        read_answers(tmp_path, "deletion")
