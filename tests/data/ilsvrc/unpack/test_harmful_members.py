"""Archives with members that would do harm: refused by name, and nothing of them written."""

from __future__ import annotations

import gzip
import tarfile

import pytest
from archives import DEVKIT, TRAIN, VAL, image, only, refusal, run, special, tar, tree

from cam_repro.data.ilsvrc.unpack import MD5

HARM = [
    (("../ILSVRC2012_val_00000009.JPEG", b"!"), "a path out of the output folder"),
    (("val/../../ILSVRC2012_val_00000009.JPEG", b"!"), "a path out of the output folder"),
    (("/tmp/ILSVRC2012_val_00000009.JPEG", b"!"), "an absolute or foreign path"),
    (("..\\ILSVRC2012_val_00000009.JPEG", b"!"), "an absolute or foreign path"),
    (("C:/ILSVRC2012_val_00000009.JPEG", b"!"), "an absolute or foreign path"),
    (("/etc/notes.txt", b"!"), "an absolute or foreign path"),
    (special("../up", tarfile.DIRTYPE), "a path out of the output folder"),
    (
        special("ILSVRC2012_val_00000009.JPEG", tarfile.SYMTYPE, "/etc/passwd"),
        "a link to '/etc/passwd'",
    ),
    (special("val", tarfile.SYMTYPE, "/tmp"), "a link to '/tmp'"),
    (
        special("ILSVRC2012_val_00000009.JPEG", tarfile.LNKTYPE, "../../secret"),
        "a link to '../../secret'",
    ),
    (
        special("ILSVRC2012_val_00000009.JPEG", tarfile.CHRTYPE),
        "neither a plain file nor a folder",
    ),
    (
        special("ILSVRC2012_val_00000009.JPEG", tarfile.FIFOTYPE),
        "neither a plain file nor a folder",
    ),
    (
        special("ILSVRC2012_val_00000009.JPEG", tarfile.GNUTYPE_SPARSE),
        "neither a plain file nor a folder",
    ),
]


@pytest.mark.parametrize(("member", "fault"), HARM)
def test_a_harmful_member_is_refused_by_name_and_nothing_of_it_written(
    tars, output, tmp_path, member, fault
):
    (tars / VAL).write_bytes(tar(image("val", 1, b"1"), member, image("val", 2, b"2")))
    name = member.name if isinstance(member, tarfile.TarInfo) else member[0]
    before = set(tmp_path.rglob("*"))
    message = refusal(tars, output)
    assert message.startswith(f"{tars / VAL}: refused, its member {name!a} is {fault}; ")
    assert f"download it again (the MD5 of the official file is {MD5[VAL]})" in message
    assert tree(output) == {"val/ILSVRC2012_val_00000001.JPEG": b"1"}
    outside = {p for p in set(tmp_path.rglob("*")) - before if not p.is_relative_to(output)}
    assert outside == set()


@pytest.mark.parametrize(("member", "fault"), HARM)
def test_a_harmful_member_of_an_inner_archive_is_refused_as_well(tars, output, member, fault):
    (tars / TRAIN).write_bytes(tar(("n01440764.tar", tar(member))))
    assert f" is {fault}; " in refusal(tars, output)
    assert tree(output) == {}


@pytest.mark.parametrize("name", ["other/data/meta.mat", "ILSVRC2012_devkit_t12", "meta.mat"])
def test_the_development_kit_keeps_to_its_folder(tars, output, name):
    members = [(name, b"!"), ("ILSVRC2012_devkit_t12/data/meta.mat", b"ok")]
    (tars / DEVKIT).write_bytes(gzip.compress(tar(*members)))
    assert only(run(tars, output)).unexpected == 1
    assert tree(output) == {"ILSVRC2012_devkit_t12/data/meta.mat": b"ok"}
