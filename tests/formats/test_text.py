"""CSV cells by column, and numbers of many cells read as one text."""

import gzip
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cam_repro.errors import UserError
from cam_repro.formats.text import (
    CsvTable,
    Words,
    has_columns,
    lines_of_set,
    one_line_each,
    read_header,
    read_text,
    whole_number,
    whole_numbers,
)


def table(folder: Path, text: str) -> CsvTable:
    path = folder / "t.csv"
    path.write_text(text, newline="")
    return CsvTable(path, "truth", ["b", "a"])


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_cells_come_by_column_in_the_order_asked_for(tmp_path, end):
    lines = ["a,c,b", "1,2,3", "", '"4","5","6, 7"', ""]
    read = table(tmp_path, end.join(lines))
    assert read.cells == [["3", "6, 7"], ["1", "4"]]
    assert [read.place(row) for row in (0, 1)] == [f"{read.path}, line {n}" for n in (2, 4)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", ": no column b, a; the first line must be b,a"),
        ("a,c\n1,2\n", ": no column b; the first line must be b,a"),
        ("sep=,\na,b\n1,2\n", ": its first line 'sep=,' is for Excel alone: delete it"),
        ("SEP=;\r\na;b", ": its first line 'SEP=;' is for Excel alone: delete it"),
        ("a,b\n1,2\n\n3\n", ", line 4: 1 columns, the first line has 2"),
        ('a,b\n1,"2\n2"\n1,2,3\n', ", line 4: 3 columns, the first line has 2"),
    ],
)
def test_what_is_no_table_is_refused_with_its_line(tmp_path, text, said):
    with pytest.raises(UserError) as error:
        table(tmp_path, text)
    assert str(error.value) == f"{tmp_path / 't.csv'}{said}"


def test_each_cell_becomes_one_line():
    assert one_line_each([]) == ""
    assert one_line_each(["1 2", "", "3"]) == "1 2\n\n3\n"
    assert one_line_each(["1\n2", "", "3\r\n4"]) == "1 2\n\n3  4\n"
    words = Words(one_line_each(["1\r2", "", "3"]))
    assert words.counts_N.tolist() == [2, 0, 1]
    assert words.numbers(str).tolist() == [1, 2, 3]


@pytest.mark.parametrize("word", ["-", "+", "1_0", "\u0663", "5.5", "5-", "nan", "2147483648"])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_what_is_no_whole_number_is_refused_wherever_it_stands(word, place):
    words = ["10", "2.0"]
    words.insert(place, word)
    with pytest.raises(UserError) as error:
        whole_numbers(words, lambda index: f"word {index}")
    assert str(error.value) == f"word {place}: {word!r} is not a whole number below 2^31"


@settings(max_examples=300, deadline=None)
@given(st.lists(st.text("0123456789+-.eExna", min_size=1, max_size=6), min_size=1, max_size=4))
def test_numbers_of_many_words_are_those_of_each(words):
    read = [whole_number(word) for word in words]
    if None in read:
        with pytest.raises(UserError):
            whole_numbers(words, str)
    else:
        assert whole_numbers(words, str).tolist() == read


def test_cells_with_blanks_and_line_ends_around_a_number_are_read():
    assert whole_numbers(["\r5", " 6\n", "7"], str).tolist() == [5, 6, 7]
    with pytest.raises(UserError, match=r"^1: '5 \\xa0' is not"):
        whole_numbers(["3", "5 \u00a0"], str)


@pytest.mark.parametrize("start", ["", "\n", "\r\n\n"])
def test_the_header_is_that_of_the_table(tmp_path, start):
    path = tmp_path / "t.csv"
    path.write_text(f'{start}"class_index",boxes\n1,2\n', newline="")
    assert read_header(path, "truth") == ["class_index", "boxes"]
    assert CsvTable(path, "truth", ["class_index"]).cells == [["1"]]


@pytest.mark.parametrize(
    "text",
    [
        '"a","c","b"\r\n"1","2","3"\r\n',
        "A;C;B\n1;2;3\n",
        "\ufeffa\tc\tb\n1\t2\t3\n",
        "a|c|b\n1|2|3\n",
        '"a" , "c" , B\n1,2,3\n',
        '"","a","c","b"\n"1","1","2","3"\n',  # as R numbers its rows
    ],
)
def test_a_csv_is_read_as_programs_write_it(tmp_path, text):
    found = table(tmp_path, text)
    assert found.cells == [["3"], ["1"]]
    assert found.place(0) == f"{found.path}, line 2"
    assert has_columns(read_header(found.path, "truth"), ["B", "a"])


def test_boxes_parted_by_semicolons_do_not_part_columns(tmp_path):
    assert table(tmp_path, 'a;b\n1;"0 0 1 1;2 2 3 3"\n').cells == [["0 0 1 1;2 2 3 3"], ["1"]]


def test_a_packed_file_that_fills_the_memory_is_refused(tmp_path):
    path = tmp_path / "truth.csv.gz"
    path.write_bytes(gzip.compress(b"0" * 2**25))
    with pytest.raises(UserError, match=r"truth.csv.gz: unpacks to more than 100 times its size"):
        read_text(path, "ground truth")
    path.write_bytes(gzip.compress(b"0" * 2**23))  # small enough whatever the share
    assert len(read_text(path, "ground truth")) == 2**23


def test_lines_of_a_set_are_parted_by_line_breaks_alone(tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes("\ufeffa\u2028b\r\n\nc\x0cd\n".encode())
    assert lines_of_set(path) == ["a\u2028b", "", "c\x0cd", ""]
    with pytest.raises(UserError, match=r"gone.txt: missing; restore it from the set's archive"):
        lines_of_set(tmp_path / "gone.txt")
    with pytest.raises(UserError, match=r"gone.txt: missing; name another"):
        lines_of_set(tmp_path / "gone.txt", "name another")
