"""Whether two truths are of the same images."""

import numpy as np

from cam_repro.runs.same_images import images_of, images_sha256
from cam_repro.truth import RaggedBoxes, Truth


def truth_of(ids, sizes=None):
    n = len(ids)
    sizes_N2 = None if sizes is None else np.array(sizes, np.int32)
    return Truth(ids=ids, labels_N=np.zeros(n, int), boxes=RaggedBoxes.none(n), sizes_N2=sizes_N2)


def test_images_are_their_names_and_sizes():
    sizes = [(50, 40), (30, 20)]
    truth = truth_of(["val/b.JPEG", "val/a.JPEG"], sizes)
    assert images_of(truth) == ["a 30x20", "b 50x40"]
    assert images_of(truth_of(["b", "a"])) == ["a", "b"]
    assert images_sha256(truth) == images_sha256(truth_of(["a", "b"], sizes[::-1]))
    assert images_sha256(truth_of(["a"], sizes[1:])) == ["6ef1b4b50539"]
    assert not set(images_sha256(truth)) & set(images_sha256(truth_of(["a", "b"], sizes)))
    part = images_sha256(truth_of(["b"], sizes[:1]))
    assert set(part) < set(images_sha256(truth))


def test_names_that_repeat_keep_their_folder():
    assert images_of(truth_of(["cat/1.png", "dog/1.png"])) == ["cat/1.png", "dog/1.png"]
