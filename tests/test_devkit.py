import gzip

import numpy as np
import pytest

from cam_repro.devkit import read_blacklist, read_ground_truth, read_submission, write_submission
from cam_repro.errors import UserError


def test_submission_round_trip_with_labels_mapped(tmp_path):
    path = tmp_path / "s.txt"
    write_submission(path, [[(1, (0, 1, 2, 3)), (0, (4, 5, 6, 7))], []], np.array([490, 361]))
    assert path.read_text() == "361 0 1 2 3 490 4 5 6 7\n\n"
    labels, boxes = read_submission(path)
    assert labels.tolist() == [[361, 490, -1, -1, -1], [-1] * 5]
    assert boxes[0, :2].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert (boxes[0, 2:] == -1).all()


def test_submission_label_is_index_plus_one_without_a_mapping(tmp_path):
    write_submission(tmp_path / "s.txt", [[(0, (0, 0, 1, 1))]])
    assert (tmp_path / "s.txt").read_text() == "1 0 0 1 1\n"


def test_guesses_after_the_fifth_are_left_out_and_whole_floats_are_read(tmp_path):
    path = tmp_path / "s.txt"
    path.write_text(" ".join(f"{k} 0 0 {k}.0 1e1" for k in range(1, 7)))
    labels, boxes = read_submission(path)
    assert labels.tolist() == [[1, 2, 3, 4, 5]]
    assert boxes[0, 4].tolist() == [0, 0, 5, 10]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1 2 3 4", "line 2: 4 numbers"),
        ("1 2 3 4 5 6", "line 2: 6 numbers"),
        ("1 2 3 4 5.5", "line 2: '5.5' is not a whole number"),
        ("cat 2 3 4 5", "line 2: 'cat' is not a whole number"),
        ("1 2 3 4 nan", "line 2: 'nan' is not a whole number"),
        ("1 2 3 4 99999999999999999999", "line 2: '99999999999999999999'"),
    ],
)
def test_a_bad_submission_line_is_named(tmp_path, line, message):
    path = tmp_path / "s.txt"
    path.write_text(f"1 0 0 1 1\n{line}\n")
    with pytest.raises(UserError, match=message) as error:
        read_submission(path)
    assert str(path) in str(error.value)


def test_missing_and_binary_files_are_refused(tmp_path):
    with pytest.raises(UserError, match="no submission file"):
        read_submission(tmp_path / "none.txt")
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not a text file"):
        read_submission(tmp_path / "b.txt")


def test_ground_truth_literal_plain_and_compressed(tmp_path):
    text = "image,width,height,label,boxes\na,9,9,3,0 1 2 3;4 5 6 7\nb,9,9,0,\nc,9,9,7,1 1 1 1\n"
    (tmp_path / "g.csv").write_text(text)
    (tmp_path / "g.csv.gz").write_bytes(gzip.compress(text.encode()))
    for name in ("g.csv", "g.csv.gz"):
        truth = read_ground_truth(tmp_path / name)
        assert truth.images == ["a", "b", "c"]
        assert truth.labels_N.tolist() == [3, 0, 7]
        assert truth.gt_boxes_T4.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [1, 1, 1, 1]]
        assert truth.gt_offsets.tolist() == [0, 2, 2, 3]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,label\na,1\n", "no column boxes"),
        ("", "no column boxes, image, label"),
        ("image,label,boxes\na,1,0 0 1\n", "line 2: a box is four numbers"),
        ("image,label,boxes\na,dog,0 0 1 1\n", "line 2: 'dog' is not a whole number"),
        ("image,label,boxes\na,-1,0 0 1 1\n", "line 2: label -1"),
    ],
)
def test_bad_ground_truth_is_named(tmp_path, text, message):
    (tmp_path / "g.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        read_ground_truth(tmp_path / "g.csv")


def test_blacklist_numbers_start_at_one(tmp_path):
    path = tmp_path / "b.txt"
    path.write_text("1\n\n3\n")
    assert read_blacklist(path, 3).tolist() == [True, False, True]
    for bad in ("0", "4"):
        path.write_text(f"1\n{bad}\n")
        with pytest.raises(UserError, match=f"line 2: image {bad}; the images are 1 to 3"):
            read_blacklist(path, 3)
