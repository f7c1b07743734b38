import pytest

from cam_repro.errors import UserError
from cam_repro.formats.devkit import read_blacklist, read_val_labels


def test_blacklist_numbers_start_at_one(tmp_path):
    path = tmp_path / "b.txt"
    path.write_text("1\n\n3\n")
    assert read_blacklist(path, 3).tolist() == [True, False, True]
    for bad in ("0", "4"):
        path.write_text(f"1\n{bad}\n")
        with pytest.raises(UserError, match=f"line 2: image {bad}; the images are 1 to 3"):
            read_blacklist(path, 3)


@pytest.mark.parametrize(("word", "line"), [("x", 2), ("1.5", 2), ("1 2", 2)])
def test_a_line_that_is_no_number_is_named(tmp_path, word, line):
    path = tmp_path / "b.txt"
    path.write_text(f"1\n{word}\n")
    with pytest.raises(UserError, match=f"b.txt, line {line}: '{word}' is not a whole number"):
        read_blacklist(path, 3)


def test_validation_labels_are_numbers_in_file_name_order(tmp_path):
    path = tmp_path / "labels.txt"
    path.write_text("490\n361\n")
    assert read_val_labels(path).tolist() == [490, 361]
    path.write_text("490\nn1\n")
    with pytest.raises(UserError, match=r"labels.txt: expected one class id a line"):
        read_val_labels(path)


def test_a_list_of_labels_that_a_windows_program_saved_is_read(tmp_path):
    (tmp_path / "labels.txt").write_bytes(b"\xef\xbb\xbf490\r\n361\r\n")
    assert read_val_labels(tmp_path / "labels.txt").tolist() == [490, 361]
