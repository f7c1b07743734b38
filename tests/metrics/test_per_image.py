import numpy as np

from cam_repro.metrics.per_image import rows_of_images
from cam_repro.runs.guesses import Guesses
from cam_repro.truth import RaggedBoxes, Truth

NONE = [-1] * 4


def test_literal_rows():
    truth = Truth(
        ids=["a", "b", "c", "d"],
        labels_N=np.array([7, 7, 7, -1]),
        boxes=RaggedBoxes.from_lists([[[0, 0, 9, 9], [10, 0, 19, 9]], [[0, 0, 9, 9]], [], []]),
        blacklisted_N=np.array([False, True, False, False]),
    )
    # a: first right class, IoU 0.3 with one true box, at the second guess 1 with the other; b: the
    # right class second, box of IoU 0.5; c: no true box; d: neither a label nor a guess.
    labels_N5 = np.array([[7, 7, 1, -1, -1], [1, 7, -1, -1, -1], [7, -1, -1, -1, -1], [-1] * 5])
    boxes_N54 = np.array(
        [
            [[0, 0, 2, 9], [10, 0, 19, 9], [0, 0, 9, 9], NONE, NONE],
            [[0, 0, 9, 9], [0, 0, 9, 4], NONE, NONE, NONE],
            [[0, 0, 9, 9], NONE, NONE, NONE, NONE],
            [NONE] * 5,
        ]
    )
    known_N4 = np.array([[0, 0, 6, 9], [0, 0, 9, 9], [0, 0, 1, 1], NONE])
    of_run, of_file = (
        Guesses(labels_N5, boxes_N54, known_N4, is_of_file=is_of_file)
        for is_of_file in (False, True)
    )
    of_images = {
        "id": ["a", "b", "c", "d"],
        "label": [7, 7, 7, None],
        "top1": [7, 1, 7, None],
        "place": [1, 2, 1, None],
        "true_boxes": [2, 1, 0, 0],
        "blacklisted": [0, 1, 0, 0],
    }
    first, right = [0.3, 1.0, 0.0, None], [1.0, 0.5, 0.0, None]
    assert rows_of_images(truth, labels_N5, {"box": of_run}) == {
        **of_images,
        "box/first_iou": first,
        "box/right_iou": right,
        "box/known_iou": [0.7, 1.0, 0.0, None],
    }
    assert rows_of_images(truth, labels_N5, {"": of_file}) == {
        **of_images,
        "first_iou": first,
        "right_iou": right,
    }
