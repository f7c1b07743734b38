"""Official archives, small and with every trap: what is written, what is refused, what is kept."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import logging
import os
import shutil
import tarfile
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tqdm import tqdm

from cam_repro.data.ilsvrc import unpack as module
from cam_repro.data.ilsvrc.layouts import find_layout
from cam_repro.data.ilsvrc.unpack import MD5, ArchiveReport, UnpackReport, unpack
from cam_repro.errors import UserError

TRAIN = "ILSVRC2012_img_train.tar"
VAL = "ILSVRC2012_img_val.tar"
TEST = "ILSVRC2012_img_test_v10102019.tar"
OLD_TEST = "ILSVRC2012_img_test.tar"
BBOX_TRAIN = "ILSVRC2012_bbox_train_v2.tar.gz"
BBOX_VAL = "ILSVRC2012_bbox_val_v3.tgz"
DEVKIT = "ILSVRC2012_devkit_t12.tar.gz"

Member = tuple[str, bytes] | tarfile.TarInfo


def tar(*members: Member, form: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar of (name, content) files and of whatever else a TarInfo describes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                archive.addfile(info, io.BytesIO(member[1]))
    return buffer.getvalue()


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def image(split: str, number: int, content: bytes) -> tuple[str, bytes]:
    return f"ILSVRC2012_{split}_{number:08d}.JPEG", content


def tree(root: Path) -> dict[str, bytes]:
    """Every file below ``root`` but the stamps; leftovers of interrupted writing included."""
    files = (path for path in root.rglob("*") if path.is_file())
    found = {path.relative_to(root).as_posix(): path.read_bytes() for path in files}
    return {name: found[name] for name in sorted(found) if not name.startswith(".unpack/")}


CONTENT = {f"ILSVRC2012_val_{i:08d}.JPEG": bytes([i]) * (700 * i) for i in range(1, 7)}
"""Six val images, which fill two to nine blocks of a tar."""
UNPACKED = {f"val/{name}": content for name, content in CONTENT.items()}


@pytest.fixture
def tars(tmp_path: Path) -> Path:
    folder = tmp_path / "tars"
    folder.mkdir()
    return folder


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "tree"


@pytest.fixture
def val(tars: Path) -> Path:
    path = tars / VAL
    path.write_bytes(tar(*CONTENT.items()))
    return path


def run(tars: Path, output: Path, **more: object) -> UnpackReport:
    return unpack(tars, output, progress=False, **more)  # type: ignore[arg-type]


def only(report: UnpackReport) -> ArchiveReport:
    (archive,) = report.archives
    return archive


def refusal(tars: Path, output: Path, **more: object) -> str:
    with pytest.raises(UserError) as caught:
        run(tars, output, **more)
    message = str(caught.value)
    assert "\n" not in message
    return message


# --- the tree ------------------------------------------------------------------------------------


def test_all_archives_become_the_official_layout_byte_by_byte(tars, output):
    train = {
        "n01440764.tar": tar(("n01440764_7.JPEG", b"tench 7"), ("n01440764_18.JPEG", b"x" * 5000)),
        "n01443537.tar": tar(("n01443537_2.JPEG", b"")),
    }
    (tars / TRAIN).write_bytes(tar(*train.items()))
    (tars / VAL).write_bytes(tar(image("val", 1, b"v1"), image("val", 2, b"v2")))
    (tars / TEST).write_bytes(tar(("test/ILSVRC2012_test_00000003.JPEG", b"t3")))
    (tars / BBOX_VAL).write_bytes(gzip.compress(tar(("val/ILSVRC2012_val_00000001.xml", b"<v/>"))))
    boxes = tar(("n01440764/n01440764_7.xml", b"<a/>"), ("n01443537/n01443537_2.xml", b"<b/>"))
    (tars / BBOX_TRAIN).write_bytes(gzip.compress(boxes))
    kit = "ILSVRC2012_devkit_t12"
    files = {
        f"{kit}/readme.txt": b"read me",
        f"{kit}/data/meta.mat": bytes(range(256)),
        f"{kit}/data/ILSVRC2012_validation_ground_truth.txt": b"490\n361\n",
        f"{kit}/evaluation/eval_flat.m": b"%",
    }
    folders = (special(f"{kit}{name}", tarfile.DIRTYPE) for name in ("", "/data", "/evaluation"))
    (tars / DEVKIT).write_bytes(gzip.compress(tar(*folders, *files.items())))

    report = run(tars, output)

    assert tree(output) == {
        **files,
        "bbox/train/n01440764/n01440764_7.xml": b"<a/>",
        "bbox/train/n01443537/n01443537_2.xml": b"<b/>",
        "bbox/val/ILSVRC2012_val_00000001.xml": b"<v/>",
        "test/ILSVRC2012_test_00000003.JPEG": b"t3",
        "train/n01440764/n01440764_18.JPEG": b"x" * 5000,
        "train/n01440764/n01440764_7.JPEG": b"tench 7",
        "train/n01443537/n01443537_2.JPEG": b"",
        "val/ILSVRC2012_val_00000001.JPEG": b"v1",
        "val/ILSVRC2012_val_00000002.JPEG": b"v2",
    }
    layout = find_layout(output)
    assert layout.images == {split: output / split for split in ("train", "val", "test")}
    assert layout.boxes == {split: output / "bbox" / split for split in ("train", "val")}
    assert layout.meta == output / kit / "data" / "meta.mat"
    assert layout.val_labels == output / kit / "data" / "ILSVRC2012_validation_ground_truth.txt"
    counts = [(a.archive, a.written, a.kept, a.unexpected) for a in report.archives]
    assert counts == [
        (DEVKIT, 4, 0, 0),
        (BBOX_VAL, 1, 0, 0),
        (VAL, 2, 0, 0),
        (BBOX_TRAIN, 2, 0, 0),
        (TEST, 1, 0, 0),
        (TRAIN, 3, 0, 0),
    ]


@pytest.mark.parametrize("squeeze", [bytes, gzip.compress])
@pytest.mark.parametrize("inner", ["n01440764.tar", "./deep/n01440764.tar.gz", "n01440764.tgz"])
def test_train_boxes_in_one_archive_a_class_are_found_too(tars, output, inner, squeeze):
    boxes = tar(("Annotation/n01440764/n01440764_7.xml", b"<a/>"))
    (tars / BBOX_TRAIN).write_bytes(gzip.compress(tar((inner, squeeze(boxes)))))
    run(tars, output)
    assert tree(output) == {"bbox/train/n01440764/n01440764_7.xml": b"<a/>"}


def test_an_archive_that_a_browser_has_decompressed_is_read_under_its_old_name(tars, output):
    (tars / BBOX_VAL).write_bytes(tar(("val/ILSVRC2012_val_00000001.xml", b"<v/>")))
    run(tars, output)
    assert tree(output) == {"bbox/val/ILSVRC2012_val_00000001.xml": b"<v/>"}


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_prefixes_folders_and_what_macos_adds_do_not_matter(tars, output, form):
    deep = "long/" * 30  # more than the 100 characters of the first tar programs
    members = [
        special("./", tarfile.DIRTYPE),
        ("./._ILSVRC2012_val_00000001.JPEG", b"macOS"),
        (f"./{image('val', 1, b'')[0]}", b"v1"),
        ("./.DS_Store", b"macOS"),
        (f"{deep}{image('val', 2, b'')[0]}", b"v2"),
    ]
    (tars / VAL).write_bytes(tar(*members, form=form))
    report = run(tars, output)
    assert tree(output) == {
        "val/ILSVRC2012_val_00000001.JPEG": b"v1",
        "val/ILSVRC2012_val_00000002.JPEG": b"v2",
    }
    assert only(report).unexpected == 0


def test_members_of_other_names_are_left_out_counted_and_named(tars, output):
    others = ["notes.txt", "ILSVRC2012_val_1.JPEG", "n01440764.tar", "ILSVRC2012_val_00000001.exe"]
    (tars / VAL).write_bytes(tar(*((name, b"?") for name in others), image("val", 9, b"9")))
    report = run(tars, output)
    assert tree(output) == {"val/ILSVRC2012_val_00000009.JPEG": b"9"}
    assert only(report).unexpected == 4
    assert only(report).examples == ("'notes.txt'", "'ILSVRC2012_val_1.JPEG'", "'n01440764.tar'")
    assert report.warnings[-1] == (
        f"{VAL}: left out 4 members with names that the official archive does not have "
        "('notes.txt', 'ILSVRC2012_val_1.JPEG', 'n01440764.tar', ...)"
    )


def test_an_archive_inside_an_inner_archive_is_not_opened(tars, output):
    bomb = tar(("n01440764_1.JPEG", b"1"))
    inner = tar(("n01440764.tar", bomb), ("n01440764_2.JPEG", b"2"))
    (tars / TRAIN).write_bytes(tar(("n01440764.tar", inner)))
    assert only(run(tars, output)).unexpected == 1
    assert tree(output) == {"train/n01440764/n01440764_2.JPEG": b"2"}


def test_files_have_the_permissions_that_new_files_have(val, output):
    mask = os.umask(0o027)
    try:
        run(val, output)
    finally:
        os.umask(mask)
    assert {p.stat().st_mode & 0o777 for p in (output / "val").iterdir()} == {0o640}


# --- which archives ------------------------------------------------------------------------------


def test_splits_choose_images_and_boxes_and_the_development_kit_comes_along(val, tars, output):
    (tars / BBOX_VAL).write_bytes(gzip.compress(tar(("ILSVRC2012_val_00000001.xml", b"<v/>"))))
    (tars / TEST).write_bytes(tar(image("test", 1, b"t")))
    (tars / DEVKIT).write_bytes(gzip.compress(tar(("ILSVRC2012_devkit_t12/COPYING", b"c"))))
    run(tars, output, splits=["test"])
    assert tree(output) == {
        "ILSVRC2012_devkit_t12/COPYING": b"c",
        "test/ILSVRC2012_test_00000001.JPEG": b"t",
    }


def test_one_file_or_several_places_may_be_given(val, tars, tmp_path, output):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / TEST).write_bytes(tar(image("test", 1, b"t")))
    (elsewhere / VAL).write_bytes(tar(image("val", 1, b"other")))
    assert [a.archive for a in run(val, output).archives] == [VAL]
    report = run([tars, str(elsewhere), elsewhere / VAL], output)  # type: ignore[arg-type]
    assert [(a.archive, a.finished_before) for a in report.archives] == [(VAL, True), (TEST, False)]
    assert tree(output) == UNPACKED | {"test/ILSVRC2012_test_00000001.JPEG": b"t"}


def test_the_newer_test_images_are_preferred_and_replace_those_of_the_older(tars, output, caplog):
    (tars / OLD_TEST).write_bytes(tar(image("test", 1, b"old 1"), image("test", 2, b"old 2")))
    run(tars, output)
    (tars / TEST).write_bytes(tar(image("test", 1, b"new 1"), image("test", 2, b"new 2")))
    with caplog.at_level(logging.INFO):
        run(tars, output)
    assert tree(output) == {
        "test/ILSVRC2012_test_00000001.JPEG": b"new 1",
        "test/ILSVRC2012_test_00000002.JPEG": b"new 2",
    }
    assert f"left alone: {OLD_TEST}" in caplog.text


def test_no_archive_names_those_looked_for(tars, output):
    (tars / "images.tar").write_bytes(tar(image("val", 1, b"1")))
    assert refusal(tars, output) == (
        f"tars={tars}: found none of {DEVKIT}, {BBOX_VAL}, {VAL}, {BBOX_TRAIN}, {TEST}, "
        f"{OLD_TEST}, {TRAIN}; download them from image-net.org and give the folder that holds them"
    )
    assert f"found none of {DEVKIT}, {TEST}, {OLD_TEST}; " in refusal(tars, output, splits=["test"])
    assert not output.exists()


def test_what_is_no_archive_is_refused_by_name(val, tars, output):
    (tars / "images.tar").write_bytes(b"")
    assert "not the name of an official archive" in refusal(tars / "images.tar", output)
    assert refusal(tars / "x", output) == f"tars={tars / 'x'}: no such file or folder"
    message = refusal(tars, output, splits=["val", "trian"])
    assert message == "splits: 'trian' is no split; choose among train, val, test"


# --- members that would do harm ------------------------------------------------------------------

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


# --- damaged archives ----------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_an_archive_cut_anywhere_is_refused_and_holds_no_half_file(data, tmp_path_factory):
    whole = {
        VAL: tar(*CONTENT.items()),
        TRAIN: tar(("n01440764.tar", tar(("n01440764_7.JPEG", bytes(3000))))),
        BBOX_VAL: gzip.compress(tar(("ILSVRC2012_val_00000001.xml", bytes(range(200))))),
    }
    # The end mark of val's tar comes after 6 headers and 2 + 3 + 5 + 6 + 7 + 9 blocks of data, that
    # of train's after a header and 20 blocks; what comes after the mark is padding.
    longest = {VAL: 38 * 512 + 511, TRAIN: 21 * 512 + 511, BBOX_VAL: len(whole[BBOX_VAL]) - 1}
    name = data.draw(st.sampled_from(sorted(whole)))
    folder = tmp_path_factory.mktemp("cut")
    archive = folder / name
    archive.write_bytes(whole[name][: data.draw(st.integers(0, longest[name]))])
    message = refusal(archive, folder / "tree")
    assert message.startswith(f"{archive}: truncated or corrupt (")
    assert message.endswith(f"); download it again (the MD5 of the official file is {MD5[name]})")
    if name == VAL:
        assert tree(folder / "tree").items() <= UNPACKED.items()


def test_a_cut_between_two_members_is_noticed(tars, output):
    content = tar(*CONTENT.items())
    second = 512 + 1024  # a header and the two blocks of the first image's 700 bytes
    assert content[second : second + 28] == b"ILSVRC2012_val_00000002.JPEG"
    (tars / VAL).write_bytes(content[:second])
    assert f"(no end mark at byte {second})" in refusal(tars, output)


def test_a_hole_of_zeros_is_not_taken_for_the_end(tars, output):
    content = bytearray(tar(*CONTENT.items()))
    content[1536:2048] = bytes(512)  # the header of the second image
    (tars / VAL).write_bytes(content)
    assert "(more bytes after its end mark at byte 1536)" in refusal(tars, output)


def test_zeros_to_the_end_of_a_file_of_the_full_size_are_not_padding(tars, output):
    content = tar(*CONTENT.items())
    (tars / VAL).write_bytes(content[:1536] + bytes(module.MAX_PADDING + 1024))
    assert "(more bytes after its end mark at byte 1536)" in refusal(tars, output)


def test_a_corrupt_header_names_the_inner_archive(tars, output):
    inner = bytearray(tar(("n01440764_1.JPEG", b"1"), ("n01440764_2.JPEG", b"2")))
    inner[1024] ^= 1  # the first letter of the second name: the header's checksum is wrong
    (tars / TRAIN).write_bytes(tar(("n01440764.tar", bytes(inner))))
    assert "(n01440764.tar: no end mark at byte 1024)" in refusal(tars, output)


def test_a_wrong_checksum_of_gzip_is_noticed(tars, output):
    content = bytearray(gzip.compress(tar(("ILSVRC2012_val_00000001.xml", b"<v/>"))))
    content[-8] ^= 1
    (tars / BBOX_VAL).write_bytes(content)
    assert "CRC check failed" in refusal(tars, output)


@pytest.mark.parametrize("content", [b"", b"<html>Please log in</html>" * 100, bytes(20480)])
def test_what_is_no_archive_at_all_is_refused(tars, output, content):
    (tars / VAL).write_bytes(content)
    assert f"{tars / VAL}: truncated or corrupt (" in refusal(tars, output)


def test_odd_bytes_after_the_end_are_forgiven_where_the_sum_is_the_official_one(
    tars, output, monkeypatch
):
    content = tar(*CONTENT.items()) + b"left over"
    (tars / VAL).write_bytes(content)
    monkeypatch.setitem(MD5, VAL, hashlib.md5(content).hexdigest())
    report = run(tars, output)
    assert tree(output) == UNPACKED
    assert report.warnings == []
    (tars / VAL).write_bytes(content + b"!")
    assert "more bytes after its end mark" in refusal(tars, output)


@pytest.mark.parametrize("name", [VAL, BBOX_VAL])
def test_the_sum_is_that_of_the_whole_file(tars, output, name, monkeypatch):
    suffix = "JPEG" if name == VAL else "xml"
    big = os.urandom(5 * module.CHUNK // 2)
    content = tar(*((f"ILSVRC2012_val_{i:08d}.{suffix}", big[i:]) for i in range(2)), ("odd", big))
    content = content if name == VAL else gzip.compress(content, 1)
    (tars / name).write_bytes(content)
    expected = hashlib.md5(content).hexdigest()
    report = run(tars, output)
    assert only(report).md5 == expected
    assert report.warnings[0] == (
        f"{name}: its MD5 is {expected}, the official file's is {MD5[name]}; unless it is a "
        "selection of your own, download it again and unpack it again"
    )
    assert report.warnings[1] == f"{name}: 2 files, the official one has 50,000"
    # A second run reads it to the end as well, though it writes nothing; a third reads nothing.
    shutil.rmtree(output / ".unpack")
    assert only(run(tars, output)).md5 == expected
    again = run(tars, output)
    assert only(again).finished_before
    assert again.warnings == report.warnings[:2]
    monkeypatch.setitem(MD5, name, expected)
    assert run(tars, output).warnings == []


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 220), st.integers(0, 80)), min_size=2, max_size=8))
def test_jumping_about_in_an_archive_changes_neither_its_bytes_nor_its_sum(tmp_path_factory, moves):
    content = bytes(range(200))
    path = tmp_path_factory.mktemp("source") / VAL
    path.write_bytes(content)
    with tqdm(total=200, file=io.StringIO()) as bar:
        with module._Source(path, bar, verify=True) as source:
            for offset, count in moves:
                assert source.seek(offset) == source.tell() == offset
                assert source.read(count) == content[offset : offset + count]
            assert source.md5() == hashlib.md5(content).hexdigest()
        assert bar.n == 200


def test_without_verify_there_is_no_sum(val, output):
    report = run(val, output, verify=False)
    assert only(report).md5 is None
    assert report.warnings == [f"{VAL}: 6 files, the official one has 50,000"]
    assert tree(output) == UNPACKED


# --- going on ------------------------------------------------------------------------------------


@pytest.fixture
def interrupt(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes the copying of the n-th file stop half-way, as Ctrl-C would; 0 mends it."""
    copy = shutil.copyfileobj

    def arm(number: int) -> None:
        left = number

        def copy_some(source: io.BytesIO, target: io.BytesIO, length: int = 0) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                target.write(source.read(100))
                raise KeyboardInterrupt
            copy(source, target, length)

        monkeypatch.setattr(module.shutil, "copyfileobj", copy_some)

    return arm


def test_an_interrupted_run_leaves_whole_files_and_the_next_goes_on(val, output, interrupt):
    interrupt(4)
    with pytest.raises(KeyboardInterrupt):
        run(val, output)
    names = sorted(CONTENT)
    assert tree(output) == {f"val/{name}": CONTENT[name] for name in names[:3]}
    first = output / "val" / names[0]
    before = first.stat().st_mtime_ns
    interrupt(0)
    report = only(run(val, output))
    assert (report.written, report.kept) == (3, 3)
    assert report.md5 == hashlib.md5(val.read_bytes()).hexdigest()
    assert tree(output) == UNPACKED
    assert first.stat().st_mtime_ns == before


def test_an_interrupted_inner_archive_is_gone_on_with(tars, output, interrupt):
    wnids = ["n01440764", "n01443537"]
    inner = {w: [(f"{w}_{i}.JPEG", w.encode() * i) for i in range(1, 4)] for w in wnids}
    (tars / TRAIN).write_bytes(tar(*((f"{w}.tar", tar(*files)) for w, files in inner.items())))
    interrupt(5)
    with pytest.raises(KeyboardInterrupt):
        run(tars, output)
    assert len(tree(output)) == 4
    interrupt(0)
    report = only(run(tars, output))
    assert (report.written, report.kept) == (2, 4)
    assert tree(output) == {
        f"train/{w}/{name}": content for w, files in inner.items() for name, content in files
    }


def test_a_file_of_a_wrong_size_is_replaced_and_one_of_the_right_size_kept(val, output):
    folder = output / "val"
    folder.mkdir(parents=True)
    one, two = sorted(CONTENT)[:2]
    (folder / one).write_bytes(b"short")
    (folder / two).write_bytes(b"!" * len(CONTENT[two]))
    report = only(run(val, output))
    assert (report.written, report.kept) == (5, 1)
    assert tree(output) == UNPACKED | {f"val/{two}": b"!" * len(CONTENT[two])}


def test_a_finished_archive_is_not_read_again(val, output, monkeypatch):
    first = only(run(val, output))
    assert json.loads((output / ".unpack" / f"{VAL}.json").read_text()) == {
        "archive": VAL,
        "size": val.stat().st_size,
        "mtime_ns": val.stat().st_mtime_ns,
        "keep": True,
        "finished": True,
        "files": 6,
        "md5": first.md5,
    }
    with monkeypatch.context() as patch:
        patch.setattr(module.tarfile, "open", lambda **_: pytest.fail("the archive was read"))
        report = only(run(val, output))
    assert report == ArchiveReport(VAL, 0, 6, 0, (), 0.0, first.md5, finished_before=True)


def test_a_file_that_was_removed_comes_back(val, output):
    run(val, output)
    (output / "val" / sorted(CONTENT)[2]).unlink()
    report = only(run(val, output))
    assert (report.written, report.kept) == (1, 5)
    assert tree(output) == UNPACKED


def test_a_stamp_that_cannot_be_read_is_none(val, output):
    run(val, output)
    (output / ".unpack" / f"{VAL}.json").write_text("{}")
    assert not only(run(val, output)).finished_before
    assert only(run(val, output)).finished_before


OTHER = {name: bytes(len(content)) for name, content in CONTENT.items()}
"""Files of the same names and sizes."""


def replace(path: Path, content: bytes) -> None:
    """Another file in the place of ``path``, which is a second younger."""
    stamp = path.stat().st_mtime_ns + 10**9
    path.write_bytes(content)
    os.utime(path, ns=(stamp, stamp))


def test_files_of_a_truncated_archive_are_replaced_by_those_of_the_whole_one(val, output):
    whole = val.read_bytes()
    val.write_bytes(tar(*OTHER.items())[:4000])
    refusal(val, output)
    assert tree(output) != {}
    replace(val, whole)
    report = only(run(val, output))
    assert (report.written, report.kept) == (6, 0)
    assert tree(output) == UNPACKED


def test_they_are_replaced_too_where_the_whole_one_has_size_and_time_of_the_damaged_one(
    val, output
):
    whole, status = val.read_bytes(), val.stat()
    val.write_bytes(tar(*OTHER.items())[:4000] + bytes(len(whole) - 4001) + b"!")
    os.utime(val, ns=(status.st_atime_ns, status.st_mtime_ns))
    refusal(val, output)
    val.write_bytes(whole)
    os.utime(val, ns=(status.st_atime_ns, status.st_mtime_ns))
    run(val, output)
    assert tree(output) == UNPACKED


def test_files_of_an_archive_with_another_sum_are_replaced(val, output):
    whole = val.read_bytes()
    val.write_bytes(tar(*OTHER.items()))
    run(val, output)
    replace(val, whole)
    assert only(run(val, output)).written == 6
    assert tree(output) == UNPACKED


def test_they_are_replaced_even_where_the_second_run_is_interrupted(val, output, interrupt):
    whole = val.read_bytes()
    val.write_bytes(tar(*OTHER.items()))
    interrupt(6)
    with pytest.raises(KeyboardInterrupt):
        run(val, output)
    replace(val, whole)
    interrupt(2)
    with pytest.raises(KeyboardInterrupt):
        run(val, output)
    interrupt(0)
    run(val, output)
    assert tree(output) == UNPACKED


def test_files_of_the_official_archive_are_kept_when_it_was_only_touched(val, output, monkeypatch):
    monkeypatch.setitem(MD5, VAL, hashlib.md5(val.read_bytes()).hexdigest())
    run(val, output)
    replace(val, val.read_bytes())
    report = only(run(val, output))
    assert (report.written, report.kept) == (0, 6)


# --- the disk ------------------------------------------------------------------------------------

Usage = namedtuple("Usage", "total used free")


def test_too_little_space_is_told_before_anything_is_written(val, output, monkeypatch):
    free = val.stat().st_size - 1
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: Usage(10**9, 10**9 - free, free))
    message = refusal(val, output)
    assert message.startswith(f"{output}: about 0.0 MB are needed on the disk of {output.parent}, ")
    assert not output.exists()


def test_what_is_unpacked_already_needs_no_space(val, output, interrupt, monkeypatch):
    interrupt(6)
    with pytest.raises(KeyboardInterrupt):
        run(val, output)
    interrupt(0)
    there = sum(512 * p.stat().st_blocks for p in (output / "val").iterdir())
    needed = val.stat().st_size - there
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: Usage(0, 0, needed - 1))
    assert "free some" in refusal(val, output)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: Usage(0, 0, needed))
    assert only(run(val, output)).written == 1
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: Usage(0, 0, 0))
    assert only(run(val, output)).finished_before


def test_each_disk_is_looked_at_by_itself(val, tars, output, tmp_path, monkeypatch):
    (tars / TEST).write_bytes(tar(image("test", 1, b"t")))
    asked = []

    def usage(place: Path) -> Usage:
        asked.append(place)
        return Usage(0, 0, 10**6)

    monkeypatch.setattr(module.shutil, "disk_usage", usage)
    run(tars, output)
    assert asked == [tmp_path]  # both on one disk, asked once


def test_a_full_disk_is_told_in_one_line_and_leaves_no_half_file(val, output, monkeypatch):
    def full(source: io.BytesIO, target: io.BytesIO, length: int) -> None:
        target.write(source.read(10))
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module.shutil, "copyfileobj", full)
        assert refusal(val, output) == (
            f"{output}: the disk is full; free some space and run it again, it goes on here"
        )
    assert tree(output) == {}
    run(val, output)
    assert tree(output) == UNPACKED


def test_a_folder_where_a_file_should_go_is_an_error_of_one_line(val, output):
    (output / "val" / sorted(CONTENT)[1]).mkdir(parents=True)
    message = refusal(val, output)
    assert message.startswith(f"{val}: stopped (")
    assert not list(output.rglob("*.part"))
