"""The classes: WordNet ids, class indices and the development kits' ids."""

import hashlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.io import savemat

from cam_repro import matlab
from cam_repro.classes import (
    ClassTable,
    are_indices,
    as_typed,
    classes_of,
    find_class,
    ilsvrc_classes,
    in_class_order,
    read_meta,
    read_synset_mapping,
    unnamed_classes,
)
from cam_repro.errors import UserError
from cam_repro.types import NO_LABEL

SHIPPED_FROM = "the shipped table of ILSVRC's classes"

# The first 20 lines of ILSVRC2012_validation_ground_truth.txt, and the class indices of the same
# images in the order of the sorted WordNet ids (val.txt of Caffe's ILSVRC12 files).
VAL_IDS = [490, 361, 171, 822, 297, 482, 13, 704, 599, 164]
VAL_IDS += [649, 11, 73, 286, 554, 6, 648, 399, 749, 545]
VAL_INDICES = [65, 970, 230, 809, 516, 57, 334, 415, 674, 332]
VAL_INDICES += [109, 286, 370, 757, 595, 147, 108, 23, 478, 517]


def one_line(error: pytest.ExceptionInfo[UserError]) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


# --- the shipped table ---------------------------------------------------------------------------


def test_the_shipped_table_is_a_permutation_without_fixed_point():
    table = ilsvrc_classes()
    assert len(table) == 1000
    assert list(table.wnids) == sorted(set(table.wnids))
    assert table.devkit_ids_C.dtype == np.int32
    assert sorted(table.devkit_ids_C.tolist()) == list(range(1, 1001))
    # The kit's id is never the class index + 1, nor the class index.
    assert not (table.devkit_ids_C == np.arange(1, 1001)).any()
    assert table.devkit_ids_C[65] == 490
    assert table.ids_from == SHIPPED_FROM
    assert table.labels_are == "ILSVRC2012_ID of the development kit"
    assert table.submission_labels_C is table.devkit_ids_C
    assert ilsvrc_classes() is table


def test_the_shipped_table_does_not_change():
    """Pinned when 2,432 labels of the official validation file agreed with it."""
    table = ilsvrc_classes()
    ids = hashlib.sha256(table.devkit_ids_C.astype("<i4").tobytes()).hexdigest()
    assert ids == "6e57e27b45f7b9b608b6bb5562c82e2e2b4ee9299a69768b4c6628d9a03c9a53"
    wnids = hashlib.sha256("\n".join(table.wnids).encode()).hexdigest()
    assert wnids == "385e0240499426c022b773be1ae4da780f057b89c9694c7f47199f62746b6edd"
    with pytest.raises(ValueError, match="read-only"):
        table.devkit_ids_C[0] = 1


@pytest.mark.parametrize(
    ("devkit_id", "wnid", "index", "name"),
    [
        (1, "n02119789", 278, "kit fox"),
        (2, "n02100735", 212, "English setter"),
        (62, "n02119022", 277, "red fox"),
        (429, "n02012849", 134, "crane"),
        (449, "n01440764", 0, "tench"),
        (450, "n01443537", 1, "goldfish"),
        (490, "n01751748", 65, "sea snake"),
        (545, "n03126707", 517, "crane"),
        (889, "n15075141", 999, "toilet tissue"),
        (1000, "n03255030", 543, "dumbbell"),
    ],
)
def test_known_classes(devkit_id, wnid, index, name):
    table = ilsvrc_classes()
    assert table.index_of(wnid) == table.get(wnid) == index
    assert table.indices_of_labels(np.array([devkit_id])).tolist() == [index]
    assert table.devkit_ids_C[index] == devkit_id
    assert table.names[index] == name


def test_official_labels_of_the_first_validation_images():
    indices = ilsvrc_classes().indices_of_labels(np.array(VAL_IDS))
    assert indices.tolist() == VAL_INDICES
    assert indices.dtype == np.int32
    assert ilsvrc_classes().submission_labels_C[VAL_INDICES].tolist() == VAL_IDS


def test_loading_imports_neither_torch_nor_scipy():
    code = (
        "import sys; from cam_repro.classes import ilsvrc_classes; ilsvrc_classes();"
        "print([name for name in ('torch', 'scipy', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# --- the table ----------------------------------------------------------------------------------


def test_labels_without_devkit_ids_are_class_index_plus_one():
    table = classes_of(["n3", "n1", "n2", "n1"], names={"n1": "one", "n3": "three"})
    assert table.wnids == ("n1", "n2", "n3")
    assert table.names == ("one", "n2", "three")
    assert table.devkit_ids_C is None
    assert table.ids_from == "none, as these are not ILSVRC's 1,000 classes"
    assert table.submission_labels_C.tolist() == [1, 2, 3]
    assert table.submission_labels_C.dtype == np.int32
    assert table.labels_are == "class index + 1"
    labels_23 = np.array([[3, 0, 1], [-1, 4, 2]])
    assert table.indices_of_labels(labels_23).tolist() == [[2, -1, 0], [-1, -1, 1]]


def test_a_number_that_is_no_label_has_no_class():
    table = ClassTable(("n1", "n2", "n3"), ("a", "b", "c"), np.array([7, 2, 5], np.int32), "here")
    labels_X = np.array([7, 2, 5, 0, 1, 3, 4, 6, 8, -1, -7, 2**40])
    assert table.indices_of_labels(labels_X).tolist() == [0, 1, 2] + [NO_LABEL] * 9
    assert table.indices_of_labels(np.array([], np.int64)).tolist() == []
    assert table.indices_of_labels(np.array([5, 255], np.uint8)).tolist() == [2, NO_LABEL]


def test_an_unknown_class_is_named():
    table = ilsvrc_classes()
    assert table.get("n00000001") is None
    with pytest.raises(UserError) as error:
        table.index_of("n00000001")
    assert "class n00000001: not among the 1,000 classes" in one_line(error)


@given(st.permutations(range(1, 9)), st.integers(-3, 12))
def test_labels_and_indices_are_inverse(ids, number):
    wnids = tuple(f"n{i}" for i in range(8))
    table = ClassTable(wnids, wnids, np.array(ids, np.int32), "here")
    assert table.indices_of_labels(table.submission_labels_C).tolist() == list(range(8))
    expected = ids.index(number) if number in ids else NO_LABEL
    assert int(table.indices_of_labels(np.array(number))) == expected


# --- data sets by their WordNet ids --------------------------------------------------------------


def test_ilsvrcs_classes_have_the_devkits_ids_wherever_they_come_from():
    shipped = ilsvrc_classes()
    table = classes_of(set(shipped.wnids), names={"n01440764": "my fish"})
    assert table.wnids == shipped.wnids
    assert table.names == ("my fish", *shipped.names[1:])
    assert table.devkit_ids_C.tolist() == shipped.devkit_ids_C.tolist()
    assert table.ids_from == SHIPPED_FROM


def test_a_subset_of_ilsvrcs_classes_has_labels_of_its_own():
    shipped = ilsvrc_classes()
    for wnids in (shipped.wnids[:40], shipped.wnids[:-1], (*shipped.wnids, "n99999999")):
        table = classes_of(wnids)
        assert table.devkit_ids_C is None
        assert table.submission_labels_C.tolist() == list(range(1, len(wnids) + 1))
    assert classes_of(shipped.wnids[:2]).names == ("tench", "goldfish")


def test_a_subset_has_the_ids_of_its_meta_file():
    shipped = ilsvrc_classes()
    meta = ClassTable(shipped.wnids, shipped.names, shipped.devkit_ids_C, "kit/meta.mat")
    table = classes_of(["n02119789", "n01440764"], meta=meta)
    assert table.wnids == ("n01440764", "n02119789")
    assert table.names == ("tench", "kit fox")
    assert table.devkit_ids_C.tolist() == table.submission_labels_C.tolist() == [449, 1]
    assert table.indices_of_labels(np.array([1, 449, 2])).tolist() == [1, 0, NO_LABEL]
    assert table.ids_from == "kit/meta.mat"
    assert table.labels_are == "ILSVRC2012_ID of the development kit"


def test_a_meta_file_of_other_classes_is_refused():
    meta = ClassTable(("n1", "n2"), ("a", "b"), np.array([2, 1], np.int32), "kit/meta.mat")
    assert classes_of(["n2"], meta=meta).names == ("b",)
    with pytest.raises(UserError) as error:
        classes_of(["n1", "n3"], meta=meta)
    assert one_line(error) == "kit/meta.mat: has no class n3; it belongs to another data set"


def test_a_meta_file_that_contradicts_the_shipped_table_is_refused():
    shipped = ilsvrc_classes()
    ids_C = shipped.devkit_ids_C.copy()
    ids_C[[0, 65]] = ids_C[[65, 0]]
    meta = ClassTable(shipped.wnids, shipped.names, ids_C, "kit/meta.mat")
    with pytest.raises(UserError) as error:
        classes_of(shipped.wnids, meta=meta)
    message = one_line(error)
    assert message.startswith("kit/meta.mat: gives 2 of ILSVRC's 1,000 classes another id")
    assert "n01440764: 490, should be 449" in message


def test_no_classes_at_all_are_refused():
    with pytest.raises(UserError, match="no classes"):
        classes_of([])


# --- numbers -------------------------------------------------------------------------------------


def test_numbers_are_in_numeric_order_and_other_names_in_that_of_text():
    assert in_class_order(["10", "2", "0", "007"]) == ["0", "2", "007", "10"]
    assert in_class_order(["10", "2", "x"]) == ["10", "2", "x"]
    assert in_class_order(["b/2", "a/10", "a/9"]) == ["a/9", "a/10", "b/2"]
    assert in_class_order(["a/10", "a/9", "a/x"]) == ["a/10", "a/9", "a/x"]
    packed_before = ClassTable(("a/10", "a/2"), ("a/10", "a/2"), None, "")
    assert packed_before.find("a/2") == 1
    table = classes_of(["10", "2", "0"], names={"2": "two"})
    assert (table.wnids, table.names) == (("0", "2", "10"), ("0", "two", "10"))
    assert table.find("10") == 2
    assert table.find("1") is None


def test_a_class_of_ilsvrc_is_found_by_its_index_too():
    table = ilsvrc_classes()
    assert [table.find(name) for name in ("n01751748", "65", "999", "1000", "-1", "x")] == [
        *(65, 65, 999, None, None, None)
    ]
    assert classes_of(["cat", "dog"]).find("1") is None


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        (range(1000), True),
        ((5, 7), True),
        ((0, 999), True),
        ((7,), True),
        (range(10), False),
        (range(1, 201), False),
        (range(1, 1001), False),
        ((5, 1000), False),
        ((), False),
    ],
)
def test_which_numbers_are_indices_of_ilsvrcs_classes(numbers, expected):
    assert are_indices(map(str, numbers)) == expected
    assert not are_indices(["5", "cat"])


def test_classes_without_names():
    table = unnamed_classes(2)
    assert (table.names, table.is_named, table.labels_are) == (
        *(("class 0", "class 1"), False, "class index + 1"),
    )
    with pytest.raises(UserError, match="class 1000000: is no class index, they are below"):
        unnamed_classes(1_000_001)


# --- LOC_synset_mapping.txt ----------------------------------------------------------------------


def test_synset_mapping(tmp_path):
    path = tmp_path / "LOC_synset_mapping.txt"
    path.write_text("n1 tench, Tinca tinca\n\nn2\nn3 café\n", encoding="utf-8")
    table = read_synset_mapping(path)
    assert table.wnids == ("n1", "n2", "n3")
    assert table.names == ("tench", "n2", "café")
    assert table.devkit_ids_C is None


@pytest.mark.parametrize(
    "text",
    [
        "n1,tench\nn2,a b\n",
        '"n1";"tench"\n"n2";"a b"\n',
        "n1\ttench, x\r\nn2\ta b, y\r\n",
        "n1|tench\nn2|a b\n",
        "n1 | tench\nn2 | a b\n",
    ],
)
def test_a_list_of_classes_as_a_spreadsheet_writes_it(tmp_path, text):
    (tmp_path / "m.csv").write_text(text, newline="")
    table = read_synset_mapping(tmp_path / "m.csv")
    assert (table.wnids, table.names) == (("n1", "n2"), ("tench", "a b"))


@pytest.mark.parametrize(
    ("text", "header"),
    [
        ("class,description\nn01440764,tench\nn01443537,goldfish\n", "class description"),
        ("number|what\n0|tench\n1|goldfish\n", "number what"),
        ("wnid;name\nyak;a yak\nzebu;a zebu\n", "wnid name"),
        ("Synsets\nn01440764\n", "Synsets"),
    ],
)
def test_a_header_is_no_class(tmp_path, text, header):
    path = tmp_path / "h.csv"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        read_synset_mapping(path)
    assert one_line(error) == (
        f"{path}: its first line, {header}, is a header, not a class: remove it"
    )


def test_a_class_may_be_called_as_a_header(tmp_path):
    path = tmp_path / "order.txt"
    path.write_text("class\nfish\nlabel\n")
    assert read_synset_mapping(path).wnids == ("class", "fish", "label")
    path.write_text("bird a bird\nn01440764 tench\n")
    assert read_synset_mapping(path).wnids == ("bird", "n01440764")


def test_a_list_of_numbers_is_in_numeric_order(tmp_path):
    path = tmp_path / "order.txt"
    path.write_text("".join(f"{number} name {number}\n" for number in range(11)))
    assert read_synset_mapping(path).names[10] == "name 10"
    path.write_text("0 a\n10 b\n2 c\n")
    with pytest.raises(UserError, match="must be sorted"):
        read_synset_mapping(path)


def test_synset_mapping_of_ilsvrc_has_the_devkits_ids(tmp_path):
    shipped = ilsvrc_classes()
    path = tmp_path / "LOC_synset_mapping.txt"
    path.write_text("".join(f"{wnid} the {wnid}, x\n" for wnid in shipped.wnids))
    table = read_synset_mapping(path)
    assert table.names[:2] == ("the n01440764", "the n01443537")
    assert table.devkit_ids_C.tolist() == shipped.devkit_ids_C.tolist()
    assert table.ids_from == SHIPPED_FROM


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "missing; it maps WordNet ids to class names"),
        (b" \n\n", "empty; expected one 'WordNet-id name' a line"),
        (b"n2 b\nn1 a\n", "must be sorted and distinct"),
        (b"n1 a\nn1 b\n", "must be sorted and distinct"),
        (b"n1 caf\xe9\n", "not UTF-8 text"),
    ],
)
def test_a_bad_synset_mapping_is_refused(tmp_path, content, words):
    path = tmp_path / "LOC_synset_mapping.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError) as error:
        read_synset_mapping(path)
    assert one_line(error).startswith(f"{path}: ")
    assert words in one_line(error)


# --- meta.mat ------------------------------------------------------------------------------------


def write_structs(path: Path, fields: list[str], rows: list[tuple]) -> Path:
    """A MATLAB file with the struct array ``synsets`` (n x 1, as in the kit of 2012)."""
    synsets = np.empty((len(rows), 1), [(field, object) for field in fields])
    for number, row in enumerate(rows):
        synsets[number, 0] = row
    savemat(path, {"synsets": synsets})
    return path


FIELDS_2012 = ["ILSVRC2012_ID", "WNID", "words", "gloss", "num_children", "children"]
FIELDS_2012 += ["wordnet_height", "num_train_images"]
SYNSETS_2012 = [
    (1, "n02119789", "kit fox, Vulpes macrotis", "small grey fox", 0, [], 0, 1300),
    (2, "n02100735", "English setter", "an English breed", 0, [], 0, 1300),
    (3, "n00000777", [], "nameless", 0, [], 0, 0),
    (1001, "n02118333", "fox", "alert carnivorous mammal", 2, [1.0, 3.0], 1, 0),
    (1002, "n02083346", "canine, canid", "any of various mammals", 2, [2.0, 1001.0], 2, 0),
]


def test_meta_of_2012(tmp_path):
    path = write_structs(tmp_path / "meta.mat", FIELDS_2012, SYNSETS_2012)
    table = read_meta(path)
    assert table.wnids == ("n00000777", "n02100735", "n02119789")
    assert table.names == ("n00000777", "English setter", "kit fox")
    assert table.devkit_ids_C.tolist() == [3, 2, 1]
    assert table.devkit_ids_C.dtype == np.int32
    assert table.ids_from == str(path)
    assert table.labels_are == "ILSVRC2012_ID of the development kit"


def test_synsets_without_children_are_the_classes_whatever_their_ids(tmp_path):
    rows = [(*row[:4], 0, *row[5:]) for row in SYNSETS_2012]
    path = write_structs(tmp_path / "meta.mat", FIELDS_2012, rows)
    assert read_meta(path).devkit_ids_C.tolist() == [3, 1002, 2, 1001, 1]
    narrow = [row[:3] for row in SYNSETS_2012]
    path = write_structs(tmp_path / "narrow.mat", FIELDS_2012[:3], narrow)
    assert read_meta(path).devkit_ids_C.tolist() == [3, 2, 1]


@pytest.mark.parametrize(
    "field", ["ILSVRC2013_ID", "ILSVRC2014_ID", "ILSVRC2014_clsloc_ID", "ILSVRC2015_CLSLOC_ID"]
)
def test_meta_clsloc_of_the_later_kits(tmp_path, field):
    """1 x 1000, in the order of the ids, with ``name`` in place of ``words``."""
    shipped = ilsvrc_classes()
    order = np.argsort(shipped.devkit_ids_C)
    dtype = [(name, object) for name in (field, "WNID", "name", "description", "num_train_images")]
    rows = [(n, shipped.wnids[i], f"{n}th", "d", 9) for n, i in enumerate(order.tolist(), 1)]
    path = tmp_path / "meta_clsloc.mat"
    savemat(path, {"synsets": np.array(rows, dtype)[None], "other": np.arange(3)})
    table = read_meta(path)
    assert table.wnids == shipped.wnids
    assert table.devkit_ids_C.tolist() == shipped.devkit_ids_C.tolist()
    assert table.names[65] == "490th"
    assert classes_of(shipped.wnids, meta=table).ids_from == str(path)


def test_one_class_alone(tmp_path):
    path = write_structs(tmp_path / "meta.mat", FIELDS_2012, SYNSETS_2012[:1])
    assert read_meta(path).wnids == ("n02119789",)
    assert read_meta(path).devkit_ids_C.tolist() == [1]


def test_meta_that_contradicts_the_shipped_table_is_refused(tmp_path):
    """The common mistake: ids that count the classes in the order of their WordNet ids."""
    shipped = ilsvrc_classes()
    rows = [(index + 1, wnid, "w") for index, wnid in enumerate(shipped.wnids)]
    path = write_structs(tmp_path / "meta.mat", FIELDS_2012[:3], rows)
    with pytest.raises(UserError) as error:
        read_meta(path)
    message = one_line(error)
    assert message.startswith(f"{path}: gives 1000 of ILSVRC's 1,000 classes another id")
    assert "n01440764: 1, should be 449" in message


@pytest.mark.parametrize(
    ("fields", "rows", "words"),
    [
        (["ILSVRC2014_DET_ID", "WNID", "name"], [(1, "n1", "a")], "ILSVRC2014_DET_ID, WNID, name"),
        (["ILSVRC2012_ID", "words"], [(1, "a")], "expected WNID and ILSVRC2012_ID"),
        (["ILSVRC2012_ID", "WNID"], [(1, "n1"), (2, "n1")], "same class or ILSVRC2012_ID twice"),
        (["ILSVRC2012_ID", "WNID"], [(1, "n1"), (1, "n2")], "same class or ILSVRC2012_ID twice"),
        (["ILSVRC2012_ID", "WNID"], [(1001, "n1")], "has no classes"),
        (["ILSVRC2012_ID", "WNID"], [(0, "n1"), (1, "n2")], "has ILSVRC2012_ID 0; the ids start"),
        (["ILSVRC2012_ID", "WNID"], [("x", "n1")], "not the development kit's meta.mat"),
    ],
)
def test_a_meta_file_that_is_not_right_is_refused(tmp_path, fields, rows, words):
    path = write_structs(tmp_path / "meta.mat", fields, rows)
    with pytest.raises(UserError) as error:
        read_meta(path)
    assert one_line(error).startswith(f"{path}: ")
    assert words in one_line(error)


def test_a_file_that_is_no_meta_file_is_refused(tmp_path):
    path = tmp_path / "meta.mat"
    with pytest.raises(UserError, match="missing; give the development kit"):
        read_meta(path)
    path.write_text("hello\n" * 100)
    with pytest.raises(UserError, match="not the development kit") as error:
        read_meta(path)
    one_line(error)
    savemat(path, {"classes": np.arange(3)})
    with pytest.raises(UserError, match=r"not the development kit's meta.mat \('synsets'\)"):
        read_meta(path)
    savemat(path, {"synsets": np.arange(3)})
    with pytest.raises(UserError, match=r"not the development kit's meta.mat \(fields none\)"):
        read_meta(path)


@pytest.fixture(scope="module")
def meta_bytes(tmp_path_factory):
    """A meta file as MATLAB writes it uncompressed, of 30 classes."""
    rows = [(i, f"n{i:08}", "a name", "a gloss", 0, [], 0, 9) for i in range(1, 31)]
    path = write_structs(tmp_path_factory.mktemp("kit") / "meta.mat", FIELDS_2012, rows)
    return path.read_bytes()


def test_a_damaged_meta_file_is_refused(meta_bytes, tmp_path):
    """Some of these end SciPy's reader in a crash, or in memory of gigabytes."""
    path = tmp_path / "meta.mat"
    refused = []
    for place in (0, 124, 130, 140, 150, 188, 200, 260, len(meta_bytes) // 2):
        damaged = bytearray(meta_bytes)
        damaged[place] ^= 0x40
        path.write_bytes(damaged)
        try:  # a flip in what is not read, or in a name, is not noticed
            assert len(read_meta(path).wnids) == 30
        except UserError as error:
            refused.append(str(error))
    assert len(refused) >= 3
    assert all(re.fullmatch(f"{path}: .*", message) for message in refused)


def test_a_crash_or_all_memory_ends_the_reading_process_alone(tmp_path, monkeypatch):
    path = tmp_path / "meta.mat"
    path.write_bytes(b"")
    child = tmp_path / "child.py"
    monkeypatch.setattr(matlab, "__file__", str(child))
    child.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    with pytest.raises(UserError, match=r"meta.mat \(damaged: reading it ends in a crash\)$"):
        read_meta(path)
    child.write_text("import time\ntime.sleep(60)\n")
    monkeypatch.setattr(matlab, "SECONDS", 0.1)
    with pytest.raises(UserError, match=r"\(damaged: reading it takes too long\)$"):
        read_meta(path)


# --- finding one by what a user calls it


@pytest.mark.parametrize(
    ("wanted", "index"),
    [("tabby", 281), ("Egyptian Cat", 285), ("n02123045", 281), ("8", 8), (7, 7)],
)
def test_a_class_is_found_by_name_wordnet_id_or_index(wanted, index):
    table = ilsvrc_classes()
    assert find_class(wanted, table.names, table.wnids) == index


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ("tabbi", "class tabbi: the network has no class of this name; did you mean tabby?"),
        ("retriever", "did you mean flat-coated retriever or curly-coated retriever"),
        ("quark", "give its index"),
        ("crane", "class crane: 2 classes have this name; give index:134 or index:517"),
        (1000, "class 1000: the network has 1,000 classes, 0 to 999"),
        (-1, "class -1: the network has 1,000 classes"),
    ],
)
def test_a_class_that_is_not_found_is_answered_with_what_may_be_meant(wanted, words):
    table = ilsvrc_classes()
    with pytest.raises(UserError) as caught:
        find_class(wanted, table.names, table.wnids)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        *((3, 3), ("index:3", 3), ("name:3", 2), ("0", 0), ("name:10", 9), ("index:9", 9)),
        ("10", 9),  # there is no index 10
    ],
)
def test_a_number_that_may_be_a_name_is_taken_as_it_is_meant(wanted, index):
    """Classes 1 to 10, as of numbered folders: 0 is no name."""
    names = [str(number) for number in range(1, 11)]
    assert find_class(wanted, names, names) == index


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("3", "class 3: class index 2 is called so too: give index:3 or name:3"),
        ("name:0", "class name:0: the network has no class of this name; did you mean 10?"),
        ("10000", "class 10000: the network has 10 classes, 0 to 9"),
        ("name: ", "class 'name: ': give a name, a WordNet id or an index"),
        ("index:10", "class 10: the network has 10 classes, 0 to 9"),
        ("index:a", "class index:a: is no class index: they are whole numbers from 0"),
        ("index:", "class 'index:': give a name, a WordNet id or an index"),
    ],
)
def test_a_number_that_is_an_index_and_the_name_of_another_class_is_refused(wanted, message):
    names = [str(number) for number in range(1, 11)]
    with pytest.raises(UserError) as refused:
        find_class(wanted, names)
    assert str(refused.value) == message


@pytest.mark.parametrize("form", ["{}", "{:02}"])
def test_numbers_that_are_the_class_indices_are_taken(form):
    names = [form.format(number) for number in range(10)]
    assert [find_class(name, names) for name in names] == list(range(10))


def test_of_two_classes_of_one_number_each_can_be_had():
    names = ["a", "7", *"bcdef", "7"]
    for wanted, message in (
        ("7", "class 7: class index 1 is called so too: give index:7 or name:7"),
        ("name:7", "class name:7: 2 classes have this name; give index:1 or index:7"),
    ):
        with pytest.raises(UserError) as refused:
            find_class(wanted, names)
        assert str(refused.value) == message
    assert [find_class(f"index:{index}", names) for index in (1, 7)] == [1, 7]


def test_a_class_whose_name_has_a_colon_is_found_by_it():
    names = ["tag", "name:tag", "index:0"]
    assert [find_class(name, names) for name in names] == [0, 1, 2]


def test_numbers_of_a_command_line_are_texts():
    assert as_typed([3, "tabby", True, 1.5]) == ["3", "tabby", True, 1.5]
    assert (as_typed(3), as_typed("3"), as_typed(None)) == ("3", "3", None)
