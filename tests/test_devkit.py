import gzip

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cam_repro.devkit import (
    check_kaggle_submission,
    check_submission,
    read_blacklist,
    read_kaggle_submission,
    read_submission,
    write_kaggle_submission,
    write_submission,
)
from cam_repro.errors import UserError

GUESSES = [[(1, (0, 1, 2, 3)), (0, (4, 5, 6, 7))], [], [(1, (8, 8, 9, 9))]]
WNIDS = ("n01440764", "n01443537")


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
    (tmp_path / "half.txt.gz").write_bytes(gzip.compress(b"1 0 0 1 1\n" * 99)[:30])
    with pytest.raises(UserError, match="cannot be unpacked"):
        read_submission(tmp_path / "half.txt.gz")
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not a text file"):
        read_submission(tmp_path / "b.txt")


# --- Kaggle's CSV


def test_kaggle_submission_round_trip(tmp_path):
    path = tmp_path / "s.csv"
    write_kaggle_submission(path, ["a", "b", "c"], GUESSES, WNIDS)
    assert path.read_text() == (
        "ImageId,PredictionString\na,n01443537 0 1 2 3 n01440764 4 5 6 7\nb,\nc,n01443537 8 8 9 9\n"
    )
    ids, labels, boxes = read_kaggle_submission(path)
    assert ids == ["a", "b", "c"]
    assert labels.tolist() == [
        ["n01443537", "n01440764", "", "", ""],
        [""] * 5,
        ["n01443537", "", "", "", ""],
    ]
    assert boxes[0].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], *[[-1] * 4] * 3]
    assert boxes[2, 0].tolist() == [8, 8, 9, 9]


def test_kaggle_guesses_after_the_fifth_are_left_out(tmp_path):
    words = " ".join(f"n{k} {k} 0 {k}.0 1e1" for k in range(1, 8))
    (tmp_path / "s.csv").write_text(f"PredictionString,ImageId\r\n{words},a\r\n\r\n")
    ids, labels, boxes = read_kaggle_submission(tmp_path / "s.csv")
    assert ids == ["a"]
    assert labels.tolist() == [["n1", "n2", "n3", "n4", "n5"]]
    assert boxes[0, 4].tolist() == [5, 0, 5, 10]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,n1 0 0 1 1\n", "no column ImageId, PredictionString; the first line must be Image"),
        ("ImageId,PredictionString\na,n1 0 0 1\n", "line 2: 4 numbers; each guess is five"),
        ("ImageId,PredictionString\na,n1 0 0 1 n1\n", "line 2: 'n1' is not a whole number"),
        ("ImageId,PredictionString\na,\nb,n1 0 0 1 1\na,\n", "line 4: image a comes a second"),
        ("ImageId,PredictionString\na,n1,0,0,1,1\n", "line 2: 6 columns, the first line has 2"),
    ],
)
def test_a_bad_kaggle_line_is_named(tmp_path, text, message):
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        read_kaggle_submission(tmp_path / "s.csv")


# --- reading back what was written


def test_what_was_written_is_found_again(tmp_path):
    text, table = tmp_path / "s.txt", tmp_path / "s.csv"
    write_submission(text, GUESSES, np.array([490, 361]))
    check_submission(text, GUESSES, np.array([490, 361]))
    write_submission(text, GUESSES)
    check_submission(text, GUESSES)
    write_kaggle_submission(table, "abc", GUESSES, WNIDS)
    check_kaggle_submission(table, "abc", GUESSES, WNIDS)
    write_submission(text, [])
    check_submission(text, [])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("8 8 9 9", "8 8 9 8", "line 3: does not hold the guesses written"),
        ("\n\n", "\n1 0 0 0 0\n", "line 2: does not hold"),
        ("361 0", "362 0", "line 1: does not hold"),
        (" 490 4 5 6 7", "", "line 1: does not hold"),
        ("\n\n", "\n", "holds 2 images, not 3"),
    ],
)
def test_a_submission_that_changed_is_named(tmp_path, old, new, message):
    path, labels = tmp_path / "s.txt", np.array([490, 361])
    write_submission(path, GUESSES, labels)
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(UserError, match=message):
        check_submission(path, GUESSES, labels)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("n01440764 4", "n01443537 4", "line 2: does not hold the guesses written"),
        ("6 7", "6 8", "line 2: does not hold"),
        ("b,\n", "", "line 3: image c, should be b"),
        ("c,n01443537 8 8 9 9\n", "", "holds 2 images, not 3"),
    ],
)
def test_a_kaggle_submission_that_changed_is_named(tmp_path, old, new, message):
    path = tmp_path / "s.csv"
    write_kaggle_submission(path, "abc", GUESSES, WNIDS)
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(UserError, match=message):
        check_kaggle_submission(path, "abc", GUESSES, WNIDS)


number = st.integers(0, 2**31 - 1)
guess = st.tuples(st.integers(0, 1), st.tuples(number, number, number, number))


@given(st.lists(st.lists(guess, max_size=5), max_size=6))
def test_any_guesses_come_back_as_they_were(tmp_path_factory, guesses):
    folder = tmp_path_factory.mktemp("s")
    write_submission(folder / "s.txt", guesses, np.array([490, 361]))
    labels, boxes = read_submission(folder / "s.txt")
    for row, line in enumerate(guesses):
        n = len(line)
        assert labels[row].tolist() == [(490, 361)[c] for c, _ in line] + [-1] * (5 - n)
        assert boxes[row, :n].tolist() == [list(box) for _, box in line]
        assert (boxes[row, n:] == -1).all()
    check_submission(folder / "s.txt", guesses, np.array([490, 361]))
    write_kaggle_submission(folder / "s.csv", list(map(str, range(len(guesses)))), guesses, WNIDS)
    _, names, same_boxes = read_kaggle_submission(folder / "s.csv")
    assert np.array_equal(boxes, same_boxes)
    assert [[w for w in row if w] for row in names] == [[WNIDS[c] for c, _ in g] for g in guesses]


# --- blacklist


def test_blacklist_numbers_start_at_one(tmp_path):
    path = tmp_path / "b.txt"
    path.write_text("1\n\n3\n")
    assert read_blacklist(path, 3).tolist() == [True, False, True]
    for bad in ("0", "4"):
        path.write_text(f"1\n{bad}\n")
        with pytest.raises(UserError, match=f"line 2: image {bad}; the images are 1 to 3"):
            read_blacklist(path, 3)
