import csv
import gzip
import io
import re
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cam_repro.errors import UserError
from cam_repro.formats import text as text_module
from cam_repro.formats.submissions import (
    check_kaggle_submission,
    check_submission,
    read_kaggle_submission,
    read_submission,
    write_kaggle_submission,
    write_submission,
)
from cam_repro.formats.text import CsvTable

GUESSES = [[(1, (0, 1, 2, 3)), (0, (4, 5, 6, 7))], [], [(1, (8, 8, 9, 9))]]
WNIDS = ("n01440764", "n01443537")


def test_submission_round_trip_with_labels_mapped(tmp_path):
    path = tmp_path / "s.txt"
    write_submission(path, [[(1, (0, 1, 2, 3)), (0, (4, 5, 6, 7))], []], np.array([490, 361]))
    assert path.read_text() == "361 0 1 2 3 490 4 5 6 7\n\n"
    labels, boxes, _ = read_submission(path)
    assert labels.tolist() == [[361, 490, -1, -1, -1], [-1] * 5]
    assert boxes[0, :2].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert (boxes[0, 2:] == -1).all()


def test_submission_label_is_index_plus_one_without_a_mapping(tmp_path):
    write_submission(tmp_path / "s.txt", [[(0, (0, 0, 1, 1))]])
    assert (tmp_path / "s.txt").read_text() == "1 0 0 1 1\n"


def test_guesses_after_the_fifth_are_left_out_and_whole_floats_are_read(tmp_path):
    path = tmp_path / "s.txt"
    path.write_text(" ".join(f"{k} 0 0 {k}.0 1e1" for k in range(1, 7)))
    labels, boxes, _ = read_submission(path)
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
    ids, labels, boxes, _ = read_kaggle_submission(path)
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
    ids, labels, boxes, _ = read_kaggle_submission(tmp_path / "s.csv")
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
    labels, boxes, _ = read_submission(folder / "s.txt")
    for row, line in enumerate(guesses):
        n = len(line)
        assert labels[row].tolist() == [(490, 361)[c] for c, _ in line] + [-1] * (5 - n)
        assert boxes[row, :n].tolist() == [list(box) for _, box in line]
        assert (boxes[row, n:] == -1).all()
    check_submission(folder / "s.txt", guesses, np.array([490, 361]))
    write_kaggle_submission(folder / "s.csv", list(map(str, range(len(guesses)))), guesses, WNIDS)
    _, names, same_boxes, _ = read_kaggle_submission(folder / "s.csv")
    assert np.array_equal(boxes, same_boxes)
    assert [[w for w in row if w] for row in names] == [[WNIDS[c] for c, _ in g] for g in guesses]


# --- all lines at once is the same as one after another

GOOD = ["0", "7", "499", "1000", "-3", "+4", "007", "-0", "5.0", "1e2", "6.", "2147483647"]
ODD = ["1e09", "2147483647.0", "1E2"]
BAD = ["2147483648", "-2147483648", "18446744073709551617", "-9223372036854775809", "1e999"]
BAD += ["5.5", "nan", "inf", "cat", "1-2", "-", "--1", "0x10", "1e", "nan(1)", "1,2", "n1", "3\0"]
BAD += ["1_0", "\u0663"]  # whole numbers for float(), though not for everybody
BLANKS = [" ", "  ", "\t", " \t "]
ODD_BLANKS = ["\x0b", "\x0c", "\x1c", "\x1f", "\xa0", "\u2003"]  # the last four are none
ENDS = ["\n", "\r\n"]
ODD_ENDS = ["\r", "\x1d", "\x85", "\u2028", "\r\r\n"]


@st.composite
def submissions(draw, words=(GOOD, ODD, BAD), labels=GOOD, ends=(ENDS, ODD_ENDS)):
    """Lines of a submission, each with its end: most regular, some with one thing that is not.

    words, ends: what there is, the usual first.
    """
    lines = []
    for _ in range(draw(st.integers(0, 5))):
        line = [
            draw(st.sampled_from(words[0] if place % 5 else labels))
            for place in range(5 * draw(st.integers(0, 6)))
        ]
        lines.append([*line, draw(st.sampled_from(BLANKS)), draw(st.sampled_from(ENDS))])
    for _ in range(draw(st.integers(0, 2)) if lines else 0):
        line = draw(st.sampled_from(lines))
        if len(line) == 1:  # all but its end is gone
            continue
        kind, place = draw(st.sampled_from(range(4))), draw(st.integers(0, len(line) - 2))
        if kind == 0:
            line[place] = draw(st.sampled_from([*words[1], *words[2]]))
        elif kind == 1:
            line.insert(place, draw(st.sampled_from([*words[0], *ODD_BLANKS])))
        elif kind == 2:
            del line[place]
        else:
            line[-1] = draw(st.sampled_from(ends[1]))
    text = [draw(st.sampled_from(BLANKS)).join(line[:-1]) + line[-1] for line in lines]
    if text and draw(st.booleans()):
        text[-1] = text[-1].rstrip("\r\n")
    return text


def words_of(line):
    return [word for word in re.split("[ \t\n\r\x0b\x0c]", line) if word]


def lines_of(text):
    """The lines of a text with their numbers."""
    lines = re.split("\r\n|\r|\n", text)
    return list(enumerate(lines if lines[-1] else lines[:-1], start=1))


def one_after_another(lines, first_is_label=False):
    """The guesses of each line, [label, x0, y0, x1, y1] each; else what is wrong with which.

    lines: their numbers in the file and their texts.
    """
    for number, line in lines:
        n_words = len(words_of(line))
        if n_words % 5:
            return f"line {number}: {n_words} numbers; each guess is five"
    guesses = []
    for number, line in lines:
        words = words_of(line)
        values = []
        for place, word in enumerate(words):
            if first_is_label and place % 5 == 0:
                values.append(word)
                continue
            is_number = re.fullmatch(r"[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)?", word)
            value = float(word) if is_number else 0.5
            if not value.is_integer() or abs(value) >= 2**31:
                return f"line {number}: {word!r} is not a whole number below 2^31"
            values.append(int(value))
        guesses.append([values[i : i + 5] for i in range(0, min(len(values), 25), 5)])
    return guesses


def found(read, path):
    """The same of a reader of this package."""
    try:
        *_, labels_N5, boxes_N54, n_beyond = read(path)
    except UserError as error:
        return str(error).removeprefix(f"{path}, ").split(", label xmin")[0]
    assert boxes_N54.dtype == np.int64
    assert n_beyond >= 0
    guesses = []
    for labels, boxes in zip(labels_N5.tolist(), boxes_N54.tolist(), strict=True):
        made = [place for place in range(5) if boxes[place] != [-1] * 4]
        assert made == list(range(len(made)))
        assert all(label in (-1, "") for label in labels[len(made) :])
        guesses.append([[labels[place], *boxes[place]] for place in made])
    return guesses


@given(submissions())
@example(["1 0 0 1 1\n", "\n", "2 0 0 x 1\n"])
@example(["1 0 0 1 1\r\n", "2 0 0 1 1 -3 0 0 1 1"])
@example([" \n", "\n"])
@example(["1 0 0 1 1\x0b2 0 0 1 1\n"])
@example(["1 0 0 1 1\x0c2 0 0 1 1\n"])
@example(["1 0 0 1 1\x1c2 0 0 1 1\n"])
@example(["1 0 0 1 1\r2 0 0 1 1\n"])
def test_a_submission_is_read_as_line_by_line(tmp_path_factory, lines):
    path, text = tmp_path_factory.getbasetemp() / "s.txt", "".join(lines)
    path.write_bytes(text.encode())
    wanted = one_after_another(lines_of(text))
    assert found(read_submission, path) == wanted


@given(
    submissions(
        labels=["n01440764", "n1", "490", "nan"],
        ends=(ENDS, ["\r", "\n\n", "\x85\n", '"\n']),
        words=(GOOD, ODD, [*BAD, '"']),
    )
)
@example(["n1 0 0 1 1\n", "\n", "n2 0 0 x 1\n"])
@example(["490 0 0 1 1 n2 0 0 1 1\r\n", "n 0 0 1 1 nan 0 0 1 1"])
@example(['"n1 0 0\n1 1"\n', "n2 0 0 1 1 2\n"])
@example(['"n1 0 0 1 1\nn2 0 0 1 1"\n', "n3 0 0 1 1\n"])
def test_a_kaggle_submission_is_read_as_row_by_row(tmp_path_factory, cells):
    path = tmp_path_factory.getbasetemp() / "s.csv"
    text = "ImageId,PredictionString\n" + "".join(
        f"image{i},{cell}" for i, cell in enumerate(cells)
    )
    path.write_bytes(text.encode())
    reader = csv.reader(io.StringIO(text, newline=""))
    next(reader)
    rows = [(reader.line_num, row) for row in reader if row]
    odd = [f"line {number}: {len(row)} columns" for number, row in rows if len(row) != 2]
    if odd:
        assert found(read_kaggle_submission, path).startswith(odd[0])
    else:
        wanted = one_after_another([(number, row[1]) for number, row in rows], first_is_label=True)
        assert found(read_kaggle_submission, path) == wanted


cell = st.text('ab1 ,"\n\r\x0b\x85\xe9', max_size=3)
csv_end = st.sampled_from(["\n", "\r\n", "\r", "\n\n"])


@given(st.lists(st.tuples(cell, st.sampled_from(["a", "1 2", ""]), cell), max_size=4), csv_end)
@example([("x", "1 2", ""), ("", "", "y")], "\r\n")
@example([('"x"', "1", '"y"""')], "\n")
@example([('"x,z"', "1\n2", "3,4"), ("1", "2", "3")], "\n")
@example([("1", "2", "3\r1,2,3")], "\n")
def test_a_csv_is_read_as_row_by_row(tmp_path_factory, rows, end):
    path = tmp_path_factory.getbasetemp() / "t.csv"
    text = "".join(",".join(row) + end for row in [("a", "b", "c"), *rows])
    for whole_text in (text, text.removesuffix(end)):
        path.write_bytes(whole_text.encode())
        reader = csv.reader(io.StringIO(whole_text, newline=""))
        wanted = [(reader.line_num, row) for row in reader if row][1:]
        odd = [f"line {line}: {len(row)} columns" for line, row in wanted if len(row) != 3]
        if odd:
            with pytest.raises(UserError, match=re.escape(f"{path}, {odd[0]}")):
                CsvTable(path, "table", ("c", "a"))
            continue
        table = CsvTable(path, "table", ("c", "a"))
        assert table.cells == [[row[2] for _, row in wanted], [row[0] for _, row in wanted]]
        assert table.lines == [line for line, _ in wanted]


def test_a_cell_longer_than_a_csv_may_have_is_refused(tmp_path):
    text = "ImageId,PredictionString\na,\nb," + "n1 0 0 1 1 " * 12_000
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(UserError, match=r"line 3: not CSV \(field larger than field limit"):
        read_kaggle_submission(tmp_path / "s.csv")


def test_regular_files_are_read_at_once(tmp_path):
    """That is without an object for each word, which the functions replaced here would need."""
    text, table = tmp_path / "s.txt", tmp_path / "s.csv"
    text.write_bytes(b"1 0 0 1 1\r\n\r\n 2 -1 0 5 1e1  3\t0 0 1 1.0")
    write_kaggle_submission(table, "abc", GUESSES, WNIDS)
    with patch.object(text_module, "whole_number", None):
        labels, boxes, _ = read_submission(text)
        assert labels[:, :3].tolist() == [[1, -1, -1], [-1, -1, -1], [2, 3, -1]]
        assert boxes[2, :2].tolist() == [[-1, 0, 5, 10], [0, 0, 1, 1]]
        check_kaggle_submission(table, "abc", GUESSES, WNIDS)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("7 0 0 1", "line 31417: 4 numbers"),
        ("7 0 0 l 1", "line 31417: 'l' is not a whole number"),
        ("7 0 0 0.5 1", "line 31417: '0.5' is not a whole number"),
        ("7 0 0 2147483648 1", "line 31417: '2147483648' is not a whole number"),
    ],
)
def test_the_one_bad_line_of_fifty_thousand_is_named(tmp_path, bad, message):
    lines = ["7 0 0 1 1 8 0 0 1 1"] * 50_000
    lines[31_416] = bad
    (tmp_path / "s.txt").write_text("\n".join(lines))
    with pytest.raises(UserError, match=message):
        read_submission(tmp_path / "s.txt")
