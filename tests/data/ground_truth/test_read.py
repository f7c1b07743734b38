import gzip
import re
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from run_builder import make_manifest

from cam_repro.classes import ilsvrc_classes
from cam_repro.data.ground_truth.read import read_truth
from cam_repro.errors import UserError
from cam_repro.formats import text as text_module
from cam_repro.runs.predictions import run_classes

SNAKE, GOOSE = "n01751748", "n01855672"
"""The sea snake, class index 65, and the goose, 99, as in torchvision's list."""


def write_xml(folder, name, *objects, size=(500, 375)):
    folder.mkdir(parents=True, exist_ok=True)
    width, height = size
    text = f"<annotation><size><width>{width}</width><height>{height}</height></size>"
    for wnid, box in objects:
        corners = zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
        inside = "".join(f"<{tag}>{value}</{tag}>" for tag, value in corners)
        text += f"<object><name>{wnid}</name><bndbox>{inside}</bndbox></object>"
    (folder / f"{name}.xml").write_text(text + "</annotation>")


def assert_holds(truth, images, labels, boxes, offsets, sizes):
    assert truth.ids == images
    assert truth.labels_N.tolist() == labels
    assert truth.boxes.values_T4.tolist() == boxes
    assert truth.boxes.offsets.tolist() == offsets
    assert (None if truth.sizes_N2 is None else truth.sizes_N2.tolist()) == sizes


# --- CSV


def test_csv_literal_plain_and_compressed(tmp_path):
    text = "image,width,height,label,boxes\na,9,8,3,0 1 2 3;4 5 6 7\nb,9,9,0,\nc,7,9,7,1 1 1 1\n"
    (tmp_path / "g.csv").write_text(text)
    (tmp_path / "g.csv.gz").write_bytes(gzip.compress(text.encode()))
    boxes = [[0, 1, 2, 3], [4, 5, 6, 7], [1, 1, 1, 1]]
    for name in ("g.csv", "g.csv.gz"):
        truth = read_truth(tmp_path / name)
        sizes = [[9, 8], [9, 9], [7, 9]]
        assert_holds(truth, ["a", "b", "c"], [3, 0, 7], boxes, [0, 2, 2, 3], sizes)
        assert truth.classes is None


def test_columns_in_any_order_sizes_left_out_or_unknown(tmp_path):
    path = tmp_path / "g.csv"
    path.write_text("label,boxes,image\n5,0 0 1.0 1;,a\n")
    assert_holds(read_truth(path), ["a"], [5], [[0, 0, 1, 1]], [0, 1], None)
    path.write_text("image,width,height,label,boxes\na,,,5,\n")
    assert_holds(read_truth(path), ["a"], [5], [], [0, 0], None)
    path.write_text("image,width,height,label,boxes\na,,,5,\nb,4,3,5,\n")
    assert_holds(read_truth(path), ["a", "b"], [5, 5], [], [0, 0, 0], [[0, 0], [4, 3]])
    path.write_text("image,width,height,label,boxes\n")
    assert_holds(read_truth(path), [], [], [], [0], None)


def test_class_indices_are_of_ilsvrcs_classes(tmp_path):
    path = tmp_path / "g.csv"
    path.write_text("image,width,height,class_index,boxes\na,5,5,65,0 0 1 1\n")
    truth = read_truth(path)
    assert truth.labels_N.tolist() == [65]
    assert truth.classes is ilsvrc_classes()
    path.write_text("image,width,height,class_index,boxes\na,5,5,65,\nb,5,5,1000,\n")
    with pytest.raises(UserError, match="line 3: label 1000; a class index is 0 to 999"):
        read_truth(path)


SIZED = "image,width,height,label,boxes\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image,label\na,1\n", "no column boxes; the first line must be image,width,height,label"),
        ("", "no column image, label, boxes"),
        ("image,label,boxes\na,1,0 0 1\n", "line 2: a box is four numbers"),
        ("image,label,boxes\na,1,\nb,1,0 0 1 1;0 0 x 1\n", "line 3: 'x' is not a whole number"),
        ("image,label,boxes\na,dog,0 0 1 1\n", "line 2: 'dog' is not a whole number"),
        ("image,label,boxes\na,,0 0 1 1\n", "line 2: '' is not a whole number"),
        ("image,label,boxes\na,-1,0 0 1 1\n", "line 2: label -1; a label is 0 or more"),
        ("image,label,boxes\na,1,\nb,1,\na,2,\n", "line 4: image a comes a second time; remove"),
        ("image,label,boxes\na,1,\n,1,\n", "line 3: the image has no name; give it one"),
        (SIZED + "a,9,9,1,\nb,-9,9,1,\n", "line 3: width -9, height 9; both are 1 or more, or"),
        (SIZED + "a,9,0,1,\n", "line 2: width 9, height 0; both are 1 or more"),
        (SIZED + "a,,9,1,\n", "line 2: width empty, height 9; both are 1 or more"),
        ('image,label,boxes\na,1,"0 0 1 1\n2 2 3 3"\n', "line 3: a box is four numbers"),
        ("image,label,boxes\na,1,0,0,1,1\n", "line 2: 6 columns, the first line has 3"),
    ],
)
def test_a_bad_csv_is_named(tmp_path, text, message):
    (tmp_path / "g.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        read_truth(tmp_path / "g.csv")


number = st.sampled_from(["0", "7", "-3", "12.0", "1e2", "2147483647"])
box = st.lists(number, min_size=4, max_size=4).map(" ".join)
part = box | box | box | st.sampled_from(["", " ", "1 2 3", "1 2 3 4 5", "0 0 x 1", "0 0 .5 1"])
part |= st.sampled_from(
    ["0 0 1 2147483648", "0 0 1\xa01", "0\x1c0 1 1", "0 0 1 1\x85", "nan 0 0 1"]
)


def is_whole(word):
    if not word.isascii():
        return False
    try:
        return float(word).is_integer() and abs(float(word)) < 2**31
    except ValueError:
        return False


def boxes_one_after_another(cells):
    """The boxes of each cell as words; else what is wrong in which line."""
    rows = [
        [words for box in text.split(";") if (words := re.findall(r"[^ ]+", box))] for text in cells
    ]
    for line, boxes in enumerate(rows, start=2):
        if any(len(words) != 4 for words in boxes):
            return f"line {line}: a box is four numbers x0 y0 x1 y1, boxes parted by ';'"
    for line, boxes in enumerate(rows, start=2):
        for word in [word for words in boxes for word in words if not is_whole(word)]:
            return f"line {line}: {word!r} is not a whole number below 2^31"
    return rows


@given(st.lists(st.lists(part, max_size=3).map(";".join), max_size=4))
@example(["0 0 1 1;2 2 3 3", "", "4 4 5 5;"])
@example(["0 0;1 1"])
def test_boxes_are_read_as_one_after_another(tmp_path_factory, cells):
    path = tmp_path_factory.getbasetemp() / "g.csv"
    path.write_text(
        "image,label,boxes\n" + "".join(f"i{n},1,{text}\n" for n, text in enumerate(cells))
    )
    wanted = boxes_one_after_another(cells)
    if isinstance(wanted, str):
        with pytest.raises(UserError, match=f"{re.escape(f'{path}, {wanted}')}$"):
            read_truth(path)
        return
    truth = read_truth(path)
    flat = [[int(float(word)) for word in words] for boxes in wanted for words in boxes]
    assert truth.boxes.values_T4.tolist() == flat
    assert np.diff(truth.boxes.offsets).tolist() == [len(boxes) for boxes in wanted]
    assert truth.boxes.values_T4.dtype == np.int32


def test_regular_files_are_read_at_once(tmp_path):
    """That is without a list for each line, which the functions replaced here would make."""
    (tmp_path / "g.csv").write_bytes(b"image,label,boxes\r\na,1,0 0 1 1; 2 2  3 3;\r\nb,2,\r\n")
    with patch.object(text_module, "whole_number", None):
        truth = read_truth(tmp_path / "g.csv")
    assert_holds(truth, ["a", "b"], [1, 2], [[0, 0, 1, 1], [2, 2, 3, 3]], [0, 2, 2], None)


def test_missing_and_binary_files_are_refused(tmp_path):
    with pytest.raises(UserError, match="no ground truth file"):
        read_truth(tmp_path / "none.csv")
    (tmp_path / "g.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not a text file"):
        read_truth(tmp_path / "g.csv")
    (tmp_path / "g.csv.gz").write_bytes(b"image,label,boxes")
    with pytest.raises(UserError, match="cannot be unpacked"):
        read_truth(tmp_path / "g.csv.gz")


def test_the_fifty_thousand(shared_file):
    truth = read_truth(shared_file("ilsvrc2012_val_groundtruth.csv.gz"))
    assert len(truth) == 50_000
    assert len(truth.boxes.values_T4) == 80_477
    assert truth.ids == sorted(truth.ids)
    assert truth.labels_N[0] == 65
    assert truth.classes.submission_labels_C[truth.labels_N[0]] == 490
    assert np.bincount(truth.labels_N).tolist() == [50] * 1000
    assert (np.diff(truth.boxes.offsets) > 1).sum() == 11_715
    assert truth.sizes_N2[0].tolist() == [500, 375]


# --- WordNet ids: XML folder and Kaggle's CSV


def test_xml_folder_literal_in_file_name_order(tmp_path):
    write_xml(tmp_path / "b", "val_2", (GOOSE, (1, 2, 3, 4)), (GOOSE, (5, 6, 7, 8)))
    write_xml(tmp_path / "b", "val_1", (SNAKE, (0, 0, 9, 9)), size=(20, 10))
    write_xml(tmp_path / "b", "val_3")
    truth = read_truth(tmp_path / "b", cache=tmp_path / "cache")
    boxes = [[0, 0, 9, 9], [1, 2, 3, 4], [5, 6, 7, 8]]
    sizes = [[20, 10], [500, 375], [500, 375]]
    assert_holds(truth, ["val_1", "val_2", "val_3"], [65, 99, -1], boxes, [0, 1, 3, 3], sizes)
    assert truth.classes is ilsvrc_classes()
    assert len(list((tmp_path / "cache").iterdir())) == 1
    again = read_truth(tmp_path / "b", cache=tmp_path / "cache")
    assert again.labels_N.tolist() == [65, 99, -1]


def test_kaggle_solution_literal(tmp_path):
    path = tmp_path / "LOC_val_solution.csv"
    path.write_text(
        f"ImageId,PredictionString\nb,{GOOSE} 1 2 3 4 {GOOSE} 5 6 7 8 \na,{SNAKE} 0 0 9 9\n"
    )
    truth = read_truth(path)
    boxes = [[0, 0, 9, 9], [1, 2, 3, 4], [5, 6, 7, 8]]
    assert_holds(truth, ["a", "b"], [65, 99], boxes, [0, 1, 3], None)
    (tmp_path / "s.csv.gz").write_bytes(gzip.compress(path.read_bytes()))
    packed = read_truth(tmp_path / "s.csv.gz")
    assert_holds(packed, ["a", "b"], [65, 99], boxes, [0, 1, 3], None)


def test_annotations_that_give_no_label_are_refused(tmp_path):
    write_xml(tmp_path / "b", "x1", ("n00001000", (0, 0, 9, 9)))
    with pytest.raises(UserError, match=r"class .n00001000. of x1 .* data=ilsvrc data.root=DIR"):
        read_truth(tmp_path / "b")
    write_xml(tmp_path / "b", "x1", (SNAKE, (0, 0, 9, 9)), (GOOSE, (0, 0, 9, 9)))
    with pytest.raises(UserError, match="x1 has objects of several classes"):
        read_truth(tmp_path / "b")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds neither XML files, nor image_ids"):
        read_truth(tmp_path / "empty")


# --- metadata folders


def write_metadata(folder, images):
    folder.mkdir()
    files = {"image_ids": "", "class_labels": "", "image_sizes": "", "localization": ""}
    for image_id, label, (width, height), boxes in images:
        files["image_ids"] += f"{image_id}\n"
        files["class_labels"] += f"{image_id},{label}\n"
        files["image_sizes"] += f"{image_id},{width},{height}\n"
        for box in boxes:
            files["localization"] += f"{image_id},{','.join(map(str, box))}\n"
    for name, text in files.items():
        (folder / f"{name}.txt").write_text(text)
    return folder


def test_metadata_folder_literal_in_its_own_order(tmp_path):
    folder = write_metadata(
        tmp_path / "m",
        [
            ("val/b.JPEG", 3, (20, 10), [(0, 0, 9, 9), (1, 2, 3, 4)]),
            ("val/a.JPEG", 0, (30, 40), [(5, 6, 7, 8)]),
        ],
    )
    truth = read_truth(folder)
    boxes = [[0, 0, 9, 9], [1, 2, 3, 4], [5, 6, 7, 8]]
    names = ["val/b.JPEG", "val/a.JPEG"]
    assert_holds(truth, names, [3, 0], boxes, [0, 2, 3], [[20, 10], [30, 40]])
    assert truth.classes.names == ("class 0", "class 1", "class 2", "class 3")
    assert not truth.classes.is_named


def test_metadata_of_ilsvrcs_images_has_its_classes(tmp_path):
    image = ("val/ILSVRC2012_val_00000001.JPEG", 65, (500, 375), [(111, 108, 441, 193)])
    truth = read_truth(write_metadata(tmp_path / "m", [image]))
    assert truth.classes is ilsvrc_classes()
    with pytest.raises(UserError, match="has class 1000 and images of ILSVRC"):
        read_truth(write_metadata(tmp_path / "n", [(image[0], 1000, *image[2:])]))


def test_metadata_whose_folders_are_class_indices_is_of_ilsvrcs_classes(tmp_path):
    def images(shift):
        return [(f"val2/{n}/1.jpeg", n + shift, (9, 9), [(0, 0, 3, 3)]) for n in (5, 990)]

    assert read_truth(write_metadata(tmp_path / "v2", images(0))).classes is ilsvrc_classes()
    assert not read_truth(write_metadata(tmp_path / "own", images(-5))).classes.is_named


def test_metadata_of_too_many_classes_is_refused(tmp_path):
    folder = write_metadata(tmp_path / "m", [("a", 2_000_000_000, (9, 9), [])])
    (folder / "localization.txt").write_text("a,0,0,1,1\n")
    with pytest.raises(UserError, match="class 2000000000: is no class index"):
        read_truth(folder)


# --- runs


def test_the_ground_truth_of_a_run_travels_along(make_run):
    folder = make_run("nin", n=3)
    for source in (folder, folder / "predictions.parquet"):
        truth = read_truth(source)
        names = ["image00000", "image00001", "image00002"]
        assert_holds(truth, names, [0] * 3, [[0, 0, 9, 9]] * 3, [0, 1, 2, 3], [[20, 20]] * 3)
        assert truth.classes.submission_labels_C.tolist() == [1, 2, 3, 4, 5, 6]


def test_an_unfinished_run_is_refused(make_run):
    folder = make_run("nin")
    (folder / "manifest.json").unlink()
    with pytest.raises(UserError, match=r"has no manifest\.json, so cam-eval did not"):
        read_truth(folder)


def test_classes_of_a_run():
    labels = ilsvrc_classes().labels_are
    with_ids = make_manifest(n_classes=1000, submission_labels=labels)
    assert run_classes(with_ids) is ilsvrc_classes()
    named = run_classes(make_manifest(n_classes=2, class_names=["cat", "dog"]))
    assert named.names == ("cat", "dog")
    without = run_classes(make_manifest(n_classes=1000, submission_labels="class index + 1"))
    assert without.names[:2] == ("class 0", "class 1")
    assert without.submission_labels_C.tolist() == list(range(1, 1001))
