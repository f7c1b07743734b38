import tempfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from run_builder import edit_manifest, make_manifest

from cam_repro.classes import NO_IDS, ClassTable
from cam_repro.errors import UserError
from cam_repro.runs import predictions as seam
from cam_repro.runs.manifest import write_manifest
from cam_repro.runs.predictions import (
    boxes_to_arrow,
    read_predictions,
    to_arrow,
    write_predictions,
)
from cam_repro.truth import LabelSets, Names, RaggedBoxes, Truth
from cam_repro.types import Prediction, RuleGuesses


def manifest(n, rules=("threshold",), **changes):
    return make_manifest(n=n, rules=list(rules), **changes)


def write(folder, rows, manifest, *args, **options):
    write_predictions(folder, to_arrow(rows, manifest.rules), manifest, *args, **options)
    write_manifest(folder, manifest)


def prediction(id="b", guesses=((4, (0, 0, 9, 4)), (4, (1, 1, 1, 1))), gt_known=(0, 0, 9, 9)):
    return Prediction(
        id=id,
        width=10,
        height=10,
        label=4,
        true_boxes_M4=np.array([[0, 0, 9, 9], [2, 2, 3, 3]], np.int32),
        classes=[4, 2],
        probabilities=[0.75, 0.25],
        rules={"threshold": RuleGuesses(list(guesses), gt_known)},
    )


def test_literal_row_padded_and_sorted_by_id(tmp_path):
    write(tmp_path, [prediction("b"), prediction("a", (), None)], manifest(2))
    table = read_predictions(tmp_path)
    assert table.ids == ["a", "b"]
    assert table.labels_N.tolist() == [4, 4]
    assert table.boxes.values_T4.tolist() == [[0, 0, 9, 9], [2, 2, 3, 3]] * 2
    assert table.boxes.offsets.tolist() == [0, 2, 4]
    assert table.classes_N5.tolist() == [[4, 2, -1, -1, -1]] * 2
    assert table.probabilities_N5.tolist() == [[0.75, 0.25, 0, 0, 0]] * 2
    threshold = table.rules["threshold"]
    assert threshold.classes_N5.tolist() == [[-1] * 5, [4, 4, -1, -1, -1]]
    assert threshold.boxes_N54[1, :2].tolist() == [[0, 0, 9, 4], [1, 1, 1, 1]]
    assert threshold.gt_known_N4.tolist() == [[-1] * 4, [0, 0, 9, 9]]
    assert table.manifest == manifest(2)
    assert (tmp_path / "submission_threshold.txt").read_text() == "\n5 0 0 9 4 5 1 1 1 1\n"


def test_where_thresholds_are_right_is_read_for_all_images_or_none(tmp_path):
    rows = [prediction("a"), prediction("b")]
    rows[0].right_at, rows[1].right_at = [0, 20, 99], []
    write(tmp_path / "known", rows, manifest(2))
    right_N100 = read_predictions(tmp_path / "known").right_at_N100
    assert right_N100.shape == (2, 100)
    assert np.argwhere(right_N100).tolist() == [[0, 0], [0, 20], [0, 99]]
    rows[1].right_at = None
    write(tmp_path / "half", rows, manifest(2))
    assert read_predictions(tmp_path / "half").right_at_N100 is None


def test_a_run_of_an_older_version_has_no_such_column(tmp_path):
    table = to_arrow([prediction()], ["threshold"]).drop("right_at")
    write_predictions(tmp_path, table, manifest(1))
    write_manifest(tmp_path, manifest(1))
    assert read_predictions(tmp_path).right_at_N100 is None


def test_label_sets_are_kept_where_the_data_set_tells_them(tmp_path):
    rows = [prediction("b"), prediction("a")]
    write(tmp_path / "one", rows, manifest(2))
    assert read_predictions(tmp_path / "one").label_sets is None
    rows[0].label_set, rows[1].label_set = [2, 4], [4]
    write(tmp_path / "several", rows, manifest(2))
    sets = read_predictions(tmp_path / "several").label_sets
    assert [sets.of(i).tolist() for i in range(2)] == [[4], [2, 4]]


WNIDS = tuple(f"n{number:08d}" for number in range(1, 6))
FIVE = ClassTable(WNIDS, ("a", "b", "c", "d", "e"), np.array([9, 8, 7, 6, 490], np.int32), "a kit")


def test_submission_labels_are_mapped(tmp_path):
    write(tmp_path, [prediction()], manifest(1), FIVE)
    text = (tmp_path / "submission_threshold.txt").read_text()
    assert text == "490 0 0 9 4 490 1 1 1 1\n"
    assert not (tmp_path / "submission_threshold.csv").exists(), "Kaggle scores the test split"
    without_ids = ClassTable(WNIDS, FIVE.names, None, NO_IDS)
    write(tmp_path, [prediction()], manifest(1), without_ids)
    text = (tmp_path / "submission_threshold.txt").read_text()
    assert text == "5 0 0 9 4 5 1 1 1 1\n"


def test_submissions_of_the_test_split_are_written_for_both_servers(tmp_path):
    rows = [prediction("b"), prediction("a", (), None), prediction("d", [(0, (2, 3, 4, 5))])]
    write(tmp_path, rows, manifest(3, split="test"), FIVE, missing=["c"])
    text = (tmp_path / "submission_threshold.txt").read_text()
    assert text == "\n490 0 0 9 4 490 1 1 1 1\n\n9 2 3 4 5\n"
    table = (tmp_path / "submission_threshold.csv").read_text()
    assert table.splitlines() == [
        "ImageId,PredictionString",
        "a,",
        "b,n00000005 0 0 9 4 n00000005 1 1 1 1",
        "c,",
        "d,n00000001 2 3 4 5",
    ]
    # Of another split there is none for Kaggle.
    val = tmp_path / "val"
    write(val, rows, manifest(3), FIVE, missing=["c"])
    assert not (val / "submission_threshold.csv").exists()
    assert (val / "submission_threshold.txt").read_text() == text


@pytest.mark.parametrize("name", ["write_submission", "write_kaggle_submission"])
def test_a_submission_that_does_not_read_back_is_no_result(tmp_path, monkeypatch, name):
    real = getattr(seam, name)

    def damages(path, *rest):
        real(path, *rest)
        path.write_text(path.read_text().replace(" 0 0 9 4", " 0 0 9 5", 1))

    monkeypatch.setattr(seam, name, damages)
    with pytest.raises(UserError, match=r"submission_threshold.*, line \d: does not hold"):
        write(tmp_path, [prediction()], manifest(1, split="test"), FIVE)
    assert not (tmp_path / "manifest.json").exists()


def test_a_run_that_classifies_nothing_has_no_submission(tmp_path):
    write(tmp_path / "usual", [prediction()], manifest(1), FIVE)
    assert (tmp_path / "usual" / "submission_threshold.txt").exists()
    boxes_alone = prediction(guesses=())
    boxes_alone.classes, boxes_alone.probabilities = [], []
    write(tmp_path / "boxes", [boxes_alone], manifest(1, classifies=False), FIVE)
    assert sorted(path.name for path in (tmp_path / "boxes").iterdir()) == [
        "manifest.json",
        "predictions.parquet",
    ]
    table = read_predictions(tmp_path / "boxes")
    assert table.classes_N5.tolist() == [[-1] * 5]
    assert table.rules["threshold"].classes_N5.tolist() == [[-1] * 5]
    assert table.rules["threshold"].gt_known_N4.tolist() == [[0, 0, 9, 9]]


def test_checksums_of_maps_are_kept_where_there_are_maps(tmp_path):
    rows = [prediction("b"), prediction("a")]
    write(tmp_path / "without", rows, manifest(2))
    assert read_predictions(tmp_path / "without").map_crc32_N is None
    rows[0].map_crc32, rows[1].map_crc32 = 4_000_000_000, 7
    write(tmp_path / "with", rows, manifest(2))
    assert read_predictions(tmp_path / "with").map_crc32_N.tolist() == [7, 4_000_000_000]


@pytest.mark.parametrize("place", [0.02, 0.3, 0.5, 0.7, 0.98])
def test_a_flipped_bit_is_noticed(tmp_path, place):
    write(tmp_path, [prediction(f"{i:03d}") for i in range(40)], manifest(40))
    path = tmp_path / "predictions.parquet"
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1
    path.write_bytes(content)
    with pytest.raises(
        UserError, match=r"predictions\.parquet is not as it was written: .*manifest"
    ):
        read_predictions(tmp_path)


@st.composite
def predictions(draw):
    width, height = draw(st.integers(1, 30)), draw(st.integers(1, 30))

    def box():
        x = sorted(draw(st.tuples(*[st.integers(0, width - 1)] * 2)))
        y = sorted(draw(st.tuples(*[st.integers(0, height - 1)] * 2)))
        return (x[0], y[0], x[1], y[1])

    n = draw(st.integers(0, 5))
    return Prediction(
        id="",
        width=width,
        height=height,
        label=draw(st.integers(-1, 9)),
        true_boxes_M4=np.array([box() for _ in range(draw(st.integers(0, 3)))], np.int32).reshape(
            -1, 4
        ),
        classes=draw(st.lists(st.integers(0, 9), min_size=n, max_size=n)),
        probabilities=draw(st.lists(st.floats(0, 1, width=32), min_size=n, max_size=n)),
        rules={
            name: RuleGuesses(
                [(draw(st.integers(0, 9)), box()) for _ in range(draw(st.integers(0, 5)))],
                box() if draw(st.booleans()) else None,
            )
            for name in ("threshold", "heuristic")
        },
    )


@settings(max_examples=40, deadline=None)
@given(st.lists(predictions(), max_size=4))
def test_round_trip(rows):
    for i, row in enumerate(rows):
        row.id = f"image {i}, ü"
    with tempfile.TemporaryDirectory() as folder:
        write(folder, rows, manifest(len(rows), ["threshold", "heuristic"]))
        table = read_predictions(folder)
    assert len(table) == len(rows)
    for i, row in enumerate(rows):
        assert (table.ids[i], *table.sizes_N2[i].tolist(), table.labels_N[i]) == (
            row.id,
            row.width,
            row.height,
            row.label,
        )
        np.testing.assert_array_equal(table.boxes.of(i), row.true_boxes_M4)
        n = len(row.classes)
        assert table.classes_N5[i].tolist() == row.classes + [-1] * (5 - n)
        assert table.probabilities_N5[i].tolist() == row.probabilities + [0] * (5 - n)
        for name, guesses in row.rules.items():
            read = table.rules[name]
            n = len(guesses.guesses)
            assert read.classes_N5[i].tolist() == [c for c, _ in guesses.guesses] + [-1] * (5 - n)
            assert [tuple(box) for box in read.boxes_N54[i, :n]] == [b for _, b in guesses.guesses]
            assert (read.boxes_N54[i, n:] == -1).all()
            assert tuple(read.gt_known_N4[i]) == (guesses.gt_known or (-1, -1, -1, -1))


def test_what_cannot_be_trusted_is_refused_in_one_line(tmp_path):
    def refused(message):
        with pytest.raises(UserError, match=message) as error:
            read_predictions(tmp_path)
        assert "\n" not in str(error.value)
        assert "cam-eval" in str(error.value)

    refused("has no manifest.json")
    write(tmp_path, [prediction()], manifest(1))
    edit_manifest(tmp_path, counts={"images": 2, "skipped": 0})
    refused("has 1 images, its manifest says 2")
    edit_manifest(tmp_path, counts={"images": 1, "skipped": 0}, rules=["threshold", "other"])
    refused("predictions.parquet is damaged")
    edit_manifest(tmp_path, rules=["threshold"])
    assert len(read_predictions(tmp_path)) == 1
    content = (tmp_path / "predictions.parquet").read_bytes()
    (tmp_path / "predictions.parquet").write_bytes(content[: len(content) // 2])
    refused("predictions.parquet is not as it was written: its SHA-256 is not the one in manifest")
    edit_manifest(tmp_path, files={})  # as in runs of older versions
    refused("predictions.parquet is damaged")
    (tmp_path / "predictions.parquet").unlink()
    refused("predictions.parquet is missing")
    (tmp_path / "manifest.json").write_text("{")
    refused("manifest.json cannot be read")


@pytest.mark.parametrize(
    "rows",
    [
        [prediction("a"), prediction("a")],
        [prediction(guesses=[(0, (0, 0, 10, 4))])],
        [prediction(gt_known=(3, 0, 2, 4))],
        [prediction(guesses=[(0, (0, 0, 1, 1))] * 6)],
    ],
)
def test_our_own_mistakes_are_not_written(tmp_path, rows):
    with pytest.raises(AssertionError):
        write(tmp_path, rows, manifest(len(rows)))
    assert not (tmp_path / "manifest.json").exists()


def test_submissions_have_a_line_for_every_image_of_the_split(tmp_path):
    predictions = [
        Prediction(
            id=image_id,
            width=20,
            height=20,
            label=0,
            true_boxes_M4=np.zeros((0, 4), np.int32),
            classes=[0],
            probabilities=[1.0],
            rules={"threshold": RuleGuesses([(0, (1, 2, 3, 4))])},
        )
        for image_id in ("b", "d")
    ]

    write(tmp_path, predictions, manifest(2), missing=["c", "a"])

    text = (tmp_path / "submission_threshold.txt").read_text()
    assert text.split("\n") == ["", "1 1 2 3 4", "", "1 1 2 3 4", ""]


def test_boxes_without_classes_are_the_rows_of_such_predictions():
    labels, boxes = [4, -1], [[(0, 0, 9, 9), (2, 2, 3, 3)], []]
    known = {"whole_image": [(0, 0, 9, 7), (0, 0, 5, 5)], "center": [(1, 1, 8, 6), (1, 1, 4, 4)]}
    sets = [[2, 4], [0]]
    rows = [
        Prediction(
            id=f"image{i}",
            width=(10, 6)[i],
            height=(8, 6)[i],
            label=labels[i],
            true_boxes_M4=np.array(boxes[i], np.int32).reshape(-1, 4),
            classes=[],
            probabilities=[],
            rules={
                name: RuleGuesses([], found[i] if labels[i] >= 0 else None)
                for name, found in known.items()
            },
            label_set=sets[i],
        )
        for i in range(2)
    ]
    truth = Truth(
        ids=Names(["image0", "image1"]),
        labels_N=np.array(labels, np.int32),
        boxes=RaggedBoxes.from_lists(boxes),
        sizes_N2=np.array([[10, 8], [6, 6]]),
        label_sets=LabelSets.from_lists(sets),
    )
    found = boxes_to_arrow(truth, {name: np.array(of_rule) for name, of_rule in known.items()})
    assert found.equals(to_arrow(rows, list(known)))


def test_boxes_without_classes_lie_in_their_images():
    truth = Truth(
        ids=["a"],
        labels_N=np.array([0]),
        boxes=RaggedBoxes.none(1),
        sizes_N2=np.array([[10, 8]]),
    )
    with pytest.raises(AssertionError, match="center: box outside the image"):
        boxes_to_arrow(truth, {"center": np.array([[0, 0, 9, 8]])})
