from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from cam_repro.classes import classes_of
from cam_repro.errors import UserError
from cam_repro.metrics.miou import MeanIou, Sweep, counts, ious
from cam_repro.runs.cues import Cues
from cam_repro.truth import LabelSets, Masks, RaggedBoxes, Truth


class Made(Masks):
    def __init__(self, masks):
        self.masks = [each and np.array(each, np.uint8) for each in masks]

    def of(self, index):
        return self.masks[index]


def truth_of(masks, n_classes=3):
    return Truth(
        ids=[f"i{i}" for i in range(len(masks))],
        labels_N=np.zeros(len(masks), np.int32),
        boxes=RaggedBoxes.none(len(masks)),
        classes=classes_of(f"c{i}" for i in range(n_classes)),
        masks=Made(masks),
    )


def cues_of(values, maps, cues_HW):
    return Cues(np.array(values), np.array(maps, np.float32), np.array(cues_HW, np.uint8))


def test_literal():
    """Two images of 2 x 4 pixels; classes 1 and 3 of three, with the background.

    Pixels in both / in cues / in masks: background 4 / 6 / 7, class 1 3 / 6 / 4, class 3 2 / 3 / 4;
    one pixel is ignored. Class 2 is nowhere.
    """
    masks = [[[1, 1, 0, 0], [1, 1, 0, 255]], [[3, 3, 0, 0], [3, 3, 0, 0]]]
    first = [[1, 1, 1, 255], [1, 255, 1, 1]]
    second = [[3, 1, 255, 255], [3, 255, 255, 3]]
    share = np.where(np.array(first) == 1, 1.0, 0.1)
    low = np.array([[1, 0.9, 0.1, 0.1], [0.8, 0.7, 0.1, 0.6]])
    given = [cues_of([1], [share], first), cues_of([1, 3], [np.zeros((2, 4)), low], second)]
    scored = MeanIou().score(truth_of(masks), given)
    numbers = scored.numbers
    assert numbers["iou"] == {
        "background": pytest.approx(100 * 4 / 9),
        "c0": pytest.approx(100 * 3 / 7),
        "c2": pytest.approx(100 * 2 / 5),
    }
    assert numbers["n_without_pixels"] == 1
    assert numbers["n_images"] == 2
    assert numbers["miou"] == pytest.approx(sum(numbers["iou"].values()) / 3)
    # From 0.6 to 0.69 class 3 is right: 4 / 4. Class 1 has 3 / 6 then, the background 5 / 8.
    assert numbers["oracle_threshold"] == 0.6
    assert numbers["oracle"] == pytest.approx(100 * (5 / 8 + 3 / 6 + 1) / 3)
    # A draw has one image twice, or both: the first alone (1 / 4 + 3 / 6) / 2, the second alone
    # (3 / 5 + 0 + 2 / 5) / 3, which is the lowest; both are the highest.
    assert numbers["miou_95"] == pytest.approx([100 / 3, numbers["miou"]])
    assert scored.thresholds_are == {
        **{"miou": "fixed", "iou": "fixed"},
        **{"oracle": "oracle", "oracle_threshold": "oracle"},
    }
    assert max(map(len, scored.lines)) <= 100


def test_agrees_with_a_confusion_matrix_of_scikit_learn():
    """On 2,000 made sets of one to three images, with ignored pixels."""
    rng = np.random.default_rng(0)
    for _ in range(2000):
        shape = (rng.integers(1, 4), *rng.integers(1, 6, 2))
        mask_NHW = rng.choice([0, 1, 2, 3, 255], shape)
        cues_NHW = rng.choice([0, 1, 2, 3], shape)
        found = sum(counts(c, m, 4) for c, m in zip(cues_NHW, mask_NHW, strict=True))
        kept = mask_NHW != 255
        if not kept.any():
            continue
        matrix = confusion_matrix(mask_NHW[kept], cues_NHW[kept], labels=range(4))
        union = matrix.sum(0) + matrix.sum(1) - matrix.diagonal()
        with np.errstate(invalid="ignore"):
            np.testing.assert_array_equal(ious(found), matrix.diagonal() / union)


def test_the_sweep_agrees_with_trying_each_threshold():
    rng = np.random.default_rng(1)
    for _ in range(20):
        sweep, images = Sweep(5), []
        for _ in range(3):
            height, width = rng.integers(2, 7, 2)
            values = np.sort(rng.choice(4, rng.integers(1, 4), replace=False)) + 1
            maps = rng.integers(-3, 21, (len(values), height, width)) / 20  # on thresholds, too
            mask_HW = rng.choice([0, 1, 2, 3, 4, 255], (height, width)).astype(np.uint8)
            sweep.add(Cues(values, maps.astype(np.float32), mask_HW), mask_HW)
            images.append((values, maps.astype(np.float32), mask_HW))
        for step, threshold in enumerate((np.arange(100) / 100).astype(np.float32)):
            total = 0
            for values, maps, mask_HW in images:
                peaks = maps.max(axis=(1, 2), keepdims=True)
                shares = np.where(peaks > 0, maps / np.where(peaks > 0, peaks, 1), 0)
                is_cued = shares.max(axis=0) > threshold
                guess_HW = np.where(is_cued, values[shares.argmax(axis=0)], 0)
                total = total + counts(guess_HW, mask_HW, 5)
            assert sweep.miou()[step] == np.nanmean(ious(total))


def test_an_image_without_a_mask_is_left_out_and_one_that_it_ignores_adds_nothing():
    masks = [[[1, 0]], [[255, 255]], None]
    cues = cues_of([1], [[[1, 0]]], [[1, 255]])
    numbers = MeanIou().score(truth_of(masks), [cues] * 3).numbers
    assert (numbers["miou"], numbers["miou_95"]) == (100, [100, 100])
    assert (numbers["n_images"], numbers["n_without_mask"]) == (2, 1)


def test_cues_that_are_the_masks_have_100():
    mask_HW = np.kron([[1, 0], [0, 2]], np.ones((8, 8))).astype(np.uint8)
    maps = np.stack([mask_HW == 1, mask_HW == 2]).astype(np.float32)
    cues = Cues(np.array([1, 2]), maps, np.where(mask_HW, mask_HW, 255).astype(np.uint8))
    numbers = MeanIou().score(truth_of([mask_HW.tolist()]), [cues]).numbers
    assert (numbers["miou"], numbers["miou_95"], numbers["oracle"]) == (100, [100, 100], 100)
    assert numbers["oracle_threshold"] == 0


def test_what_cannot_be_scored_is_refused():
    whole = cues_of([1], [[[1, 1]]], [[1, 1]])
    truth = truth_of([[[1, 1]]])
    for changed, cues, message in (
        (replace(truth, masks=None), whole, "the ground truth has no masks, which miou needs"),
        (truth_of([[[1], [1]]]), whole, "i0: its cues are 2x1, its mask 1x2"),
        (truth_of([[[1, 4]]]), whole, "i0: its mask have the value 4, and the data set has 3"),
        (truth, cues_of([9], [[[1, 1]]], [[1, 1]]), "i0: its classes have the value 9"),
        (truth_of([[[255, 255]]]), whole, "no pixel to score: the masks ignore all"),
    ):
        with pytest.raises(UserError, match=message):
            MeanIou().score(changed, [cues])
    with pytest.raises(UserError, match="no image to score: no image with cues has a mask"):
        MeanIou().score(truth_of([]), [])


def test_all_classes_are_the_labels_where_no_sets_are_known():
    truth = replace(truth_of([[[0]]] * 3), labels_N=np.array([2, -1, 0]))
    assert [truth.all_classes.of(i).tolist() for i in range(3)] == [[2], [], [0]]
    sets = LabelSets.from_lists([[2, 1], [0], [0]])
    assert replace(truth, label_sets=sets).all_classes is sets
