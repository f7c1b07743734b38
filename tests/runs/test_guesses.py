"""What ``cam-score`` makes of each form of input, in arrays."""

import logging
from dataclasses import replace

import numpy as np
import pytest

from cam_repro.classes import classes_of, ilsvrc_classes, unnamed_classes
from cam_repro.errors import UserError
from cam_repro.formats.maps import open_maps
from cam_repro.formats.submissions import write_kaggle_submission, write_submission
from cam_repro.runs.guesses import Form, RunGuesses, match_ids, read_guesses
from cam_repro.runs.predictions import read_predictions
from cam_repro.truth import RaggedBoxes, Truth
from cam_repro.types import NO_LABEL

RIGHT = (0, 0, 9, 9)
SNAKE, GOOSE = 65, 99
"""Class indices; their ids in the development kit are 490 and 420."""


def truth_of(images, classes=None):
    """One true box an image."""
    n = len(images)
    return Truth(
        ids=list(images),
        labels_N=np.full(n, SNAKE),
        boxes=RaggedBoxes.from_lists([[RIGHT]] * n),
        classes=classes,
    )


# --- text


def test_ids_of_the_development_kit_become_class_indices(tmp_path):
    path = tmp_path / "s.txt"
    write_submission(path, [[(SNAKE, RIGHT), (GOOSE, RIGHT)], []], ilsvrc_classes().devkit_ids_C)
    assert path.read_text() == "490 0 0 9 9 420 0 0 9 9\n\n"
    found = read_guesses(path, truth_of("ab", ilsvrc_classes()), with_labels=True)
    assert found.labels_N5.tolist() == [[65, 99, -1, -1, -1], [-1] * 5]
    assert found.boxes_N54[0, :2].tolist() == [[0, 0, 9, 9]] * 2
    assert found.known_N4.tolist() == [[0, 0, 9, 9], [-1] * 4]


def test_labels_of_classes_without_ids_are_index_plus_one(tmp_path):
    (tmp_path / "s.txt").write_text("1 0 0 9 9 3 0 0 9 9\n")
    classes = classes_of(["n1", "n2", "n3"])
    found = read_guesses(tmp_path / "s.txt", truth_of("a", classes), with_labels=True)
    assert found.labels_N5.tolist() == [[0, 2, -1, -1, -1]]


def test_labels_are_compared_as_given_where_nobody_knows_the_classes(tmp_path):
    (tmp_path / "s.txt").write_text("490 0 0 9 9 7 0 0 9 9\n")
    found = read_guesses(tmp_path / "s.txt", truth_of("a"), with_labels=True)
    assert found.labels_N5.tolist() == [[490, 7, -1, -1, -1]]


def test_numbers_that_are_no_label_are_counted_once_and_match_nothing(tmp_path, caplog):
    (tmp_path / "s.txt").write_text("1001 0 0 9 9 0 0 0 9 9 490 0 0 9 9\n-1 0 0 9 9\n")
    truth = truth_of("ab", ilsvrc_classes())
    found = read_guesses(tmp_path / "s.txt", truth, with_labels=True)
    assert found.labels_N5.tolist() == [[-1, -1, 65, -1, -1], [-1] * 5]
    (record,) = caplog.records
    assert "3 guesses have a label that no class has (the first: 1001)" in record.getMessage()


def test_labels_do_not_matter_where_the_class_is_given(tmp_path, caplog):
    (tmp_path / "s.txt").write_text("4711 1 2 3 4 7 0 0 9 9\n\n")
    truth = truth_of("ab", ilsvrc_classes())
    found = read_guesses(tmp_path / "s.txt", truth, with_labels=False)
    assert found.known_N4.tolist() == [[1, 2, 3, 4], [-1] * 4]
    assert not caplog.records


@pytest.mark.parametrize("lines", ["", "\n", "\n\n\n"])
def test_text_must_have_a_line_an_image(tmp_path, lines):
    (tmp_path / "s.txt").write_text(lines)
    with pytest.raises(UserError, match=f"the submission has {len(lines)} lines, ground truth 2"):
        read_guesses(tmp_path / "s.txt", truth_of("ab"), with_labels=True)


def test_an_order_that_is_not_that_of_the_names_is_said(tmp_path, caplog):
    (tmp_path / "s.txt").write_text("1 0 0 1 1\n2 0 0 1 1\n")
    found = read_guesses(tmp_path / "s.txt", truth_of("ba"), with_labels=True)
    assert found.labels_N5[:, 0].tolist() == [1, 2]
    assert "not in file-name order" in caplog.text


# --- Kaggle's CSV


def test_kaggle_rows_are_matched_by_name(tmp_path):
    path, classes = tmp_path / "s.csv", ilsvrc_classes()
    guesses = [[(GOOSE, (1, 2, 3, 4))], [(SNAKE, RIGHT), (GOOSE, RIGHT)]]
    write_kaggle_submission(path, ["b", "a"], guesses, classes.wnids)
    found = read_guesses(path, truth_of(["a", "b"], classes), with_labels=True)
    assert found.labels_N5.tolist() == [[65, 99, -1, -1, -1], [99, -1, -1, -1, -1]]
    assert found.boxes_N54[1, 0].tolist() == [1, 2, 3, 4]
    assert found.known_N4.tolist() == [[0, 0, 9, 9], [1, 2, 3, 4]]


def test_kaggle_labels_may_be_numbers_and_unknown_ones_are_wrong(tmp_path, caplog):
    path = tmp_path / "s.csv"
    path.write_text("ImageId,PredictionString\na,490 0 0 9 9 n00000001 0 0 9 9 n01751748 0 0 9 9\n")
    found = read_guesses(path, truth_of("a", ilsvrc_classes()), with_labels=True)
    assert found.labels_N5.tolist() == [[65, -1, 65, -1, -1]]
    assert "1 guesses have a label that no class has (the first: n00000001)" in caplog.text


@pytest.mark.parametrize("classes", [None, classes_of(["class0000000", "class0000001"])])
def test_kaggle_labels_need_classes_with_wordnet_ids(tmp_path, classes):
    path = tmp_path / "s.csv"
    path.write_text("ImageId,PredictionString\na,n01751748 0 0 9 9\n")
    with pytest.raises(UserError, match="that the ground truth does not know; give data=ilsvrc"):
        read_guesses(path, truth_of("a", classes), with_labels=True)
    found = read_guesses(path, truth_of("a", classes), with_labels=False)
    assert found.known_N4.tolist() == [[0, 0, 9, 9]]


# --- matching by name


def test_rows_of_names():
    assert match_ids(["b", "a"], ["a", "b"], "s").tolist() == [1, 0]
    assert match_ids([], [], "s").tolist() == []


def test_folder_and_suffix_of_a_name_do_not_count(caplog):
    images = ["val/x_1.JPEG", "val/x_2.JPEG", "val/x_3.v2.png"]
    assert match_ids(["x_2", "x_1", "x_3.v2"], images, "s").tolist() == [1, 0, 2]
    assert match_ids(images, ["x_1", "x_2", "x_3.v2"], "s").tolist() == [0, 1, 2]
    assert not caplog.records


def test_names_that_need_their_folder_keep_it():
    images = ["cat/1", "dog/1"]
    assert match_ids(["dog/1", "cat/1"], images, "s").tolist() == [1, 0]
    with pytest.raises(UserError, match="image 1 is not in the ground truth"):
        match_ids(["1"], images, "s")


def test_images_missing_from_the_submission_are_said_once(caplog):
    assert match_ids(["c"], ["a", "b", "c"], "s.csv").tolist() == [-1, -1, 0]
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        "s.csv: no guesses for 2 of 3 images (the first: a); each counts as wrong"
    )


def test_images_that_the_ground_truth_lacks_are_refused():
    with pytest.raises(UserError, match=r"s.csv: image y is not in .* \(2 of 3 are not\)"):
        match_ids(["a", "y", "x"], ["a", "b"], "s.csv")


def test_an_image_twice_in_the_ground_truth_cannot_be_matched():
    with pytest.raises(UserError, match="has an image twice"):
        match_ids(["a"], ["a", "a"], "s.csv")


# --- runs


def run_of(folder, truth):
    return RunGuesses.in_order_of(truth, read_predictions(folder), folder)


def test_a_run_brings_class_indices_and_boxes(make_run):
    folder = make_run("nin", cls_right=1, loc_right=1, n=2)
    images = ["image00000", "image00001", "image00002"]
    found = run_of(folder, truth_of(images)).chosen("heuristic", with_labels=True)
    assert found.labels_N5.tolist() == [[0, 1, 2, 3, 4], [1, 2, 3, 4, 5], [-1] * 5]
    assert found.boxes_N54[:2, 4].tolist() == [[0, 0, 9, 9], [10, 10, 19, 19]]
    assert found.known_N4.tolist() == [[0, 0, 9, 9], [10, 10, 19, 19], [-1] * 4]


def test_the_rule_taken_is_said(make_run, caplog):
    caplog.set_level(logging.INFO)
    run = run_of(make_run("nin", n=1), truth_of(["image00000"]))
    run.chosen(None, with_labels=False)
    assert "box rule threshold (box=NAME for heuristic)" in caplog.text


@pytest.mark.parametrize(
    ("words", "rule", "n_classes", "message"),
    [
        ({}, "loose", 6, "box=loose: not in .*; choose one of threshold, heuristic"),
        ({}, None, 7, "is of 6 classes, the ground truth of 7"),
        ({"n": 3}, None, 6, r"image image00001 is not in the ground truth \(2 of 3 are not\)"),
    ],
)
def test_a_run_that_does_not_fit_is_refused(make_run, words, rule, n_classes, message):
    truth = truth_of(["image00000"], classes_of([f"n{i}" for i in range(n_classes)]))
    with pytest.raises(UserError, match=message):
        run_of(make_run("nin", **{"n": 1, **words}), truth).chosen(rule, with_labels=True)


def test_a_run_without_labels_has_no_box_of_the_true_class(make_run):
    folder = make_run("nin", n=1, has_labels=False)
    with pytest.raises(UserError, match="has no boxes of the true class"):
        run_of(folder, truth_of(["image00000"])).chosen(None, with_labels=False)


# --- maps


def test_a_stack_of_maps_is_not_read_into_memory(tmp_path):
    np.save(tmp_path / "m.npy", np.arange(24, dtype=np.float32).reshape(2, 3, 4))
    maps = open_maps(tmp_path / "m.npy", ["a", "b"])
    assert isinstance(maps, np.memmap)
    assert maps[1].tolist() == [[12, 13, 14, 15], [16, 17, 18, 19], [20, 21, 22, 23]]


@pytest.mark.parametrize("place", ["val/x.JPEG.npy", "val/x.npy", "x.npy"])
def test_a_map_an_image_under_any_of_its_names(tmp_path, place):
    (tmp_path / place).parent.mkdir(exist_ok=True)
    np.save(tmp_path / place, np.array([[1, 2], [3, 4]]))
    maps = open_maps(tmp_path, ["val/x.JPEG"])
    assert maps[0].tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 3)), r"has shape \(2, 3\); a stack of maps has three axes"),
        (np.zeros((2, 0, 3)), r"has shape \(2, 0, 3\)"),
        (np.zeros((3, 2, 2)), "holds 3 maps, the ground truth 2 images"),
        (np.zeros((2, 2, 2), complex), "not a .npy file of real numbers"),
        (np.array([{}, {}]), "not a readable .npy file"),
    ],
)
def test_a_stack_of_another_shape_is_refused(tmp_path, array, message):
    np.save(tmp_path / "m.npy", array, allow_pickle=True)
    with pytest.raises(UserError, match=message) as error:
        open_maps(tmp_path / "m.npy", ["a", "b"])
    assert str(tmp_path / "m.npy") in str(error.value)


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f8', 'fortran_order': False, 'shape': (2, 2000000000, 3), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (-1, 2, 3), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (2, 2, 3.5), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (2, 2, 3), }",
        "{'descr': [], 'fortran_order': 0, 'shape': 7, }",
        "{'descr': '<f8'",
        "[[[[((((",
    ],
)
def test_a_header_that_claims_too_much_is_refused(tmp_path, header):
    length = len(header).to_bytes(2, "little")
    path = tmp_path / "m.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + length + header.encode() + bytes(96))
    with pytest.raises(UserError, match=r"not a readable .npy file of numbers"):
        open_maps(path, ["a", "b"])
    with pytest.raises(UserError, match=r"not a readable .npy file of numbers"):
        open_maps(tmp_path, ["m"])[0]


def test_maps_that_are_not_there_are_named(tmp_path):
    np.save(tmp_path / "b.npy", np.zeros((2, 2)))
    with pytest.raises(UserError, match=r"no map of a, a.npy \(2 of 3 are missing\)"):
        open_maps(tmp_path, ["a", "b", "val/c.JPEG"])
    with pytest.raises(UserError, match=r"maps=.*none.npy: no such file"):
        open_maps(tmp_path / "none.npy", ["a"])
    (tmp_path / "text.npy").write_text("1 2 3")
    with pytest.raises(UserError, match=r"text.npy: not a readable .npy file"):
        open_maps(tmp_path / "text.npy", ["a"])


def test_a_map_of_another_shape_is_named_when_it_is_read(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((1, 2, 2)))
    with pytest.raises(UserError, match=r"a.npy: has shape \(1, 2, 2\); a map has two axes"):
        open_maps(tmp_path, ["a"])[0]


# --- numberings


def test_a_text_is_read_as_index_plus_one_where_classes_are_not_named(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    path = tmp_path / "s.txt"
    path.write_text("66 0 0 9 9\n")
    truth = truth_of("a", unnamed_classes(66))
    assert read_guesses(path, truth).labels_N5[0, 0] == 65
    assert caplog.messages == [
        f"labels of {path} are read as class index + 1 (labels=index: as indices)"
    ]
    assert read_guesses(path, truth, form=Form("index")).labels_N5[0, 0] == NO_LABEL


@pytest.mark.parametrize(("labels", "number"), [(None, 490), ("index", 65), ("index+1", 66)])
def test_numbers_in_kaggles_form_are_read_as_those_of_a_text(tmp_path, labels, number):
    path = tmp_path / "s.csv"
    path.write_text(f"ImageId,PredictionString\nb,{number} 0 0 9 9\n")
    found = read_guesses(path, truth_of("ab", ilsvrc_classes()), form=Form(labels))
    assert found.labels_N5[:, 0].tolist() == [-1, 65]
    assert found.given_N5[:, 0].tolist() == [-1, number]


def numbers_of(tmp_path, *numbers):
    path = tmp_path / "s.csv"
    path.write_text(
        "ImageId,PredictionString\na," + " ".join(f"{number} 0 0 9 9" for number in numbers) + "\n"
    )
    return path


def test_numbers_that_are_names_of_classes_are_names(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    path = numbers_of(tmp_path, 10, 2)
    found = read_guesses(path, truth_of("a", classes_of(["2", "10"])))
    assert found.labels_N5[0, :2].tolist() == [1, 0]
    assert found.given_N5[0, :2].tolist() == [10, 2]  # may be tried as labels
    assert caplog.messages == [
        f"labels of {path} are read as names of classes (labels=index+1: as class index + 1)"
    ]


def test_numbers_of_which_one_is_no_name_are_all_labels(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    path, truth = numbers_of(tmp_path, 1, 2, 3), truth_of("a", classes_of("012"))
    assert read_guesses(path, truth).labels_N5[0, :3].tolist() == [0, 1, 2]
    assert caplog.messages == [
        f"labels of {path} are read as class index + 1, as no class is called 3"
    ]


def test_numbers_of_which_one_is_neither_a_name_nor_a_label_are_names(tmp_path, caplog):
    path, truth = numbers_of(tmp_path, 1, 2, 9), truth_of("a", classes_of("012"))
    assert read_guesses(path, truth).labels_N5[0, :3].tolist() == [1, 2, NO_LABEL]
    assert "1 guesses have a label that no class has (the first: 9)" in caplog.text


@pytest.mark.parametrize(("labels", "indices"), [("index", [1, 2]), ("index+1", [0, 1])])
def test_the_setting_tells_what_numbers_are(tmp_path, caplog, labels, indices):
    caplog.set_level(logging.INFO)
    path, truth = numbers_of(tmp_path, 1, 2), truth_of("a", classes_of("012"))
    found = read_guesses(path, truth, form=Form(labels))
    assert found.labels_N5[0, :2].tolist() == indices
    assert caplog.messages == []


def test_of_classes_called_one_to_n_nothing_is_said(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    path, truth = numbers_of(tmp_path, 1, 2), truth_of("a", classes_of("12"))
    assert read_guesses(path, truth).labels_N5[0, :2].tolist() == [0, 1]
    assert caplog.messages == []


def test_a_run_may_have_more_classes_than_a_truth_that_does_not_name_them(make_run):
    folder = make_run("nin", n=2)
    table = read_predictions(folder)
    for count, fits in ((1, True), (len(table.classes), True), (len(table.classes) + 1, False)):
        truth = replace(truth_of(table.ids), classes=unnamed_classes(count))
        run = RunGuesses.in_order_of(truth, table, folder)
        if fits:
            assert run.chosen(None, with_labels=True).labels_N5.shape == (2, 5)
        else:
            with pytest.raises(UserError, match="classes, the ground truth of"):
                run.chosen(None, with_labels=True)
