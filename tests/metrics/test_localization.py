import numpy as np
import pytest

from cam_repro.boxes.threshold import largest_component_box
from cam_repro.errors import UserError
from cam_repro.metrics.gt_known import GtKnown
from cam_repro.metrics.localization import Localization


def bump(width):
    """1 in the first columns of 10 x 10, falling to 0.3 in those up to ``width``, then 0.1."""
    map_HW = np.full((10, 10), 0.1, np.float32)
    map_HW[:, :width] = 0.3
    map_HW[:, :2] = 1
    return map_HW


def test_literal(truth_of):
    """Columns 0 to 3, 0 to 5 and 0 to 9 of a box of all columns: IoU 0.4, 0.6, 1."""
    truth = truth_of([(10, 10)] * 3, [[[0, 0, 9, 9]]] * 3)
    maps = [bump(4), bump(6), bump(10)]
    scored = Localization(0.2, [0.3, 0.5, 0.6, 0.75]).score(truth, maps)
    third = pytest.approx(100 / 3)
    accuracy = {"0.3": 100, "0.5": pytest.approx(200 / 3), "0.6": pytest.approx(200 / 3)}
    assert scored.numbers["gt_known"] == {**accuracy, "0.75": third}
    assert scored.numbers["threshold"] == 0.2
    assert scored.thresholds_are == {"iou": "fixed", "threshold": "fixed"}
    assert scored.lines[-1] == "boxes above 0.2 of the map's maximum, fixed"
    # Above 0.3 of the maximum the first two columns are left: IoU 0.2.
    assert set(Localization(0.35).score(truth, maps).numbers["gt_known"].values()) == {0}


def test_it_is_gt_known_of_the_rules_boxes(truth_of):
    rng = np.random.default_rng(0)
    sizes = rng.integers(1, 12, (500, 2)).tolist()
    corners = rng.integers(0, 12, (500, 2, 2))
    boxes = np.concatenate([corners.min(1), corners.max(1)], axis=1)
    truth = truth_of(sizes, boxes[:, None].tolist())
    maps = [rng.normal(size=(h, w)).astype(np.float32) for w, h in sizes]
    maps[3][:] = np.nan
    maps[4][:] = 2
    found = Localization(0.4).score(truth, maps).numbers
    guessed = np.array([largest_component_box(map_HW, 0.4) for map_HW in maps])
    expected = GtKnown().score(truth, guessed).numbers
    assert found == {**expected, "threshold": 0.4}
    assert 0 < expected["gt_known"]["0.3"] < 100


@pytest.mark.parametrize("value", [0.5, [], [0], [1.5], [True], ["a"], None])
def test_ious_that_cannot_be_are_refused(value):
    with pytest.raises(UserError, match=r"protocol.ious=.*: must be numbers over 0"):
        Localization(ious=value)


def test_a_threshold_that_cannot_be_is_refused():
    with pytest.raises(UserError, match=r"protocol.threshold=1: must be a share"):
        Localization(1)


def test_no_map_is_refused(truth_of):
    with pytest.raises(UserError, match="no image to score"):
        Localization().score(truth_of([], []), [])
