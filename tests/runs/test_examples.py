import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from cam_repro.errors import UserError
from cam_repro.runs.examples import Example, read_examples, rounded, small_jpeg, write_examples


def example(**changes):
    values = {
        "id": "a",
        "index": 3,
        "width": 900,
        "height": 600,
        "jpeg": small_jpeg(Image.new("RGB", (900, 600), (200, 40, 30))),
        "why": ("even", "best"),
        "classes": (7, 2, 5),
        "names": ("tabby, tabby cat", "café", "cup"),
        "probabilities": (0.5, 0.25, 0.125),
        "maps_Rhw": np.arange(3 * 2 * 4, dtype=np.float32).reshape(3, 2, 4) - 5,
    }
    return Example(**values | changes)


def test_what_is_written_is_read_back_in_the_order_of_the_split(tmp_path):
    other = example(id="b", index=1, maps_Rhw=np.full((3, 5, 6), 0.75, np.float32))
    write_examples(tmp_path, [example(), other])
    first, second = read_examples(tmp_path)
    assert (first.id, first.index, first.maps_Rhw.shape) == ("b", 1, (3, 5, 6))
    assert (first.maps_Rhw == 0.75).all()
    assert second.maps_Rhw.dtype == np.float32
    np.testing.assert_array_equal(second.maps_Rhw, example().maps_Rhw)
    for field in ("id", "index", "width", "height", "jpeg", "why", "classes", "names"):
        assert getattr(second, field) == getattr(example(), field)
    assert second.probabilities == (0.5, 0.25, 0.125)
    assert [second.rank_of(index) for index in (7, 5, 6)] == [0, 2, None]


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((900, 600), (480, 320)),
        ((600, 1800), (160, 480)),
        ((300, 200), (300, 200)),
        ((4000, 3), (480, 1)),
    ],
)
def test_pictures_are_at_most_480_pixels_long(size, expected):
    picture = example(jpeg=small_jpeg(Image.new("RGB", size, (200, 40, 30)))).picture()
    assert picture.size == expected
    assert picture.mode == "RGB"
    assert np.abs(np.asarray(picture).astype(int) - (200, 40, 30)).max() <= 2


def test_no_examples_is_a_file_without_rows(tmp_path):
    write_examples(tmp_path, [])
    assert read_examples(tmp_path) == []


def test_maps_are_rounded_to_eight_bits():
    values = np.array([1 + 2**-7, 1 + 2**-8, 1 + 2**-9, -3e-30, np.inf, 0], np.float32)
    np.testing.assert_array_equal(rounded(values)[:3], np.float32([1 + 2**-7, 1 + 2**-7, 1]))
    np.testing.assert_allclose(rounded(values)[3:], values[3:], rtol=2**-8)
    assert np.isnan(rounded(np.float32([np.nan]))).all()


def test_a_run_without_examples_says_how_to_get_them(tmp_path):
    with pytest.raises(UserError, match=r"examples\.parquet is missing: .*cam-eval examples=8$"):
        read_examples(tmp_path)
    (tmp_path / "examples.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(UserError, match=r"examples\.parquet is damaged .*cam-eval examples=8$"):
        read_examples(tmp_path)


CLASSES, NAMES, VALUES = (pa.list_(kind()) for kind in (pa.int32, pa.string, pa.float32))
DAMAGE = {
    "column missing": ("why", None, "why"),
    "maps missing": ("maps", None, "maps"),
    "null classes": ("classes", pa.array([None], CLASSES), "classes of a has no value"),
    "null class": ("classes", pa.array([[7, None, 5]], CLASSES), "classes of a has no value"),
    "no class": ("classes", pa.array([[]], CLASSES), "classes of a: not a name and a prob"),
    "text for classes": ("classes", pa.array([["x"]]), "x"),
    "too few names": ("names", pa.array([["cat"]], NAMES), "classes of a: not a name and a prob"),
    "null names": ("names", pa.array([None], NAMES), "names of a has no value"),
    "short maps": ("maps", pa.array([[1.0] * 23], VALUES), "reshape"),
    "long maps": ("maps", pa.array([[1.0] * 25], VALUES), "reshape"),
    "null maps": ("maps", pa.array([None], VALUES), "reshape"),
    "narrow maps": ("map_width", pa.array([0], pa.int32()), "map_width of a is 0"),
    "null width": ("width", pa.array([None], pa.int32()), "width of a has no value"),
    "junk": ("jpeg", pa.array([b"junk"]), "the picture of a cannot be read"),
    "cut short": ("jpeg", pa.array([example().jpeg[:400]]), "the picture of a cannot be read"),
}


@pytest.mark.parametrize(("name", "values", "said"), DAMAGE.values(), ids=DAMAGE)
def test_damage_is_one_line(tmp_path, name, values, said):
    write_examples(tmp_path, [example()])
    path = tmp_path / "examples.parquet"
    table = pq.read_table(path).drop_columns([name])
    pq.write_table(table if values is None else table.append_column(name, values), path)
    with pytest.raises(UserError, match=rf"parquet is damaged \(.*{said}.*\): .* examples=8$"):
        read_examples(tmp_path)


def test_columns_that_are_not_ours_do_not_matter(tmp_path):
    write_examples(tmp_path, [example()])
    path = tmp_path / "examples.parquet"
    pq.write_table(pq.read_table(path).append_column("mine", pa.array([1])), path)
    (one,) = read_examples(tmp_path)
    assert one.id == "a"


def test_examples_of_images_that_the_run_lacks_are_refused(tmp_path):
    write_examples(tmp_path, [example(), example(id="b", index=4)])
    assert [one.id for one in read_examples(tmp_path, ["b", "a", "c"])] == ["a", "b"]
    with pytest.raises(UserError, match=r"parquet: the run has no image b: .*examples=8$"):
        read_examples(tmp_path, ["a"])


def test_the_jpeg_is_a_jpeg():
    assert Image.open(io.BytesIO(example().jpeg)).format == "JPEG"
