"""Truths that the tests of protocols of maps share."""

import numpy as np
import pytest

from cam_repro.truth import RaggedBoxes, Truth


@pytest.fixture
def truth_of():
    """Makes a truth from (width, height) and a list of boxes for each image."""

    def make(sizes, boxes):
        return Truth(
            ids=[f"i{i}" for i in range(len(sizes))],
            labels_N=np.zeros(len(sizes), int),
            boxes=RaggedBoxes.from_lists(boxes),
            sizes_N2=np.array(sizes, np.int32).reshape(-1, 2),
        )

    return make
