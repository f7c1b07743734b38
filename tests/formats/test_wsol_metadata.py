import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cam_repro.errors import UserError
from cam_repro.formats.wsol_metadata import is_metadata_folder, read_metadata

FIXTURE = Path(__file__).parents[1] / "fixtures" / "max_box_acc" / "metadata"

FILES = {
    "image_ids.txt": "val/b.JPEG\nval/a.JPEG\nval/c.JPEG\n",
    "class_labels.txt": "val/a.JPEG,7\nval/b.JPEG,0\n",
    "image_sizes.txt": "val/a.JPEG,30,20\nval/b.JPEG,500,375\nval/c.JPEG,1,2\n",
    "localization.txt": "val/a.JPEG,1,2,3,4\nval/b.JPEG,5,6,7,8\nval/a.JPEG,0,0,9,9\n",
}


def write(folder: Path, **changed: str | None) -> Path:
    """The four files, some with other text, or without one (None); keys without suffix."""
    for name, text in FILES.items():
        text = changed.get(name.removesuffix(".txt"), text)
        if text is not None:
            (folder / name).write_text(text)
    return folder


def test_images_keep_the_order_of_image_ids(tmp_path):
    metadata = read_metadata(write(tmp_path))
    assert metadata.ids == ["val/b.JPEG", "val/a.JPEG", "val/c.JPEG"]
    assert metadata.labels_N.tolist() == [0, 7, -1]
    assert metadata.sizes_N2.tolist() == [[500, 375], [30, 20], [1, 2]]
    assert metadata.boxes.values_T4.tolist() == [[5, 6, 7, 8], [1, 2, 3, 4], [0, 0, 9, 9]]
    assert metadata.boxes.offsets.tolist() == [0, 1, 3, 3]
    dtypes = [
        metadata.labels_N,
        metadata.sizes_N2,
        metadata.boxes.values_T4,
        metadata.boxes.offsets,
    ]
    assert [array.dtype for array in dtypes] == [np.int32, np.int32, np.int32, np.int64]


def test_the_fixture_is_read_whole():
    metadata = read_metadata(FIXTURE)
    assert len(metadata.ids) == 150
    assert metadata.ids[1] == "val/img_00001.JPEG"
    assert metadata.sizes_N2[:2].tolist() == [[138, 136], [488, 161]]
    assert metadata.boxes.offsets[:4].tolist() == [0, 2, 3, 4]
    assert metadata.boxes.values_T4[:3].tolist() == [
        [33, 32, 115, 123],
        [15, 22, 45, 101],
        [36, 30, 242, 130],
    ]
    assert len(metadata.boxes.values_T4) == metadata.boxes.offsets[-1] == 247


def test_without_class_labels_no_image_has_a_label(tmp_path):
    metadata = read_metadata(write(tmp_path, class_labels=None))
    assert metadata.labels_N.tolist() == [-1, -1, -1]


def test_lines_of_other_images_empty_lines_and_windows_line_ends_do_no_harm(tmp_path):
    text = "\r\nval/z.JPEG,1,2,3,4\r\n\r\nval/c.JPEG,0,1,0,1\r\n"
    metadata = read_metadata(write(tmp_path, localization=text))
    assert metadata.boxes.values_T4.tolist() == [[0, 1, 0, 1]]
    assert metadata.boxes.offsets.tolist() == [0, 0, 0, 1]


def test_no_box_at_all_is_allowed(tmp_path):
    metadata = read_metadata(write(tmp_path, localization=""))
    assert metadata.boxes.values_T4.shape == (0, 4)
    assert metadata.boxes.offsets.tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("image_ids", None, "image_ids.txt: missing"),
        ("image_ids", "\n", "image_ids.txt: names no image"),
        ("image_ids", "a\n\nb\na\n", "image_ids.txt, line 4: a comes a second time"),
        ("image_sizes", None, "image_sizes.txt: missing"),
        ("image_sizes", "val/b.JPEG,5,5\nval/c.JPEG,5,5\n", "no size of val/a.JPEG"),
        ("image_sizes", "val/b.JPEG,5,0\n", "image_sizes.txt, line 1: 'val/b.JPEG,5,0' is not"),
        ("class_labels", "val/a.JPEG,1\nval/b.JPEG,-1\n", "class_labels.txt, line 2"),
        (
            "class_labels",
            "val/a.JPEG,cat\n",
            "line 1: 'val/a.JPEG,cat' is not of the form id,label",
        ),
        ("localization", None, "localization.txt: missing"),
        ("localization", "val/a.JPEG,1,2,3,4\nval/a.JPEG,1,2,3\n", "line 2: 'val/a.JPEG,1,2,3'"),
        ("localization", "\nval/a.JPEG,1,2,3,4,5\n", "line 2: 'val/a.JPEG,1,2,3,4,5'"),
        ("localization", "val/a.JPEG,5,2,4,4\n", "line 1: .* with 0 <= x0 <= x1"),
        ("localization", "val/a.JPEG,1,-2,3,4\n", "line 1"),
        ("localization", "val/a.JPEG,1,2,3,4.5\n", "line 1: 'val/a.JPEG,1,2,3,4.5'"),
        ("localization", "val/a.JPEG,1,2,3,99999999999\n", "line 1: .*99999999999"),
        ("localization", "val/a.JPEG,masks/a.png,\n", "line 1: 'val/a.JPEG,masks/a.png,'"),
        ("localization", "a.JPEG,1,2,3,4\n", "not one of its images is in image_ids.txt"),
    ],
)
def test_the_file_and_the_bad_line_are_named(tmp_path, name, text, message):
    with pytest.raises(UserError, match=message) as error:
        read_metadata(write(tmp_path, **{name: text}))
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)


name = st.sampled_from(["val/a.JPEG", "val/b.JPEG", "val/c.JPEG", "z", "", " z", '"z"', "\xe9"])
number = st.sampled_from(["0", "1", "2", "3", "3", "4"])
odd = st.sampled_from(
    ["-1", " 4", "1_0", "4.0", "", "x", "2147483648", "9" * 20, "-9223372036854775808"]
)
cells = st.tuples(name, number, number, number | odd, number).map(list)
cells |= st.lists(number, min_size=1, max_size=6)
end = st.sampled_from(["\n", "\n", "\n", "\r\n", "\n\n", " \n", "\x1c\n", "\x85\n"])


@given(st.lists(st.tuples(cells.map(",".join), end).map("".join), max_size=4).map("".join))
@example("val/a.JPEG,1,2,3,4\nval/b.JPEG,0,0,9,9\n")
@example("val/a.JPEG,1,2,3,4\nval/b.JPEG,9,9,0,0")
@example("val/a.JPEG,1,2,-9223372036854775808,4\n")
def test_a_table_is_read_as_line_by_line(tmp_path_factory, text):
    folder = write(tmp_path_factory.getbasetemp())
    path = folder / "localization.txt"
    path.write_bytes(text.encode())
    try:
        metadata = read_metadata(folder)
        found = [metadata.boxes.of(i).tolist() for i in range(len(metadata))]
        assert metadata.boxes.values_T4.dtype == np.int32
    except UserError as error:
        found = str(error)
    assert found == one_after_another(path, text)


def plain_int(word):
    if "_" in word or not word.isascii():  # 1_0 is Python's own
        raise ValueError(word)
    return int(word)


def one_after_another(path, text):
    """The boxes of each image of ``write``; else what is said of the first bad line."""
    ids = (path.parent / "image_ids.txt").read_text().split()
    boxes = {image_id: [] for image_id in ids}
    form = "id,x0,y0,x1,y1 with 0 <= x0 <= x1 and 0 <= y0 <= y1"
    known = not text.strip()
    for number, line in enumerate((line.strip() for line in text.split("\n")), start=1):
        if not line:
            continue
        image_id, *words = line.split(",")
        try:
            x0, y0, x1, y1 = map(plain_int, words)
            good = 0 <= x0 <= x1 < 2**31 and 0 <= y0 <= y1 < 2**31
        except ValueError:
            good = False
        if not good:
            return f"{path}, line {number}: {line!r} is not of the form {form}"
        known = known or image_id in boxes
        boxes.get(image_id, []).append([x0, y0, x1, y1])
    if not known:
        return f"{path}: not one of its images is in image_ids.txt; the ids must be equal"
    return list(boxes.values())


def test_a_file_that_is_no_text_is_refused(tmp_path):
    (write(tmp_path) / "localization.txt").write_bytes(b"\x89PNG\r\n\xff")
    with pytest.raises(UserError, match=r"localization\.txt: cannot be read as text"):
        read_metadata(tmp_path)


def test_a_folder_is_recognised_by_its_files(tmp_path):
    assert is_metadata_folder(FIXTURE)
    assert not is_metadata_folder(tmp_path)
    assert not is_metadata_folder(tmp_path / "nowhere")
    assert is_metadata_folder(write(tmp_path, localization=None, class_labels=None))
    (tmp_path / "image_sizes.txt").unlink()
    assert not is_metadata_folder(tmp_path)


def test_many_images_are_read_in_order(tmp_path):
    n = 50_000
    ids = [f"val/ILSVRC2012_val_{i:08d}.JPEG" for i in range(n)]
    write(
        tmp_path,
        image_ids="\n".join(ids),
        class_labels="\n".join(f"{name},{i % 1000}" for i, name in enumerate(ids)),
        image_sizes="\n".join(f"{name},{i + 1},{i + 2}" for i, name in enumerate(ids)),
        localization="\n".join(f"{ids[i % n]},0,0,{i},{i}" for i in range(80_000)),
    )
    start = time.process_time()
    metadata = read_metadata(tmp_path)
    seconds = time.process_time() - start
    assert metadata.labels_N[[0, 999, 1000, n - 1]].tolist() == [0, 999, 0, 999]
    assert metadata.sizes_N2[-1].tolist() == [n, n + 1]
    assert metadata.boxes.values_T4[
        metadata.boxes.offsets[29_999] : metadata.boxes.offsets[30_001], 2
    ].tolist() == [
        29_999,
        79_999,
        30_000,
    ]
    assert seconds < 3, "0.3 s on one core of 2023"
