"""Whether a file is as the manifest beside it says."""

import pytest

from cam_repro.errors import UserError
from cam_repro.files import sha256, write_json
from cam_repro.runs.manifest import check_unchanged, refuse_to_overwrite


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


@pytest.mark.parametrize("content", ["{", "[]", "{}", "null"])
def test_a_damaged_manifest_beside_it_is_said(file, caplog, content):
    manifest = file.with_name("manifest.json")
    manifest.write_text(content)
    check_unchanged(file, "train again")
    assert caplog.messages == [
        f"{manifest} is damaged, or no manifest, so it is not known whether a.pt is as it was "
        "written"
    ]


@pytest.mark.parametrize(
    "content",
    ['{"files": 3}', '{"checkpoint": null}', '{"checkpoint": {"path": "a.pt"}}', '{"a": 1}'],
)
def test_a_manifest_that_names_no_checksum_says_nothing(file, caplog, content):
    file.with_name("manifest.json").write_text(content)
    check_unchanged(file, "train again")
    assert caplog.messages == []


def test_a_run_under_way_has_no_manifest(file, caplog):
    check_unchanged(file, "train again")
    assert caplog.messages == []


def test_an_input_is_not_overwritten(file, tmp_path):
    link = tmp_path / "link.pt"
    link.symlink_to(file)
    with pytest.raises(UserError) as refused:
        refuse_to_overwrite("output", link, [None, {"a": 1}, "nowhere", str(file)])
    assert str(refused.value) == f"output={link}: is read by this command: name another file"
    refuse_to_overwrite("output", tmp_path / "new.json", [file])
    refuse_to_overwrite("output", file, [tmp_path])


@pytest.mark.parametrize("content", ['{"files": {"a.pt": "00"}}', '{"schema": 1}', "{", "[]"])
@pytest.mark.parametrize("name", ["a.pt", "manifest.json"])
def test_a_runs_own_files_are_not_overwritten(file, content, name):
    file.with_name("manifest.json").write_text(content)
    file.with_name("mine.json").write_text("")
    with pytest.raises(UserError) as refused:
        refuse_to_overwrite("output", file.with_name(name))
    said = f"is a file of the run in {file.parent}: name another file"
    assert str(refused.value) == f"output={file.with_name(name)}: {said}"
    refuse_to_overwrite("output", file.with_name("mine.json"))
