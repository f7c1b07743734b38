"""Whether a file is as the manifest beside it says."""

import pytest

from cam_repro.errors import UserError
from cam_repro.files import sha256, write_json
from cam_repro.runs.manifest import check_unchanged


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.pt"
    path.write_bytes(b"abc")
    return path


def test_a_changed_file_is_refused(file, caplog):
    write_json(file.with_name("manifest.json"), {"files": {"a.pt": sha256(file)}})
    check_unchanged(file, "train again")
    file.write_bytes(b"abd")
    with pytest.raises(UserError, match=r"a.pt is not as it was written: .*: train again$"):
        check_unchanged(file, "train again")
    assert caplog.messages == []


@pytest.mark.parametrize("content", ["{", "[]", "{}", "null", '{"files": 3}'])
def test_a_damaged_manifest_beside_it_is_said(file, caplog, content):
    manifest = file.with_name("manifest.json")
    manifest.write_text(content)
    check_unchanged(file, "train again")
    assert caplog.messages == [
        f"{manifest} is damaged, so it is not known whether a.pt is as it was written"
    ]


def test_a_run_under_way_has_no_manifest(file, caplog):
    check_unchanged(file, "train again")
    assert caplog.messages == []
