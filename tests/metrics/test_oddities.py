"""What cam-score notices: odd guesses, and other readings that would lower the error."""

import numpy as np
import pytest

from cam_repro.classes import ilsvrc_classes, unnamed_classes
from cam_repro.metrics.hints import find_hints
from cam_repro.metrics.oddities import Oddities, count_oddities
from cam_repro.metrics.official import errors, hits
from cam_repro.runs.guesses import Form, Guesses, read_guesses
from cam_repro.truth import RaggedBoxes, Truth

NONE = [-1] * 4


def guesses_of(boxes, labels=None, **fields):
    """Guesses of one image a row, as many as are given."""
    boxes_N54 = np.full((len(boxes), 5, 4), -1)
    for row, of_image in enumerate(boxes):
        boxes_N54[row, : len(of_image)] = np.reshape(of_image, (-1, 4))
    labels_N5 = np.where((boxes_N54 != -1).any(axis=2), 1, -1) if labels is None else labels
    return Guesses(np.array(labels_N5), boxes_N54, boxes_N54[:, 0], **fields)


def truth_of(n, sizes=True, classes=None, labels=None):
    return Truth(
        ids=[f"image{i:03d}" for i in range(n)],
        labels_N=np.ones(n, int) if labels is None else np.array(labels),
        boxes=RaggedBoxes.from_lists([[[2, 2, 9, 9]]] * n),
        sizes_N2=np.full((n, 2), [20, 10]) if sizes else None,
        classes=classes,
    )


def test_literal_counts():
    inside, corner, right, below = [0, 0, 19, 9], [-1, -1, 3, 3], [0, 0, 20, 9], [0, 0, 19, 10]
    turned, upside_down, far = [9, 0, 5, 9], [0, 9, 5, 0], [30, 0, 25, 9]
    guesses = guesses_of(
        [[inside, corner, right], [below, turned, upside_down], [far], []],
        n_beyond=3,
        n_unknown=2,
    )
    found = count_oddities(truth_of(4, classes=ilsvrc_classes()), guesses)
    assert found == Oddities(outside=4, inverted=3, beyond_five=3, unknown_label=2)
    assert found.line == (
        "odd guesses: 4 outside their image, 3 inverted, 3 after the fifth, 2 of unknown label"
    )
    blind = count_oddities(truth_of(4, sizes=False), guesses)
    assert blind.as_json() == {
        **{"outside": None, "inverted": 3, "beyond_five": 3, "unknown_label": None}
    }
    assert blind.line == "odd guesses: 3 inverted, 3 after the fifth"


def test_a_box_that_begins_inside_and_ends_outside_is_a_box():
    found = count_oddities(truth_of(1), guesses_of([[[5, 5, -1, -1], [0, 0, 3, 3]]]))
    assert (found.outside, found.inverted) == (1, 1)


def test_an_image_of_unknown_size_has_no_outside():
    truth = truth_of(2)
    assert truth.sizes_N2 is not None
    truth.sizes_N2[0] = 0
    found = count_oddities(truth, guesses_of([[[0, 0, 500, 5]], [[0, 0, 500, 5]]]))
    assert found.outside == 1


# --- hints

N = 40
CLASSES = ilsvrc_classes()
INDICES = np.arange(0, 1000, 25)
KITS = CLASSES.submission_labels_C[INDICES]


@pytest.fixture
def hinted(tmp_path):
    """Reads a text of one guess an image, whose box is right, and gives the hints."""

    def read(labels, truth, box="2 2 9 9", form=None):
        (tmp_path / "s.txt").write_text("".join(f"{label} {box}\n" for label in labels))
        guesses = read_guesses(tmp_path / "s.txt", truth, True, form)
        rows = errors(*hits(truth, guesses.labels_N5, guesses.boxes_N54))
        inverted = count_oddities(truth, guesses).inverted
        return [hint.as_json() for hint in find_hints(truth, guesses, rows[-1], inverted)]

    return read


@pytest.mark.parametrize(
    ("labels", "reading", "remedy"),
    [
        (INDICES, "class indices", "give labels=index"),
        (INDICES + 1, "class index + 1", "give labels=index+1"),
    ],
)
def test_another_numbering(hinted, labels, reading, remedy):
    truth = truth_of(N, classes=CLASSES, labels=INDICES)
    (hint,) = hinted(labels, truth)
    assert hint == {
        "reading": f"with labels read as {reading}",
        "classification_error": 0.0,
        "remedy": remedy,
    }
    assert hinted(labels, truth, form=Form(labels=remedy.removeprefix("give labels="))) == []
    assert hinted(KITS, truth) == []


def test_kit_ids_read_as_indices(hinted):
    truth = truth_of(N, classes=CLASSES, labels=INDICES)
    (hint,) = hinted(KITS, truth, form=Form(labels="index"))
    assert hint["remedy"] == "give labels=kit"


def test_lines_in_reverse_order(hinted):
    (hint,) = hinted(KITS[::-1], truth_of(N, classes=CLASSES, labels=INDICES))
    assert hint["reading"] == "with its lines in reverse order"
    assert hint["classification_error"] == 0


@pytest.mark.parametrize(
    ("labels", "true_labels", "reading", "remedy"),
    [
        (
            KITS,
            INDICES,
            "ids of the development kit and the ground truth's as class indices",
            "call the ground truth's column class_index and give labels=kit",
        ),
        (
            INDICES,
            KITS,
            "class indices and the ground truth's as ids of the development kit",
            "write both in one numbering",
        ),
        (
            INDICES + 1,
            INDICES,
            "class index + 1 and the ground truth's as class indices",
            "call the ground truth's column class_index and give labels=index+1",
        ),
    ],
)
def test_labels_without_named_classes(hinted, labels, true_labels, reading, remedy):
    (hint,) = hinted(labels, truth_of(N, labels=true_labels))
    assert (hint["reading"], hint["remedy"]) == (f"with labels read as {reading}", remedy)
    assert hint["classification_error"] == 0


def test_a_numbering_that_leaves_some_guesses_right_is_found(hinted):
    """Of three classes, two are read as another one, and the third as none."""
    truth = truth_of(N, classes=unnamed_classes(3), labels=np.arange(N) % 3)
    labels = [f"{label} 2 2 9 9 {(label + 1) % 3}" for label in np.arange(N) % 3]
    (hint,) = hinted(labels, truth)
    assert hint["remedy"] == "give labels=index"
    assert hint["classification_error"] == 0
    assert hinted(labels, truth, form=Form(labels="index")) == []
    assert hinted(np.arange(N) % 3 + 1, truth) == []


def test_boxes_as_x_y_width_height(hinted):
    truth = truth_of(N, classes=CLASSES, labels=INDICES)
    wanted = {
        "reading": "with boxes read as x y width height",
        "localization_error": 0.0,
        "remedy": "give boxes=xywh",
    }
    assert hinted(KITS, truth, box="2 2 8 8") == []  # as corners it reaches 0.77
    truth.boxes.values_T4[:] = [5, 5, 8, 8]
    assert hinted(KITS, truth, box="5 5 4 4") == [wanted]
    assert hinted(KITS, truth, box="5 5 4 4", form=Form(boxes="xywh")) == []


def test_inverted_boxes_are_tried_though_the_error_is_low(hinted):
    truth = truth_of(N, classes=CLASSES, labels=INDICES)
    truth.boxes.values_T4[: N // 2] = [5, 5, 8, 8]
    guesses = guesses_of(
        [[[5, 5, 4, 4]]] * (N // 2) + [[[2, 2, 8, 8]]] * (N // 2),
        labels=np.repeat(INDICES[:, None], 5, axis=1),
        is_of_file=True,
    )
    rows = errors(*hits(truth, guesses.labels_N5, guesses.boxes_N54))
    assert rows[-1].clsloc_error == 50
    (hint,) = find_hints(truth, guesses, rows[-1], N // 2)
    assert (hint.of, hint.error) == ("localization", 0)
    assert find_hints(truth, guesses, rows[-1], 0) == []


def test_nothing_is_said_where_nothing_helps_and_of_runs(hinted):
    assert hinted([1] * N, truth_of(N, classes=CLASSES, labels=INDICES)) == []
    truth = truth_of(N, classes=CLASSES, labels=INDICES)
    wrong = guesses_of([[[2, 2, 9, 9]]] * N, given_N5=np.repeat(INDICES[:, None], 5, axis=1))
    rows = errors(*hits(truth, wrong.labels_N5, wrong.boxes_N54))
    assert find_hints(truth, wrong, rows[-1], 0) == []
