import numpy as np
import pytest

from cam_repro.boxes.cues import CueRule, share_of_maximum
from cam_repro.errors import UserError

VALUES = np.array([3, 8])
MAPS = np.array(
    [
        [[10, 4, 2, 0], [9, 4, 0, -5]],  # above 20 %: five pixels, of which 2 is not one
        [[1, 3, 4, 0], [0, 5, 0, 0]],  # all of 1, 3, 4, 5 but for the 1: three
    ],
    np.float32,
)


def test_cues_literal():
    """Both are above 20 % in two pixels: the second class has fewer pixels; the first is higher in
    neither (4 / 10 < 3 / 5, 4 / 10 < 5 / 5)."""
    assert CueRule()(VALUES, MAPS).tolist() == [[3, 8, 8, 255], [3, 8, 255, 255]]
    maps = MAPS.copy()
    maps[0, 0, 1] = 9  # 9 / 10 > 3 / 5
    assert CueRule()(VALUES, maps).tolist() == [[3, 8, 8, 255], [3, 8, 255, 255]]
    highest = CueRule(conflicts="highest")(VALUES, maps)
    assert (highest.dtype, highest.tolist()) == (np.uint8, [[3, 3, 8, 255], [3, 8, 255, 255]])


def test_the_threshold_itself_is_no_cue():
    maps = np.array([[[10, 5, 5.001, 4]]], np.float32)
    assert CueRule(0.5)(VALUES[:1], maps).tolist() == [[3, 255, 3, 255]]
    assert CueRule(0.0)(VALUES[:1], np.array([[[2.0, 0, -1]]])).tolist() == [[3, 255, 255]]


def test_of_equal_areas_the_first_class_keeps_the_pixel():
    maps = np.array([[[1, 1, 0]], [[0, 1, 1]]], np.float32)
    assert CueRule()(VALUES, maps).tolist() == [[3, 3, 8]]


@pytest.mark.parametrize("value", [0, -2])
def test_a_map_that_is_nowhere_over_0_makes_no_cue(value):
    maps = np.stack([np.full((2, 2), value, np.float32), np.eye(2, dtype=np.float32)])
    assert not share_of_maximum(maps[0]).any()
    for conflicts in ("smallest", "highest"):
        cues_HW = CueRule(conflicts=conflicts)(VALUES, maps)
        assert cues_HW.tolist() == [[8, 255], [255, 8]]


def second_coding(values, maps, threshold, conflicts):
    """The definition as it reads, pixel by pixel."""
    height, width = len(maps[0]), len(maps[0][0])
    peaks = [max(max(row) for row in map_HW) for map_HW in maps]
    share = [
        [[value / peak if peak > 0 else 0 for value in row] for row in map_HW]
        for map_HW, peak in zip(maps, peaks, strict=True)
    ]
    areas = [sum(value > threshold for row in of_class for value in row) for of_class in share]
    cues = []
    for y in range(height):
        for x in range(width):
            there = [r for r in range(len(values)) if share[r][y][x] > threshold]
            order = areas if conflicts == "smallest" else [-of_class[y][x] for of_class in share]
            cues.append(values[min(there, key=order.__getitem__)] if there else 255)
    return cues


def test_agrees_with_a_second_coding_on_thousands_of_maps():
    rng = np.random.default_rng(0)
    for number in range(3000):
        n, height, width = rng.integers(1, 5, 3)
        values = np.sort(rng.choice(20, n, replace=False)) + 1
        maps = rng.integers(-2, 6, (n, height, width)).astype(np.float64)
        threshold, conflicts = (0.2, 0.25, 0.5)[number % 3], ("smallest", "highest")[number % 2]
        expected = second_coding(values.tolist(), maps.tolist(), threshold, conflicts)
        assert CueRule(threshold, conflicts)(values, maps).ravel().tolist() == expected


def test_settings_are_checked():
    with pytest.raises(UserError, match=r"cues.threshold=1: must be a share of the map's maximum"):
        CueRule(1)
    with pytest.raises(UserError, match=r"cues.conflicts=largest: choose one of smallest, highest"):
        CueRule(conflicts="largest")
