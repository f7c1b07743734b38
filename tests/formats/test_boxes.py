"""True boxes from XML and solution files, and the table that is kept of a folder."""

from __future__ import annotations

import logging
import os
import re
from operator import attrgetter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cam_repro.errors import UserError
from cam_repro.formats import boxes as annotations
from cam_repro.formats.boxes import Annotations, read_annotations

CAT, DOG = "n02123045", "n02084071"

Objects = list[tuple[str, tuple[int, int, int, int]]]


def xml_text(objects: Objects, size: tuple[int, int] | None = (40, 30)) -> str:
    text = (
        "" if size is None else f"<size><width>{size[0]}</width><height>{size[1]}</height></size>"
    )
    for wnid, (x0, y0, x1, y1) in objects:
        # The tags in another order than the numbers.
        text += (
            f"<object><bndbox><ymax>{y1}</ymax><xmin>{x0}</xmin><ymin>{y0}</ymin>"
            f"<xmax>{x1}</xmax></bndbox><name>{wnid}</name></object>"
        )
    return f"<annotation>{text}</annotation>"


def write(folder: Path, files: dict[str, Objects]) -> None:
    for name, objects in files.items():
        path = folder / f"{name}.xml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(xml_text(objects))


def as_dict(table: Annotations) -> dict[str, Objects]:
    """Objects by image id, looked up one by one."""
    found = {}
    for row, image in enumerate(table.ids):
        start, end = table.boxes.offsets[row], table.boxes.offsets[row + 1]
        found[image] = [
            (str(wnid), tuple(box.tolist()))
            for wnid, box in zip(
                table.wnids_T[start:end], table.boxes.values_T4[start:end], strict=True
            )
        ]
    return found


def assert_equal(table: Annotations, wanted: Annotations) -> None:
    assert table.paths == wanted.paths
    assert table.ids == wanted.ids
    for name in ("sizes_N2", "wnids_T", "boxes.values_T4", "boxes.offsets"):
        mine, theirs = attrgetter(name)(table), attrgetter(name)(wanted)
        assert mine.dtype == theirs.dtype
        np.testing.assert_array_equal(mine, theirs)
    assert table.version == wanted.version


FILES: dict[str, Objects] = {
    "b": [(DOG, (0, 1, 2, 3)), (DOG, (4, 5, 39, 29))],
    "a": [(CAT, (7, 0, 7, 0))],
    "c": [],
}


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "xml", FILES)
    return tmp_path / "xml"


# --- what is read --------------------------------------------------------------------------------


def test_a_folder_of_xml_files_literally(folder):
    table = read_annotations(folder)
    assert table.ids == table.paths == ["a", "b", "c"]
    assert table.wnids_T.tolist() == [CAT, DOG, DOG]
    assert table.boxes.values_T4.tolist() == [[7, 0, 7, 0], [0, 1, 2, 3], [4, 5, 39, 29]]
    assert table.boxes.values_T4.dtype == table.sizes_N2.dtype == np.int32
    assert table.boxes.offsets.tolist() == [0, 1, 3, 3]
    assert table.sizes_N2.tolist() == [[40, 30]] * 3
    assert as_dict(table) == dict(sorted(FILES.items()))


def test_class_folders_are_left_out_of_ids(tmp_path):
    write(tmp_path, {f"{DOG}/{DOG}_2": FILES["b"], f"{CAT}/{CAT}_1": FILES["a"]})
    table = read_annotations(tmp_path)
    assert table.ids == [f"{DOG}_2", f"{CAT}_1"]  # sorted: n0208... is before n0212...
    assert table.paths == [f"{DOG}/{DOG}_2", f"{CAT}/{CAT}_1"]


def test_what_is_no_annotation_is_passed_over(folder):
    wanted = read_annotations(folder)
    for name in (".hidden.xml", "._a.xml", "readme.txt", "a.JPEG"):
        (folder / name).write_text("not XML")
    (folder / ".cache").mkdir()
    (folder / ".cache/d.xml").write_text("not XML")
    (folder / "deep/er").mkdir(parents=True)
    (folder / "deep/er/e.xml").write_text("not XML")  # two levels, as ILSVRC has them
    assert_equal(read_annotations(folder), wanted)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" 12 ", 12),
        ("12.0", 12),
        ("1.2e1", 12),
        ("-3", -3),
        ("2147483647", 2**31 - 1),
    ],
)
def test_how_a_number_may_be_written(tmp_path, text, expected):
    xml = xml_text([(DOG, (0, 1, 2, 3))]).replace("<xmax>2<", f"<xmax>{text}<")
    (tmp_path / "a.xml").write_text(xml)
    assert read_annotations(tmp_path).boxes.values_T4.tolist() == [[0, 1, expected, 3]]


def test_encodings_that_xml_declares_are_understood(tmp_path):
    body = xml_text(FILES["a"]).replace("<annotation>", "<annotation><folder>été</folder>")
    (tmp_path / "a.xml").write_bytes(
        f'<?xml version="1.0" encoding="latin-1"?>{body}'.encode("latin-1")
    )
    (tmp_path / "b.xml").write_bytes(body.encode("utf-8-sig"))
    (tmp_path / "c.xml").write_bytes(body.encode("utf-16"))
    assert as_dict(read_annotations(tmp_path)) == dict.fromkeys("abc", FILES["a"])


def test_a_file_need_not_say_the_size(tmp_path):
    (tmp_path / "a.xml").write_text(xml_text(FILES["a"], size=None))
    assert read_annotations(tmp_path).sizes_N2.tolist() == [[0, 0]]


def _cut(text: str) -> bytes:
    return text[:-9].encode()


def _without(tag: str, text: str) -> bytes:
    return text.replace(f"<{tag}>", "<x>").replace(f"</{tag}>", "</x>").encode()


def _coordinate(value: str, text: str) -> bytes:
    return text.replace("<ymin>1<", f"<ymin>{value}<").encode()


GOOD = xml_text([(DOG, (0, 1, 2, 3))])

BROKEN = {
    "cut short": (_cut(GOOD), "unclosed token"),
    "empty": (b"", "no element found"),
    "not XML": (b"404 not found", "syntax error"),
    "not UTF-8": (
        GOOD.replace("<annotation>", "<annotation>\xe9").encode("latin-1"),
        "'utf-8' codec can't decode",
    ),
    "unknown encoding": (b'<?xml version="1.0" encoding="klingon"?><a/>', "unknown encoding"),
    "other text than declared": (
        b'<?xml version="1.0" encoding="gb2312"?><annotation>\xff</annotation>',
        "'gb2312' codec can't decode",
    ),
    "another kind of XML": (b"<annotations><image/></annotations>", "<annotations>, not of"),
    "no box": (_without("bndbox", GOOD), "an object has no <bndbox>"),
    "no name": (_without("name", GOOD), "no <name> in <object>"),
    "empty name": (GOOD.replace(DOG, " ").encode(), "no <name> in <object>"),
    "no corner": (_without("ymin", GOOD), "no <ymin> in <bndbox>"),
    "no width": (_without("width", GOOD), "no <width> in <size>"),
    "negative size": (
        re.sub("<width>[^<]*<", "<width>-5<", GOOD).encode(),
        "<width> -5 and <height> ",
    ),
    "a word": (_coordinate("wide", GOOD), "<ymin> 'wide' is not a number"),
    "an empty corner": (_coordinate("", GOOD), "no <ymin> in <bndbox>"),
    "infinite": (_coordinate("inf", GOOD), "<ymin> 'inf' is not a number"),
    "NaN": (_coordinate("nan", GOOD), "<ymin> 'nan' is not a number"),
    "too large": (_coordinate("2147483648", GOOD), "<ymin> '2147483648' is not a number"),
    "huge": (_coordinate("1e999", GOOD), "<ymin> '1e999' is not a number"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_is_named_with_its_fault(folder, kind):
    content, words = BROKEN[kind]
    (folder / "b.xml").write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_annotations(folder)
    message = str(caught.value)
    assert message.startswith(f"{folder / 'b.xml'}: not a readable annotation (")
    assert words in message
    assert message.endswith("; restore the file")
    assert "\n" not in message


def test_a_pipe_is_refused_and_not_waited_for(folder):
    os.mkfifo(folder / "pipe.xml")
    with pytest.raises(UserError) as caught:
        read_annotations(folder)
    assert str(caught.value) == (
        f"{folder / 'pipe.xml'}: not a readable annotation (a pipe, a socket or a device, not a "
        "file); restore the file"
    )


def test_all_broken_files_are_named_where_they_are_asked_for(folder, tmp_path):
    for name, (content, _) in zip("bdefghijklmnopqrstuvwxyz", BROKEN.values(), strict=False):
        (folder / f"{name}.xml").write_bytes(content)
    (folder / "link.xml").symlink_to(tmp_path / "nowhere")
    (folder / "z.xml").mkdir()
    broken: list[str] = []
    table = read_annotations(folder, tmp_path / "cache", broken)
    assert as_dict(table) == {"a": FILES["a"], "c": []}
    assert len(broken) == len(BROKEN) + 2
    assert any(f"{folder / 'link.xml'}: not a readable" in fault for fault in broken)
    assert not (tmp_path / "cache").exists()  # a table of broken files is not kept


def test_neither_a_folder_nor_a_file(tmp_path):
    with pytest.raises(UserError, match="nowhere: no such folder or file"):
        read_annotations(tmp_path / "nowhere")


# --- Kaggle's solution files ---------------------------------------------------------------------

HEADER = "ImageId,PredictionString\n"


def test_a_solution_file_literally(tmp_path, folder):
    path = tmp_path / "LOC_val_solution.csv"
    path.write_text(f"{HEADER}b,{DOG} 0 1 2 3 {DOG} 4 5 39 29.0 \na,{CAT} 7 0 7 0\n\nc,\n")
    table = read_annotations(path)
    xml = read_annotations(folder)
    assert as_dict(table) == as_dict(xml)
    assert table.version == xml.version  # which says nothing of sizes
    assert table.sizes_N2.tolist() == [[0, 0]] * 3
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())  # as Excel saves it
    assert_equal(read_annotations(path), table)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (f"a,{DOG} 1 2 3", "4 words"),
        (f"a,{DOG} 1 2 x 4", "'x' is not a whole number below 2^31"),
        (f"a,{DOG} 1 2 inf 4", "'inf' is not a whole number below 2^31"),
        (f"a,{DOG} 1 2 nan 4", "'nan' is not a whole number below 2^31"),
        (f"a,{DOG} 1 2 99999999999 4", "'99999999999' is not a whole number below 2^31"),
        (f"a,{DOG} 1 2 3.5 4", "'3.5' is not a whole number below 2^31"),
        (f"b,{DOG} 1 2 3 4", "image b comes a second time"),
        (f",{DOG} 1 2 3 4", "the image has no name"),
    ],
)
def test_a_wrong_line_of_a_solution_is_named(tmp_path, line, words):
    path = tmp_path / "solution.csv"
    path.write_text(f"{HEADER}b,{CAT} 0 0 1 1\n{line}\nc,{CAT} 2 2 3 3\n")
    with pytest.raises(UserError) as caught:
        read_annotations(path)
    wanted = f"{path}, line 3: {words}; expected 'wnid x0 y0 x1 y1' for each object"
    assert str(caught.value) == wanted
    broken: list[str] = []
    table = read_annotations(path, broken=broken)
    assert broken == [wanted]
    assert as_dict(table) == {"b": [(CAT, (0, 0, 1, 1))], "c": [(CAT, (2, 2, 3, 3))]}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"image,boxes\na,b\n", "no column ImageId, PredictionString"),
        (b"", "no column ImageId, PredictionString"),
        (b"ImageId,PredictionString\na\n", "line 2: 1 columns, the first line has 2"),
        (b"ImageId,PredictionString\na,n\xe9 0 0 1 1\n", "is not a text file"),
    ],
)
def test_a_file_that_is_no_solution_is_named(tmp_path, content, words):
    path = tmp_path / "solution.csv"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_annotations(path)
    assert str(path) in str(caught.value)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    broken: list[str] = []
    assert read_annotations(path, broken=broken).ids == []
    assert broken == [str(caught.value)]


# --- the kept table ------------------------------------------------------------------------------


@pytest.fixture
def counted(monkeypatch):
    """Names of the XML files that were read."""
    read: list[str] = []
    original = annotations._read_xml

    def count(folder: Path, name: str) -> annotations.Record:
        read.append(name)
        return original(folder, name)

    monkeypatch.setattr(annotations, "_read_xml", count)
    return read


def test_a_kept_table_is_the_one_read(folder, tmp_path, counted):
    cold = read_annotations(folder, tmp_path / "cache")
    assert counted == ["a.xml", "b.xml", "c.xml"]
    warm = read_annotations(folder, tmp_path / "cache")
    assert len(counted) == 3
    assert_equal(warm, cold)
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".npz"]
    read_annotations(folder)  # no cache, no table
    assert len(counted) == 6


def test_an_empty_folder_and_one_without_objects_are_kept_too(tmp_path, counted):
    for name, files in {"empty": {}, "bare": {"n/a": [], "m/a": []}}.items():
        (tmp_path / name).mkdir()
        write(tmp_path / name, files)
        cold = read_annotations(tmp_path / name, tmp_path / "cache")
        reads = len(counted)
        assert_equal(read_annotations(tmp_path / name, tmp_path / "cache"), cold)
        assert len(counted) == reads
        assert cold.boxes.values_T4.shape == (0, 4)
    assert cold.ids == ["m/a", "n/a"]


def _added(folder: Path) -> None:
    write(folder, {"d": [(DOG, (1, 1, 1, 1))]})


def _removed(folder: Path) -> None:
    (folder / "a.xml").unlink()


def _renamed(folder: Path) -> None:
    (folder / "a.xml").rename(folder / "aa.xml")


def _changed_in_size(folder: Path) -> None:
    path, before = folder / "a.xml", (folder / "a.xml").stat().st_mtime_ns
    path.write_text(path.read_text().replace("<ymin>0<", "<ymin>00<"))
    os.utime(path, ns=(before, before))


def _changed_at_the_same_size(folder: Path) -> None:
    path, before = folder / "a.xml", (folder / "a.xml").stat()
    path.write_text(path.read_text().replace("<ymin>0<", "<ymin>1<"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert path.stat().st_size == before.st_size


@pytest.mark.parametrize(
    "change", [_added, _removed, _renamed, _changed_in_size, _changed_at_the_same_size]
)
def test_a_table_is_stale_when_a_file_changes(folder, tmp_path, counted, change):
    read_annotations(folder, tmp_path / "cache")
    change(folder)
    table = read_annotations(folder, tmp_path / "cache")
    assert_equal(table, read_annotations(folder))
    names = sorted(path.name for path in folder.iterdir())
    assert counted[3:] == names * 2
    assert_equal(read_annotations(folder, tmp_path / "cache"), table)  # kept anew
    assert counted[3:] == names * 2


def _nothing(path: Path) -> None:
    path.write_bytes(b"")


def _text(path: Path) -> None:
    path.write_text("hello")


def _half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    where = content.index(DOG.encode("utf-32-le"))
    content[where] ^= 1
    path.write_bytes(content)


def _lacks_an_array(path: Path) -> None:
    with np.load(path) as kept:
        np.savez(path.with_name("other.npz"), signature=kept["signature"])
    path.with_name("other.npz").replace(path)


@pytest.mark.parametrize("damage", [_nothing, _text, _half, _flipped, _lacks_an_array])
def test_a_damaged_table_is_made_anew(folder, tmp_path, counted, damage):
    wanted = read_annotations(folder, tmp_path / "cache")
    (kept,) = (tmp_path / "cache").iterdir()
    damage(kept)
    assert_equal(read_annotations(folder, tmp_path / "cache"), wanted)
    assert len(counted) == 6
    assert_equal(read_annotations(folder, tmp_path / "cache"), wanted)
    assert len(counted) == 6


def test_a_table_of_another_version_is_made_anew(folder, tmp_path, counted, monkeypatch):
    read_annotations(folder, tmp_path / "cache")
    monkeypatch.setattr(annotations, "CACHE_VERSION", annotations.CACHE_VERSION + 1)
    read_annotations(folder, tmp_path / "cache")
    assert len(counted) == 6


def test_folders_of_one_name_have_tables_of_their_own(tmp_path, counted):
    write(tmp_path / "one/val", {"a": FILES["a"]})
    write(tmp_path / "two/val", {"a": FILES["b"]})
    for _ in range(2):
        for parent, objects in (("one", FILES["a"]), ("two", FILES["b"])):
            table = read_annotations(tmp_path / parent / "val", tmp_path / "cache")
            assert as_dict(table) == {"a": objects}
    assert len(counted) == 2


def test_a_cache_that_cannot_be_written_only_warns(folder, tmp_path, caplog):
    (tmp_path / "cache").write_text("a file where the folder should be")
    with caplog.at_level(logging.WARNING):
        table = read_annotations(folder, tmp_path / "cache")
    assert_equal(table, read_annotations(folder))
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        f"the table of {folder} is not kept"
    ]


# --- choosing images -----------------------------------------------------------------------------


def test_select_literally(folder):
    chosen = read_annotations(folder).select(["b", "nobody", "c", "a", "b"])
    assert chosen.paths == ["b", "nobody", "c", "a", "b"]
    assert chosen.boxes.offsets.tolist() == [0, 2, 2, 2, 3, 5]
    assert chosen.wnids_T.tolist() == [DOG, DOG, CAT, DOG, DOG]
    b = [[0, 1, 2, 3], [4, 5, 39, 29]]
    assert chosen.boxes.values_T4.tolist() == [*b, [7, 0, 7, 0], *b]
    assert chosen.sizes_N2.tolist() == [[40, 30], [0, 0], [40, 30], [40, 30], [40, 30]]
    assert chosen.sizes_N2.dtype == chosen.boxes.values_T4.dtype == np.int32


def test_select_from_nothing_and_of_nothing(folder, tmp_path):
    (tmp_path / "none").mkdir()
    empty = read_annotations(tmp_path / "none")
    assert (empty.ids, len(empty.boxes.values_T4), empty.boxes.offsets.tolist()) == ([], 0, [0])
    chosen = empty.select(["a", "b"])
    assert chosen.boxes.offsets.tolist() == [0, 0, 0]
    assert chosen.sizes_N2.tolist() == [[0, 0], [0, 0]]
    assert chosen.boxes.values_T4.shape == (0, 4)
    for table in (empty, read_annotations(folder)):
        nothing = table.select([])
        assert (nothing.paths, nothing.boxes.offsets.tolist()) == ([], [0])
        assert nothing.boxes.values_T4.shape == (0, 4)
        assert nothing.sizes_N2.shape == (0, 2)


NAMES = st.sampled_from(["a", "b", "c", "d", "e", "f"])
CORNERS = st.tuples(*[st.integers(-5, 50)] * 4)
OBJECTS = st.lists(st.tuples(st.sampled_from([CAT, DOG]), CORNERS), max_size=4)


@given(st.dictionaries(NAMES, st.tuples(CORNERS, OBJECTS)), st.lists(NAMES, max_size=12))
def test_select_equals_looking_up_one_by_one(images, wanted):
    records = [
        annotations.Record(name, (size[0], size[1]), objects)
        for name, (size, objects) in images.items()
    ]
    table = annotations._table(records)
    assert as_dict(table) == {name: objects for name, (_, objects) in sorted(images.items())}
    chosen = table.select(wanted)
    assert len(chosen.sizes_N2) == len(wanted)
    for row, name in enumerate(wanted):
        size, objects = images.get(name, ((0, 0), []))
        start, end = chosen.boxes.offsets[row], chosen.boxes.offsets[row + 1]
        assert chosen.sizes_N2[row].tolist() == list(size[:2])
        assert chosen.wnids_T[start:end].tolist() == [wnid for wnid, _ in objects]
        assert chosen.boxes.values_T4[start:end].tolist() == [list(box) for _, box in objects]
    assert chosen.boxes.offsets[-1] == len(chosen.boxes.values_T4) == len(chosen.wnids_T)


def test_difficult_objects_are_marked(tmp_path):
    """Also out of the cache and after a selection; nothing is difficult where no mark is."""
    folder = tmp_path / "xml"
    write(folder, {"a": [(CAT, (0, 0, 1, 1)), (DOG, (2, 2, 3, 3))], "b": [(CAT, (0, 0, 1, 1))]})
    text = (folder / "a.xml").read_text()
    marked = text.replace(f"<name>{DOG}</name>", f"<name>{DOG}</name><difficult> 1 </difficult>")
    marked = marked.replace(f"<name>{CAT}</name>", f"<name>{CAT}</name><difficult>0</difficult>")
    (folder / "a.xml").write_text(marked)
    for _ in range(2):
        table = read_annotations(folder, tmp_path / "cache")
        assert table.difficult_T.tolist() == [False, True, False]
    assert table.select(["b", "none", "a"]).difficult_T.tolist() == [False, False, True]


def test_annotations_are_matched_with_images_by_name(tmp_path):
    write(tmp_path, {"flat": [], "x/one": [], "y/two": []})
    table = read_annotations(tmp_path)
    assert table.ids == ["flat", "one", "two"]
    files = ["one.JPEG", "z/two.JPEG", "y/flat.png", "three.JPEG"]
    assert table.ids_for(files) == ["one", "two", "flat", ""]


def test_names_that_repeat_are_matched_by_folder(tmp_path):
    write(tmp_path, {"cat/001": FILES["a"], "dog/001": FILES["b"], "dog/002": []})
    table = read_annotations(tmp_path)
    assert table.ids == table.paths == ["cat/001", "dog/001", "dog/002"]
    files = ["cat/001.jpg", "dog/001.jpg", "dog/002.jpg", "cat/002.jpg"]
    assert table.ids_for(files) == ["cat/001", "dog/001", "dog/002", ""]
    # An image may still lie elsewhere than its annotation ...
    assert table.ids_for(["pet/002.jpg", "cat/003.jpg"]) == ["dog/002", ""]
    # ... unless two could be meant.
    assert table.ids_for(["pet/001.jpg", "002.jpg"]) == ["", "dog/002"]
    assert table.ids_for(["cat/001.jpg"]) == ["cat/001"]
    assert table.ids_for(["pet/002.jpg", "kid/002.jpg"]) == ["", ""]


def test_the_only_annotation_of_a_name_is_not_that_of_another_folders_image(tmp_path):
    write(tmp_path, {"cat/001": FILES["a"]})
    table = read_annotations(tmp_path)
    assert table.ids_for(["cat/001.jpg", "dog/001.jpg"]) == ["001", ""]


# --- the version ---------------------------------------------------------------------------------


def test_version_is_that_of_images_classes_and_boxes(tmp_path):
    def version(files):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        write(folder, files)
        return read_annotations(folder).version

    base = version(FILES)
    assert version(dict(reversed(FILES.items()))) == base
    a = FILES["a"]
    others = [
        {**FILES, "d": []},
        {"b": FILES["b"], "c": []},
        {**FILES, "a": [(DOG, a[0][1])]},
        {**FILES, "a": [(CAT, (7, 0, 7, 1))]},
        {**FILES, "a": a * 2},
        {"b": FILES["b"], "a": [], "c": a},
    ]
    assert len({base, *map(version, others)}) == 1 + len(others)


# --- the real boxes ------------------------------------------------------------------------------


def test_the_fifty_thousand_from_a_solution_file(shared_file, tmp_path):
    """All official boxes, written as Kaggle does, in the numbers of the official files."""
    import csv
    import gzip

    from cam_repro.classes import ilsvrc_classes

    wnids = ilsvrc_classes().wnids
    path = tmp_path / "LOC_val_solution.csv"
    source = shared_file("ilsvrc2012_val_groundtruth.csv.gz")
    with gzip.open(source, "rt", newline="") as file, path.open("w") as solution:
        solution.write(HEADER)
        for row in csv.DictReader(file):
            boxes = " ".join(
                f"{wnids[int(row['class_index'])]} {box}" for box in row["boxes"].split(";")
            )
            solution.write(f"{row['image']},{boxes} \n")
    table = read_annotations(path)
    assert (len(table.ids), len(table.boxes.values_T4)) == (50_000, 80_477)
    assert (np.diff(table.boxes.offsets) > 1).sum() == 11_715
    assert (table.boxes.values_T4[:, 0] == 0).sum() == 7_388
    assert table.wnids_T[0] == "n01751748"


# --- as other programs write it ------------------------------------------------------------------


def test_every_box_of_an_object_is_taken(tmp_path):
    second = "<bndbox><xmin>5</xmin><ymin>6</ymin><xmax>7</xmax><ymax>8</ymax></bndbox>"
    (tmp_path / "a.xml").write_text(GOOD.replace("</bndbox>", f"</bndbox>{second}"))
    table = read_annotations(tmp_path)
    assert as_dict(table) == {"a": [(DOG, (0, 1, 2, 3)), (DOG, (5, 6, 7, 8))]}


@pytest.mark.parametrize(
    "text",
    [
        GOOD.replace("<annotation>", '<annotation xmlns="http://voc.example">'),
        re.sub("<(/?)", r"<\1v:", GOOD).replace("<v:annotation", '<v:annotation xmlns:v="x"', 1),
        re.sub("(</?)([a-z]+)", lambda tag: tag[1] + tag[2].title(), GOOD),
    ],
)
def test_namespaces_and_capitals_do_not_matter(tmp_path, text):
    (tmp_path / "a.XML").write_text(text)
    table = read_annotations(tmp_path)
    assert as_dict(table) == {"a": [(DOG, (0, 1, 2, 3))]}
    assert table.sizes_N2.tolist() == [[40, 30]]


def test_objects_in_small_letters_and_in_capitals_are_all_read(tmp_path):
    text = xml_text([(DOG, (0, 1, 2, 3)), (DOG, (4, 5, 6, 7))])
    head, tail = text.rsplit("<object>", 1)
    (tmp_path / "a.xml").write_text(head + "<Object>" + tail.replace("</object>", "</Object>"))
    assert read_annotations(tmp_path).boxes.values_T4.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]


@pytest.mark.parametrize("encoding", ["gb2312", "big5", "shift_jis", "euc-kr", "GBK"])
def test_encodings_that_python_knows_are_understood(tmp_path, encoding):
    body = GOOD.replace("<annotation>", "<annotation><folder>\u4e00</folder>").replace(
        DOG, "\u4e00"
    )
    text = f"<?xml version='1.0' encoding='{encoding}'?>{body}"
    (tmp_path / "a.xml").write_bytes(text.encode(encoding))
    assert as_dict(read_annotations(tmp_path)) == {"a": [("\u4e00", (0, 1, 2, 3))]}


def test_fractions_are_rounded_to_the_nearest_pixel_and_remembered(tmp_path):
    """Two official files of VOC 2012 have some: 45.70000076293945."""
    for name, ymin in (("a", "1"), ("b", "45.70000076293945"), ("c", "1.5"), ("d", "1.4")):
        (tmp_path / f"{name}.xml").write_text(GOOD.replace("<ymin>1<", f"<ymin>{ymin}<"))
    for _ in range(2):  # the second time from the table that is kept
        table = read_annotations(tmp_path, tmp_path / "cache")
        assert table.boxes.values_T4[:, 1].tolist() == [1, 46, 2, 1]
        assert table.rounded_N.tolist() == [False, True, True, True]
    assert table.select(["d", "?", "a"]).rounded_N.tolist() == [True, False, False]


def test_a_file_in_both_spellings_of_its_suffix_is_refused(folder):
    (folder / "a.XML").write_text(GOOD)
    with pytest.raises(UserError, match=r"a\.XML: there is \.xml and \.XML of it"):
        read_annotations(folder)


def test_annotations_too_deep_are_counted(folder, caplog):
    caplog.set_level(logging.INFO)
    write(folder, {"x/deep/e": FILES["a"], "x/deep/er/f": FILES["a"]})
    assert read_annotations(folder).ids == ["a", "b", "c"]
    assert caplog.messages == [
        f"{folder}: 2 annotations lie deeper than in one sub-folder and are not read (the first: "
        "x/deep/e.xml)"
    ]
