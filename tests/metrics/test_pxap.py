import json
from itertools import groupby
from pathlib import Path

import cv2
import numpy as np
import pytest

from cam_repro.errors import UserError
from cam_repro.formats.wsol_metadata import read_metadata
from cam_repro.metrics.pxap import (
    EDGES_B,
    Pxap,
    PxapAccumulator,
    average_precision,
    counts_at_steps,
    steps,
)
from cam_repro.truth import IGNORED, Masks, RaggedBoxes, Truth

FIXTURE = Path(__file__).parents[1] / "fixtures" / "pxap"


class Given(Masks):
    def __init__(self, masks):
        self.masks = masks

    def of(self, index):
        mask = self.masks[index]
        return None if mask is None else np.asarray(mask, np.uint8)


def truth_with(masks, labels=None):
    n = len(masks)
    return Truth(
        ids=[f"i{i}" for i in range(n)],
        labels_N=np.zeros(n, int) if labels is None else np.array(labels),
        boxes=RaggedBoxes.none(n),
        masks=Given(masks),
    )


def second_coding(maps, masks, labels):
    """The definition pixel by pixel: rank all of them, walk down the distinct steps."""
    scored = []
    for map_hw, mask_HW, label in zip(maps, masks, labels, strict=True):
        score_HW = cv2.resize(map_hw.astype(float), (224, 224), interpolation=cv2.INTER_CUBIC)
        if not np.isfinite(score_HW).all() or np.ptp(score_HW) == 0:
            score_HW = np.zeros((224, 224))
        else:
            score_HW = score_HW - score_HW.min()
            score_HW = score_HW / score_HW.max()
        mask_HW = cv2.resize(mask_HW, (224, 224), interpolation=cv2.INTER_NEAREST)
        steps_HW = np.searchsorted(EDGES_B, score_HW, "right")
        for step, value in zip(steps_HW.ravel().tolist(), mask_HW.ravel().tolist(), strict=True):
            if value != 255:
                scored.append((step, value == label + 1))
    scored.sort(key=lambda pair: -pair[0])
    n_objects = sum(is_object for _, is_object in scored)
    area = true = seen = 0
    for _, pairs in groupby(scored, key=lambda pair: pair[0]):
        of_step = [is_object for _, is_object in pairs]
        seen += len(of_step)
        true += sum(of_step)
        area += true / seen * sum(of_step) / n_objects
    return 100 * area


def random_case(rng, n):
    labels = rng.integers(0, 3, n).tolist()
    shapes = [rng.integers(1, 9, 2) for _ in range(n)]
    masks = [rng.choice([0, 1, 2, 3, 255], shape).astype(np.uint8) for shape in shapes]
    masks[0][0, 0] = labels[0] + 1  # something to find
    maps = [rng.normal(size=rng.integers(1, 6, 2)) for _ in range(n)]
    return maps, masks, labels


def test_equals_the_authors_program():
    truth = read_metadata(FIXTURE / "metadata", FIXTURE)
    expected = json.loads((FIXTURE / "expected.json").read_text())["pxap"]
    numbers = Pxap().score(truth, np.load(FIXTURE / "cams_14x14.npy")).numbers
    assert numbers["pxap"] == pytest.approx(expected, abs=1e-9)
    assert numbers["n_images"] == 40
    low, high = numbers["pxap_95"]
    assert 70 < low < expected < high < 95


@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_a_second_coding(seed):
    maps, masks, labels = random_case(np.random.default_rng(seed), 3)
    if seed == 1:
        maps[1][:] = 4  # constant
    if seed == 2:
        maps[0][0, 0] = np.nan
    found = Pxap().score(truth_with(masks, labels), maps).numbers["pxap"]
    assert found == pytest.approx(second_coding(maps, masks, labels), abs=1e-9)


def test_steps_are_exact_at_and_beside_every_edge():
    values = np.concatenate([EDGES_B, np.nextafter(EDGES_B, 0), np.nextafter(EDGES_B[:-1], 1)])
    values = np.concatenate([values, np.random.default_rng(0).random(100_000)])
    expected = np.searchsorted(EDGES_B, values, "right") - 1
    assert (steps(values) == expected).all()
    assert EDGES_B.tolist() == [*np.arange(0, 1, 0.001).tolist(), 1.0]


def test_literal():
    """From the top: one of the object; then one of each; then one of all else: 1/2 + 2/3 / 2."""
    counts_B2 = np.array([[1, 0], [1, 1], [0, 1]])
    assert average_precision(counts_B2[None])[0] == pytest.approx(100 * (1 / 2 + 2 / 3 / 2))


def test_known_answers():
    """The mask itself finds all first; its opposite last; a constant map has the mask's share."""
    mask_HW = np.zeros((224, 224), np.uint8)
    mask_HW[:112, :112] = 1
    scores = {}
    for name, map_HW in (("mask", mask_HW), ("opposite", 1 - mask_HW), ("flat", 0 * mask_HW)):
        scores[name] = Pxap().score(truth_with([mask_HW]), [map_HW.astype(float)]).numbers
    assert scores["mask"]["pxap"] == 100
    assert scores["opposite"]["pxap"] == pytest.approx(25)
    assert scores["flat"]["pxap"] == pytest.approx(25) == scores["flat"]["objects_cover"]


def test_ignored_pixels_do_not_count_and_other_classes_are_background():
    mask_HW = np.zeros((224, 224), np.uint8)
    mask_HW[:56] = 1
    map_HW = np.zeros((224, 224))
    map_HW[:112] = 1  # twice the object
    assert Pxap().score(truth_with([mask_HW]), [map_HW]).numbers["pxap"] == pytest.approx(50)
    mask_HW[56:112] = IGNORED
    assert Pxap().score(truth_with([mask_HW]), [map_HW]).numbers["pxap"] == 100
    mask_HW[56:112] = 9  # of class 8
    assert Pxap().score(truth_with([mask_HW]), [map_HW]).numbers["pxap"] == pytest.approx(50)


def test_masks_without_an_object_are_counted():
    masks = [None, [[1, 0]], [[0, 0]], [[2, 255]]]
    scored = Pxap().score(truth_with(masks), [np.eye(2)] * 4)
    assert (scored.numbers["n_images"], scored.numbers["n_without_mask"]) == (3, 1)
    assert scored.numbers["n_without_object"] == 2
    assert scored.lines[-1] == (
        "1 images have no mask and are left out; 2 masks have no pixel of their image's class"
    )


def test_the_interval_is_a_bootstrap_over_images():
    """Half of the maps are right and half have nothing: draws of 40 differ as draws do."""
    mask_HW = np.zeros((8, 8), np.uint8)
    mask_HW[:4] = 1
    maps = [mask_HW.astype(float) if i % 2 else 1.0 - mask_HW for i in range(40)]
    numbers = Pxap().score(truth_with([mask_HW] * 40), maps).numbers
    # With a share p of maps right: precision p at recall p, then 1/2 at recall 1.
    by_share = {p: 100 * (p * p + (1 - p) / 2) for p in (0.35, 0.5, 0.65)}
    assert numbers["pxap"] == pytest.approx(by_share[0.5], abs=1)
    assert numbers["pxap_95"] == pytest.approx([by_share[0.35], by_share[0.65]], abs=3)


def test_memory_does_not_grow_with_the_images():
    accumulator = PxapAccumulator()
    size = accumulator._counts_GB2.nbytes
    for _ in range(150):
        accumulator.add(counts_at_steps(np.eye(3), np.eye(3, dtype=np.uint8), 0))
    assert accumulator._counts_GB2.nbytes == size < 2e6
    low, high = accumulator.interval()
    assert low == pytest.approx(accumulator.result()[0]) == pytest.approx(high)


@pytest.mark.parametrize(
    ("truth", "maps", "message"),
    [
        (Truth(ids=["a"], labels_N=np.zeros(1, int), boxes=RaggedBoxes.none(1)), [np.eye(2)],
         "which pixels are of the object, which pxap needs: give masks=DIR"),
        (truth_with([np.ones((2, 2))], [-1]), [np.eye(2)], "which pixels are of the object"),
        (truth_with([]), [], "no image to score"),
        (truth_with([np.zeros((2, 2))]), [np.eye(2)], "no pixel to find"),
    ],
)  # fmt: skip
def test_what_cannot_be_scored_is_refused(truth, maps, message):
    with pytest.raises(UserError, match=message):
        Pxap().score(truth, maps)
