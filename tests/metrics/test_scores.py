from dataclasses import replace

import numpy as np
import pytest
from run_builder import make_manifest

from cam_repro.errors import UserError
from cam_repro.metrics.scores import score
from cam_repro.runs.predictions import Predictions, RuleTable
from cam_repro.truth import RaggedBoxes

RIGHT, WRONG, NONE = (0, 0, 9, 9), (10, 10, 19, 19), (-1, -1, -1, -1)


def table(labels, true_boxes=((RIGHT,), (RIGHT,), ())):
    """Three images of label 7: right at once; right class second; no true box."""
    boxes = np.array([[RIGHT] + [NONE] * 4, [WRONG, RIGHT] + [NONE] * 3, [RIGHT] + [NONE] * 4])
    loose = np.array([[WRONG, RIGHT] + [NONE] * 3] * 3)
    return Predictions(
        ids=["a", "b", "c"],
        sizes_N2=np.full((3, 2), 20),
        labels_N=np.array(labels),
        boxes=RaggedBoxes.from_lists(true_boxes),
        classes_N5=np.array([[7, 1, 2, 3, 4], [1, 7, 2, 3, 4], [7, 1, 2, 3, 4]]),
        probabilities_N5=np.full((3, 5), 0.2),
        rules={
            "threshold": RuleTable(
                np.array([[7, 1, 2, 3, 4], [1, 7, 2, 3, 4], [7, 1, 2, 3, 4]]),
                boxes,
                np.array([RIGHT, RIGHT, RIGHT]),
            ),
            "heuristic": RuleTable(
                np.array([[7, 7, 1, 1, 2]] * 3), loose, np.array([RIGHT, WRONG, NONE])
            ),
        },
        manifest=make_manifest(),
    )


def test_literal_scores(caplog):
    third, two_thirds = pytest.approx(100 / 3), pytest.approx(200 / 3)
    assert score(table([7, 7, 7])) == {
        "n_images": 3,
        "n_blacklisted": 0,
        "cls": {"top1": third, "top5": 0},
        "loc": {
            "threshold": {"top1": two_thirds, "top5": third, "gt_known": third},
            "heuristic": {"top1": 100, "top5": third, "gt_known": two_thirds},
        },
        "thresholds_are": {"iou": "fixed", "box": "fixed"},
    }
    assert "1 of 3 images have no true box" in caplog.text


def test_without_any_true_box_there_is_no_localization_error(caplog):
    boxless = table([7, 7, 7], true_boxes=((), (), ()))
    cls = {"top1": pytest.approx(100 / 3), "top5": 0}
    assert score(boxless) == {"n_images": 3, "n_blacklisted": 0, "cls": cls}
    assert caplog.text == ""


def test_a_split_without_labels_is_refused():
    with pytest.raises(UserError, match="no labels to score against"):
        score(table([7, -1, 7]))


def test_a_blacklisted_image_does_not_count_in_the_official_error_alone():
    found = score(replace(table([7, 7, 7]), blacklisted_N=np.array([False, True, False])))
    assert found["n_blacklisted"] == 1
    assert found["cls"] == {"top1": pytest.approx(100 / 3), "top5": 0}
    third = pytest.approx(100 / 3)
    assert found["loc"]["threshold"] == {"top1": 50, "top5": 50, "gt_known": third}


def test_nothing_left_to_score_is_refused():
    with pytest.raises(UserError, match="every image is blacklisted"):
        score(replace(table([7, 7, 7]), blacklisted_N=np.ones(3, bool)))


def test_class_0_is_a_label():
    assert score(table([0, 0, 0]))["cls"] == {"top1": 100, "top5": 100}
