"""Simonyan's box on drawn images, where the object is known to the pixel."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from hydra.utils import instantiate
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cam_repro.boxes.base import RankedMaps
from cam_repro.boxes.graphcut import GraphCut, _log_likelihood, graph_cut
from cam_repro.config import validate
from cam_repro.engine.settings import EvalSettings
from cam_repro.errors import UserError

RED, GREEN, BROWN, OLIVE = (200, 0, 0), (0, 200, 0), (150, 50, 0), (50, 150, 0)


def drawn(
    width: int, height: int, *blocks: tuple[int, int, int, int, tuple[int, int, int]]
) -> np.ndarray:
    """A green image with blocks (x0, y0, x1, y1, colour), corners inclusive."""
    image_HW3 = np.empty((height, width, 3), np.uint8)
    image_HW3[:] = GREEN
    for x0, y0, x1, y1, colour in blocks:
        image_HW3[y0 : y1 + 1, x0 : x1 + 1] = colour
    return image_HW3


def noisy(image_HW3: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 40, image_HW3.shape)
    return (image_HW3 + noise).clip(0, 255).astype(np.uint8)


def blob(width: int, height: int, x: float, y: float, size: float = 12) -> np.ndarray:
    """A round map with its peak at (x, y), float32 (height, width)."""
    ys, xs = np.mgrid[:height, :width]
    return np.exp(-((xs - x) ** 2 + (ys - y) ** 2) / (2 * size**2)).astype(np.float32)


def maps_of(image_HW3: np.ndarray, *maps_HW: np.ndarray) -> RankedMaps:
    height, width, _ = image_HW3.shape
    return RankedMaps(
        list(range(len(maps_HW))), np.stack(maps_HW), width, height, image_HW3=image_HW3
    )


# --- the box -------------------------------------------------------------------------------------


@pytest.mark.parametrize("finish", [np.ascontiguousarray, noisy], ids=["flat", "noisy"])
@pytest.mark.parametrize("iterations", [1, 3])
def test_the_object_is_found_from_a_blob_inside_it(finish, iterations):
    image_HW3 = finish(drawn(120, 90, (30, 20, 79, 59, RED)))
    m = blob(120, 90, 45, 35)
    # Seeds alone are far smaller than the object.
    assert np.argwhere(m > np.quantile(m, 0.95)).max(axis=0).tolist() < [59, 79]
    rule = GraphCut(iterations=iterations)
    assert rule(maps_of(image_HW3, m)) == [(0, (30, 20, 79, 59))]


def test_each_of_five_classes_has_its_own_box():
    image_HW3 = drawn(120, 90, (10, 20, 49, 59, RED), (70, 30, 109, 69, (0, 0, 200)))
    left, right = blob(120, 90, 25, 35), blob(120, 90, 85, 45)
    guesses = GraphCut()(maps_of(image_HW3, left, right, left, right, left, right))
    boxes = [(10, 20, 49, 59), (70, 30, 109, 69)] * 3
    assert guesses == list(enumerate(boxes[:5]))
    assert GraphCut()(maps_of(image_HW3, left, right).only(1)) == [(1, boxes[1])]


def test_the_largest_piece_wins_wherever_the_blob_is():
    image_HW3 = drawn(120, 90, (10, 5, 39, 34, RED), (50, 40, 109, 79, RED))
    m = np.zeros((90, 120), np.float32)
    m[40:80, 50:110] = 0.1  # undecided, but for its colour
    m[5:35, 10:40] = blob(120, 90, 25, 20)[5:35, 10:40]
    cut_HW = graph_cut(image_HW3, m)
    assert cut_HW.sum() == 30 * 30 + 60 * 40
    assert GraphCut()(maps_of(image_HW3, m)) == [(0, (50, 40, 109, 79))]


def test_a_larger_image_is_cut_small_and_its_box_scaled_back():
    image_HW3 = drawn(512, 256, (100, 60, 299, 199, RED))
    maps = maps_of(image_HW3, blob(512, 256, 180, 120, 40))
    # Edges on even pixels: at half the size the same object.
    assert GraphCut(max_side=None)(maps) == [(0, (100, 60, 299, 199))]
    assert GraphCut(max_side=256)(maps) == [(0, (100, 60, 299, 199))]
    # At an eighth a pixel is eight wide: 100/8 = 12.5 is the middle of one.
    [(_, box)] = GraphCut(max_side=64)(maps)
    assert box != (100, 60, 299, 199)
    assert np.abs(np.subtract(box, (100, 60, 299, 199))).max() <= 4
    assert [value % 8 for value in box] == [0, 0, 7, 7]


# --- the cut -------------------------------------------------------------------------------------

# Three steps: of 4,800 pixels the highest 300 hold the object's seeds, the lowest 2,900 the
# background's; between lie 1,600, where a block of another colour is to be decided.
STEPS = np.zeros((60, 80), np.float32)
STEPS[10:50, 30:70] = 1
STEPS[20:40, 15:30] = 2
STEPS += np.random.default_rng(0).random(STEPS.shape, np.float32) * 0.1


@pytest.mark.parametrize(("colour", "count"), [(BROWN, 900), (OLIVE, 300)])
def test_a_colour_that_no_seed_has_goes_to_the_nearer_one(colour, count):
    image_HW3 = drawn(80, 60, (15, 20, 29, 39, RED), (30, 20, 59, 39, colour))
    cut_HW = graph_cut(image_HW3, STEPS)
    assert cut_HW[20:40, 15:30].all()
    assert cut_HW.sum() == count


def test_colours_are_those_of_the_seeds_not_of_what_is_undecided():
    """OpenCV by itself would count a brown that is undecided as background's."""
    image_HW3 = noisy(drawn(80, 60, (15, 20, 29, 39, RED), (30, 20, 59, 39, BROWN)))
    cut_HW = graph_cut(image_HW3, STEPS)
    assert cut_HW.sum() == 900
    assert cut_HW[20:40, 15:60].all()
    labels_HW = np.full(STEPS.shape, cv2.GC_PR_BGD, np.uint8)
    labels_HW[np.quantile(STEPS, 0.95) < STEPS] = cv2.GC_FGD
    labels_HW[np.quantile(STEPS, 0.30) > STEPS] = cv2.GC_BGD
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(image_HW3, labels_HW, None, *models, 1, cv2.GC_INIT_WITH_MASK)
    assert not np.isin(labels_HW[25:35, 40:50], (cv2.GC_FGD, cv2.GC_PR_FGD)).any()


def test_seeds_keep_their_label():
    # The map is wrong: its peak lies on the green, and its foot on the red.
    image_HW3 = drawn(40, 40, (0, 0, 19, 39, RED))
    m = np.tile(np.arange(40, dtype=np.float32), (40, 1))
    cut_HW = graph_cut(image_HW3, m)
    assert cut_HW[:, 38:].all()
    assert not cut_HW[:, :12].any()
    assert cut_HW[:, 20:].all()  # the rest by its colour
    assert not cut_HW[:, :20].any()


def test_seeds_are_the_lowest_30_and_the_highest_5_percent():
    m = np.tile(np.arange(100, dtype=np.float32), (40, 1))
    # Red up to the border of the lower seeds, which are columns 0 to 28: under 29, the quantile.
    cut_HW = graph_cut(drawn(100, 40, (20, 0, 99, 39, RED)), m)
    assert not cut_HW[:, :29].any()
    assert cut_HW[:, 29:].all()
    # Green up to that of the upper ones, columns 95 to 99: over 94.
    cut_HW = graph_cut(drawn(100, 40, (98, 0, 99, 39, RED)), m)
    assert not cut_HW[:, :95].any()
    assert cut_HW[:, 95:].all()


def test_colours_are_fitted_anew_in_all_iterations_but_the_first(monkeypatch):
    calls = []
    grab_cut = cv2.grabCut

    def record(*words):
        calls.append(words[-2:])
        return grab_cut(*words)

    monkeypatch.setattr(cv2, "grabCut", record)
    image_HW3, m = colourful(0)
    once_HW, twice_HW = graph_cut(image_HW3, m), graph_cut(image_HW3, m, iterations=2)
    fit, cut = (0, cv2.GC_INIT_WITH_MASK), (1, cv2.GC_EVAL_FREEZE_MODEL)
    assert calls == [fit, cut, fit, cut, (1, cv2.GC_EVAL)]
    assert not np.array_equal(once_HW, twice_HW)


def test_seeds_where_many_pixels_share_the_lowest_or_the_highest_value():
    # No value is under the 30 % quantile or over the 95 % one: those at them are the seeds.
    image_HW3 = drawn(40, 40, (10, 10, 29, 29, RED))
    m = np.zeros((40, 40), np.float32)
    m[12:26, 12:26] = 1
    m[10:30, 10:30] += 1
    assert (m == 2).mean() > 0.05
    cut_HW = graph_cut(image_HW3, m)
    assert np.argwhere(cut_HW).min(axis=0).tolist() == [10, 10]
    assert np.argwhere(cut_HW).max(axis=0).tolist() == [29, 29]
    assert cut_HW.sum() == 400


def test_log_likelihood_of_a_mixture():
    model = np.zeros((1, 65))
    model[0, :2] = 0.25, 0.75  # the others have no weight
    model[0, 5:11] = 10, 20, 30, 100, 100, 100
    model[0, 20:29] = np.diag([4.0, 1, 1]).ravel()
    model[0, 29:38] = np.eye(3).ravel()
    colours_M3 = np.array([[10, 20, 30], [14, 20, 30], [100, 100, 103], [10, 1020, 30]], float)
    expected = [
        np.log(0.25) - np.log(2),
        np.log(0.25) - np.log(2) - 2,
        np.log(0.75) - 4.5,
        np.log(0.75) - 0.5 * (90**2 + 920**2 + 70**2),  # far from both, and no -inf
    ]
    assert _log_likelihood(model, colours_M3.T) == pytest.approx(expected)


# --- the same answer every time ------------------------------------------------------------------


def colourful(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """An image on which k-means ends differently for other first centres, and a map."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (12, 16, 3), np.uint8)
    image_HW3 = cv2.resize(small, (96, 72), interpolation=cv2.INTER_LINEAR)
    return noisy(image_HW3), cv2.resize(rng.random((6, 8), np.float32), (96, 72))


def test_the_cut_does_not_depend_on_what_ran_before_nor_on_the_thread(monkeypatch):
    cases = [colourful(seed) for seed in range(6)]
    cuts = [graph_cut(*case) for case in cases]
    assert all(0 < cut.mean() < 1 for cut in cuts)
    for case, cut in reversed(list(zip(cases, cuts, strict=True))):
        assert np.array_equal(graph_cut(*case), cut)
    with ThreadPoolExecutor(4) as threads:
        again = list(threads.map(lambda case: graph_cut(*case), cases * 4))
    for number, cut in enumerate(again):
        assert np.array_equal(cut, cuts[number % len(cuts)])
    # Were the generator not reset, the cuts would differ: otherwise the above says nothing.
    monkeypatch.setattr(cv2, "setRNGSeed", lambda seed: None)
    free = [graph_cut(*case) for case in cases * 3]
    assert any(not np.array_equal(cut, cuts[n % len(cuts)]) for n, cut in enumerate(free))


def test_pixels_are_not_written_to():
    image_HW3, m = colourful(0)
    before = image_HW3.copy(), m.copy()
    for array in (image_HW3, m):
        array.flags.writeable = False
    GraphCut()(maps_of(image_HW3, m))
    GraphCut()(maps_of(image_HW3[:, ::-1], m))
    assert np.array_equal(image_HW3, before[0])
    assert np.array_equal(m, before[1])


# --- maps and images with nothing to cut ---------------------------------------------------------

NOTHING = {
    "zeros": np.zeros((3, 4), np.float32),
    "constant": np.full((3, 4), 0.3, np.float32),
    "negative": np.arange(-12, 0, dtype=np.float32).reshape(3, 4),
    "nan": np.full((3, 4), np.nan, np.float32),
    "one nan": np.where(np.eye(3, 4, dtype=bool), np.float32(np.nan), np.float32(1)),
    "inf": np.where(np.eye(3, 4, dtype=bool), np.float32(np.inf), np.float32(1)),
}


@pytest.mark.parametrize("m", NOTHING.values(), ids=NOTHING.keys())
def test_nothing_to_cut_is_answered_by_the_whole_image(m):
    maps = RankedMaps([4], m[None], 40, 30, image_HW3=drawn(40, 30, (5, 5, 20, 20, RED)))
    assert GraphCut()(maps) == [(4, (0, 0, 39, 29))]


@settings(deadline=None)
@given(
    maps_Rhw=hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 2), st.integers(1, 6), st.integers(1, 6)),
        elements=st.floats(width=32) | st.sampled_from([0.0, 1e-45, 1.0, 2.0, 3.0]),
    ),
    width=st.integers(1, 24),
    height=st.integers(1, 24),
    side=st.none() | st.integers(1, 24),
    colours=st.integers(1, 256),
    iterations=st.integers(1, 3),
)
@example(np.eye(2, dtype=np.float32)[None], 2, 1, None, 1, 2)
@example(np.array([[[1, 0]]], np.float32), 2, 1, None, 256, 1)
@example(np.array([[[-np.inf, 1]]], np.float32), 24, 1, 5, 256, 3)
def test_any_map_and_image_give_boxes_inside_it(maps_Rhw, width, height, side, colours, iterations):
    image_HW3 = np.random.default_rng(width).integers(0, colours, (height, width, 3), np.uint8)
    maps = RankedMaps(list(range(len(maps_Rhw))), maps_Rhw, width, height, image_HW3=image_HW3)
    guesses = GraphCut(iterations, side)(maps)
    assert [class_index for class_index, _ in guesses] == maps.classes
    for _, (x0, y0, x1, y1) in guesses:
        assert 0 <= x0 <= x1 < width
        assert 0 <= y0 <= y1 < height


def test_without_the_image_there_is_no_box():
    assert GraphCut.needs_image
    assert GraphCut.needs_maps
    with pytest.raises(AssertionError, match="needs_image"):
        GraphCut()(RankedMaps([0], blob(20, 20, 9, 9)[None], 20, 20))
    with pytest.raises(AssertionError):
        GraphCut()(RankedMaps([0], blob(20, 20, 9, 9)[None], 20, 20, image_HW3=drawn(20, 19)))


# --- settings ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["iterations", "max_side"])
@pytest.mark.parametrize("value", [0, -1, 2.0, True, "5"])
def test_settings_are_positive_integers(name, value):
    with pytest.raises(UserError, match=rf"^{name}={value}: must be an integer of at least 1"):
        GraphCut(**{name: value})


def test_iterations_are_needed():
    with pytest.raises(UserError, match=r"^iterations=None: .* 1$"):
        GraphCut(iterations=None)


def test_settings_reach_the_rule_beside_others(compose_config):
    words = ["box=[threshold,graphcut,dt_box]", "box.graphcut.max_side=null"]
    rules = instantiate(validate(compose_config("eval", *words), EvalSettings).box)
    assert list(rules) == ["threshold", "graphcut", "dt_box"]
    assert rules["graphcut"].max_side is None
    assert rules["graphcut"].iterations == 1
