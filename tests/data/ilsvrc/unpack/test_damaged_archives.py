"""Archives that are cut, holed or changed, and their MD5 sums."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil

import pytest
from archives import BBOX_VAL, CONTENT, TRAIN, UNPACKED, VAL, only, refusal, run, tar, tree
from hypothesis import given, settings
from hypothesis import strategies as st
from tqdm import tqdm

from cam_repro.data.ilsvrc import unpack as module
from cam_repro.data.ilsvrc.unpack import MD5


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
