import numpy as np
import pytest
from colour_net import ColourNet

from cam_repro.errors import UserError
from cam_repro.quality.average_drop import AverageDrop
from cam_repro.quality.base import ExplainedImages
from cam_repro.quality.changed import baseline_of, first_pixels, mixed
from cam_repro.quality.deletion import Deletion
from cam_repro.quality.insertion import Insertion

MAP = np.array([[3, 1, 1], [2, 5, 0]], np.float32)


def test_the_order_of_pixels_literal():
    """5, 3, 2, then the first 1 in reading order."""
    marked = first_pixels(MAP, 3).astype(int)
    assert marked.tolist() == [
        [[0, 0, 0], [0, 0, 0]],
        [[1, 0, 0], [0, 1, 0]],
        [[1, 1, 0], [1, 1, 0]],
        [[1, 1, 1], [1, 1, 1]],
    ]
    assert (Insertion(steps=3).kept(MAP) == marked).all()
    assert (Deletion(steps=3).kept(MAP) == 1 - marked).all()


def second_coding(rows, steps):
    """As the definition reads: sort pixels, mark the first of them, step by step."""
    pixels = [(-value, y, x) for y, row in enumerate(rows) for x, value in enumerate(row)]
    order = [(y, x) for _, y, x in sorted(pixels)]
    for k in range(steps + 1):
        marked = {*order[: round(k * len(order) / steps)]}
        yield [[(y, x) in marked for x in range(len(row))] for y, row in enumerate(rows)]


def test_the_order_agrees_with_a_second_coding():
    rng = np.random.default_rng(0)
    for _ in range(1000):
        map_HW = rng.integers(-2, 3, rng.integers(1, 7, 2)).astype(np.float32)
        steps = int(rng.integers(1, 9))
        assert first_pixels(map_HW, steps).tolist() == [*second_coding(map_HW.tolist(), steps)]


def test_average_drop_keeps_the_share_that_the_map_says():
    kept = AverageDrop().kept(np.array([[4, 1], [-3, 2]], np.float32))
    assert kept.tolist() == [[[1, 1], [1, 1]], [[1, 0.25], [0, 0.5]]]
    nothing = AverageDrop().kept(np.array([[-1, -2]], np.float32))
    assert nothing.tolist() == [[[1, 1]], [[0, 0]]]
    assert AverageDrop().kept(np.array([[0, 0]], np.float32))[1].tolist() == [[0, 0]]


def test_mixing_literal():
    crop = np.array([[[200, 0, 10], [100, 50, 30]]], np.uint8)
    baseline = np.array([[[100, 100, 11], [0, 0, 0]]], np.uint8)
    kept = np.array([[[1, 0]], [[0.5, 0.25]]], np.float32)
    assert mixed(crop, baseline, kept).tolist() == [
        [[[200, 0, 10], [0, 0, 0]]],
        [[[150, 50, 10], [25, 12, 8]]],  # 10.5, 12.5 and 7.5 to the even
    ]
    assert (mixed(crop, baseline, kept[:1] > 0)[0] == [[crop[0, 0], baseline[0, 1]]]).all()


def test_baselines():
    network = ColourNet()
    network.pixel_mean.copy_(network.pixel_mean.new_tensor([0.5, 0.2, 1]).view(3, 1, 1))
    crop = np.random.default_rng(0).integers(0, 256, (30, 40, 3)).astype(np.uint8)
    assert (baseline_of(crop, "black", network) == 0).all()
    mean = baseline_of(crop, "mean", network)
    assert mean.shape == crop.shape
    assert (mean == [128, 51, 255]).all()
    weights = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 5.0**2))
    kernel = np.outer(weights, weights) / weights.sum() ** 2
    expected = (crop[10:21, 12:23].astype(float) * kernel[..., None]).sum((0, 1))
    blurred = baseline_of(crop, "blur", network)
    assert np.abs(blurred[15, 17] - expected).max() <= 1


def test_each_image_is_asked_about_with_its_own_class_and_map():
    """The probability is that of the red of the image's first pixel, in the class's hundreds."""
    crops = np.zeros((2, 2, 3, 3), np.uint8)
    crops[..., 0] = [[[10]], [[20]]]
    batch = ExplainedImages(
        network=ColourNet(),
        crops_NHW3=crops,
        classes_N=np.array([1, 2]),
        maps_Nhw=np.stack([MAP, -MAP]),
        probabilities=lambda images, index: 100 * index + images[:, 0, 0, 0].astype(np.float32),
        maps_by=lambda network: pytest.fail("not asked for"),
    )
    answers = Deletion(steps=3, baseline="black").answers(batch)
    # 3 is the second largest of MAP, and the second smallest of its opposite.
    assert answers.tolist() == [[110, 100, 100, 100], [220, 220, 220, 200]]
    assert Deletion(steps=3).labels(batch.network) == ["0", "0.3333", "0.6667", "1"]


@pytest.mark.parametrize("measure", [Insertion, Deletion, AverageDrop])
def test_mistakes(measure):
    with pytest.raises(UserError, match=r"baseline=grey: choose one of black, mean, blur"):
        measure(baseline="grey")
    with pytest.raises(UserError, match=r"images=0: must be a whole number, 1 or more"):
        measure(images=0)
    if measure is not AverageDrop:
        with pytest.raises(UserError, match=r"steps=1.5: must be a whole number"):
            measure(steps=1.5)
