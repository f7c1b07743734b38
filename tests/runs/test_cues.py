import pickle
import re

import numpy as np
import pytest
from pages import ROOT

from cam_repro.errors import UserError
from cam_repro.runs.cues import Cues, open_cues, write_cues, write_sec_file

CUES = Cues(
    values_R=np.array([3, 21]),
    maps_Rhw=np.arange(8, dtype=np.float32).reshape(2, 2, 2) / 7,
    cues_HW=np.array([[3, 255, 21]], np.uint8),
)


def test_what_is_written_is_read(tmp_path):
    for name in ("a", "cat/b"):
        write_cues(tmp_path, name, CUES)
    first, second = open_cues(tmp_path, ["cat/b", "a"], "cubic")
    for found in (first, second):
        assert found.values_R.tolist() == [3, 21]
        assert found.maps_Rhw.tolist() == CUES.maps_Rhw.tolist()
        assert found.cues_HW.tolist() == [[3, 255, 21]]
        assert found.interpolation == "cubic"


def test_the_reader_in_the_page_reads_them(tmp_path):
    """docs/data.md has five lines for programs of others."""
    write_cues(tmp_path / "cues", "2008_000001", CUES)
    text = (ROOT / "docs" / "data.md").read_text("utf-8")
    (block,) = re.findall(r"^```\n(import numpy.*?)^```$", text, re.M | re.S)
    assert len(block.splitlines()) <= 5
    found = {}
    exec(block.replace("RUN/cues", str(tmp_path / "cues")), found)
    assert found["classes"].tolist() == [3, 21]
    assert found["maps"].shape == (2, 2, 2)
    assert found["cues"].tolist() == [[3, 255, 21]]


def test_damage_is_named(tmp_path):
    write_cues(tmp_path, "a", CUES)
    whole = (tmp_path / "a.npz").read_bytes()
    for content, message in (
        (whole[: len(whole) // 2], "is damaged, or holds no cues"),
        (b"", "is damaged, or holds no cues"),
        (whole.replace(b"cues.npy", b"clues.np"), "is damaged, or holds no cues"),
    ):
        (tmp_path / "a.npz").write_bytes(content)
        with pytest.raises(UserError, match=message):
            list(open_cues(tmp_path, ["a"]))
    np.savez(tmp_path / "a.npz", classes=[1], maps=np.zeros((2, 2, 2)), cues=np.zeros((1, 1), "u1"))
    with pytest.raises(UserError, match=r"needs classes \(R,\), maps \(R, h, w\) and cues"):
        list(open_cues(tmp_path, ["a"]))
    np.savez(tmp_path / "a.npz", classes=[1], maps=[[[np.nan]]], cues=np.zeros((1, 1), "u1"))
    with pytest.raises(UserError, match=r"a.npz: its maps have values that are NaN or infinite"):
        list(open_cues(tmp_path, ["a"]))
    with pytest.raises(UserError, match=r"b.npz: there is no such file, so b has no cues"):
        list(open_cues(tmp_path, ["b"]))
    with pytest.raises(UserError, match=r"no such folder; give one with a file ID.npz"):
        list(open_cues(tmp_path / "none", ["b"]))
    with pytest.raises(UserError, match=r"'..' is no name of a file or folder"):
        write_cues(tmp_path, "../a", CUES)


def test_the_file_for_sec_is_read_as_its_program_reads_it(tmp_path):
    """An array (21, 41, 41) of 0 and 1 by a dictionary whose keys have the number in the list."""
    cues = [np.array([[3, 21], [0, 40], [5, 40]]), np.zeros((3, 0), int)]
    write_sec_file(tmp_path, ["a.jpg", "b.jpg"], [[3, 21], [7]], cues)
    assert (tmp_path / "input_list.txt").read_text() == "a.jpg 0\nb.jpg 1\n"
    content = (tmp_path / "localization_cues.pickle").read_bytes()
    assert content[:2] == b"\x80\x02"  # which Python 2 reads
    assert b"numpy" not in content
    data = pickle.loads(content)
    hot = np.zeros((2, 21))
    planes = np.zeros((2, 22, 41, 41))
    for number in range(2):
        hot[number, [0, *(value for value in data[f"{number}_labels"] if value < 21)]] = 1
        values, rows, columns = data[f"{number}_cues"]
        planes[number, values, rows, columns] = 1
    assert hot[1].nonzero()[0].tolist() == [0, 7]
    assert np.argwhere(planes).tolist() == [[0, 3, 0, 5], [0, 21, 40, 40]]
