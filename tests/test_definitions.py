"""The official metric and the paper's box rules coded a second time, as their definitions read.

Plain Python without arrays, slow and easy to check by eye; equal on a million random guesses and on
thousands of maps.
"""

from collections import deque

import numpy as np

from cam_repro.boxes.base import RankedMaps
from cam_repro.boxes.heuristic import HeuristicBoxes
from cam_repro.boxes.threshold import ThresholdBox
from cam_repro.metrics.official import errors, hits
from cam_repro.truth import RaggedBoxes, Truth

# --- the official metric: eval_clsloc.m of the development kit


def overlap_by_half(guess, true):
    """Whether intersection over union is 1/2 or more; both corners belong to a box."""
    width = min(guess[2], true[2]) - max(guess[0], true[0]) + 1
    height = min(guess[3], true[3]) - max(guess[1], true[1]) + 1
    if width <= 0 or height <= 0:
        return False
    areas = [(box[2] - box[0] + 1) * (box[3] - box[1] + 1) for box in (guess, true)]
    return 2 * width * height >= sum(areas) - width * height  # whole numbers, so exactly


def error_of(images, k, blacklisted):
    """Percent of images without a right guess among the first k: by label, and by box too."""
    wrong_class = wrong_box = counted = 0
    for number, (label, true_boxes, guesses) in enumerate(images):
        named = [box for guess, box in guesses[:k] if guess == label]
        wrong_class += not named
        if number in blacklisted:
            continue
        counted += 1
        wrong_box += not any(overlap_by_half(box, true) for box in named for true in true_boxes)
    return 100 * wrong_class / len(images), 100 * wrong_box / counted


def test_errors_of_a_million_guesses():
    """Boxes on a small grid: an overlap of exactly a half is common."""
    rng = np.random.default_rng(0)
    n = 200_000
    labels_N = rng.integers(0, 3, n)
    guessed_N5 = rng.integers(0, 3, (n, 5))
    corners_N522 = rng.integers(0, 6, (n, 5, 2, 2))
    boxes_N54 = np.concatenate([corners_N522.min(2), corners_N522.max(2)], axis=-1)
    counts_N = rng.integers(0, 3, n)
    true_T22 = rng.integers(0, 6, (counts_N.sum(), 2, 2))
    true_T4 = np.concatenate([true_T22.min(1), true_T22.max(1)], axis=-1)
    offsets = np.concatenate([[0], counts_N.cumsum()])
    blacklisted_N = rng.random(n) < 0.03

    truth = Truth(ids=[*map(str, range(n))], labels_N=labels_N, boxes=RaggedBoxes(true_T4, offsets))
    found = errors(*hits(truth, guessed_N5, boxes_N54), blacklisted_N)

    true = true_T4.tolist()
    images = [
        (label, true[start:end], [*zip(guesses, boxes, strict=True)])
        for label, start, end, guesses, boxes in zip(
            *(labels_N.tolist(), offsets[:-1].tolist(), offsets[1:].tolist()),
            *(guessed_N5.tolist(), boxes_N54.tolist()),
            strict=True,
        )
    ]
    blacklisted = {*np.flatnonzero(blacklisted_N).tolist()}
    for k in (1, 5):
        row = found[k - 1]
        assert (row.cls_error, row.clsloc_error) == error_of(images, k, blacklisted)


# --- the paper's boxes: section 3.2


def largest_piece(rows, threshold):
    """Box of the largest connected piece above a share of the maximum; of equal ones the first."""
    peak = max(map(max, rows))
    if peak <= 0:
        return (0, 0, len(rows[0]) - 1, len(rows) - 1)
    left = {
        (y, x)
        for y, row in enumerate(rows)
        for x, value in enumerate(row)
        if value > threshold * peak
    }
    best = []
    for y in range(len(rows)):
        for x in range(len(rows[0])):
            if (y, x) not in left:
                continue
            left.remove((y, x))
            piece, edge = [(y, x)], deque([(y, x)])
            while edge:
                cy, cx = edge.popleft()
                for near in [(cy + dy, cx + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]:
                    if near in left:
                        left.remove(near)
                        piece.append(near)
                        edge.append(near)
            if len(piece) > len(best):
                best = piece
    ys, xs = zip(*best, strict=True)
    return (min(xs), min(ys), max(xs), max(ys))


def test_boxes_of_thousands_of_maps():
    """Few levels, so that pieces touch in corners, have holes, and are of equal size."""
    rng = np.random.default_rng(1)
    plain, heuristic = ThresholdBox(0.25), HeuristicBoxes(loose=0.25, tight=0.5)
    for _ in range(700):
        h, w = rng.integers(1, 13, 2).tolist()
        stack = rng.integers(-1, rng.integers(1, 5), (5, h, w)).astype(np.float32)
        maps = RankedMaps([7, 3, 9, 1, 5], stack, w, h)
        loose = [largest_piece(rows, 0.25) for rows in stack.tolist()]
        tight = [largest_piece(rows, 0.5) for rows in stack.tolist()]
        assert plain(maps) == [*zip(maps.classes, loose, strict=True)]
        assert heuristic(maps) == [
            *((7, loose[0]), (7, tight[0]), (3, loose[1]), (3, tight[1]), (9, loose[2]))
        ]
