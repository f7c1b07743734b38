"""CSV cells by column, and numbers of many cells read as one text."""

from pathlib import Path

import pytest

from cam_repro.errors import UserError
from cam_repro.formats.text import CsvTable, Words, one_line_each


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
