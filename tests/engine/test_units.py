"""Which units are a class's own, in which images they are most active, and where in these."""

import numpy as np
import pytest
import torch
from colour_net import BLUE, GREEN, RED, ColourNet, blocks

from cam_repro.data.settings import LoaderSettings
from cam_repro.data.views import Squash
from cam_repro.engine.compute import Compute
from cam_repro.engine.units import maps_of_split, most_active, region_of, units_of_class
from cam_repro.errors import UserError

COMPUTE = Compute(torch.device("cpu"), memory_format=torch.contiguous_format)


def maps(*values):
    """A batch of images of one unit, each with a map of 1 x 2 places."""
    return torch.tensor(values).reshape(-1, 1, 1, 2)


def test_the_units_of_the_largest_weights_without_those_that_speak_against_the_class():
    w_CK = torch.tensor([[0.0, 9.0, 9.0, 9.0], [0.5, -2.0, 0.75, 0.5]])
    assert units_of_class(w_CK, 1, 2) == [(2, 0.75), (0, 0.5)]  # of equal ones the lower number
    assert units_of_class(w_CK, 1, 4) == [(2, 0.75), (0, 0.5), (3, 0.5)]
    assert units_of_class(-w_CK.abs(), 1, 4) == []


def test_the_images_of_the_highest_maximum_over_all_batches():
    batches = [([0, 1, 2], maps([1.0, 2], [5, 0], [0, 0])), ([3, 4], maps([3.0, 1], [0, 7]))]
    found, n_images = most_active(batches, [0], 3)
    assert n_images == 5
    assert [(one.index, one.maximum, one.mean) for one in found[0]] == [
        (4, 7.0, 3.5),
        (1, 5.0, 2.5),
        (3, 3.0, 2.0),
    ]
    assert [one.map_hw.tolist() for one in found[0]] == [[[0, 7]], [[5, 0]], [[3, 1]]]


def test_of_equal_maxima_the_higher_mean_counts_and_then_the_order_of_the_split():
    """As with ReLU6, where the maximum of very many images is 6."""
    batches = [([0, 1], maps([6.0, 0], [6, 3])), ([2, 3], maps([6.0, 4], [6, 3]))]
    found, _ = most_active(batches, [0], 3)
    assert [one.index for one in found[0]] == [2, 1, 3]


def test_an_image_in_which_a_unit_is_nowhere_above_0_is_none_of_its_images():
    found, n_images = most_active([([0, 1], maps([0.0, -1], [-1, -1]))], [0], 3)
    assert (found, n_images) == ({0: []}, 2)


def test_only_the_maps_of_the_best_images_stay_in_memory():
    A_NKhw = torch.rand(8, 4, 3, 3)
    found, _ = most_active([(list(range(8)), A_NKhw)], [1, 3], 2)
    kept = [one.map_hw for images in found.values() for one in images]
    assert len(kept) == 4
    assert all(map_hw.base is None and map_hw.nbytes == 36 for map_hw in kept)


def test_a_region_is_what_is_connected_with_the_maximum():
    """The right part is above half of the maximum too, but apart from it."""
    map_HW = np.array([[1, 0, 0, 6, 6], [0, 8, 0, 6, 6], [7, 3, 0, 6, 6]], np.float32)
    region = region_of(map_HW, 0.5)
    assert region.place == (1, 1)
    assert region.mask_HW.astype(int).tolist() == [
        [0, 0, 0, 0, 0],
        [0, 1, 0, 0, 0],
        [1, 0, 0, 0, 0],
    ]
    assert region.box == (0, 1, 1, 2)
    assert region_of(map_HW, 0.1).box == (0, 0, 1, 2)
    assert region_of(np.ones((2, 3), np.float32), 0.99).box == (0, 0, 2, 1)


@pytest.fixture
def colours(image_set):
    """Images of 32 x 32: red in a corner; blue in two cells of 16; nothing."""
    box = (0, 0, 1, 1)
    return image_set(
        {
            "a": (blocks(32, 32, (RED, 24, 8, 31, 15)), RED, box),
            "b": (blocks(32, 32, (BLUE, 0, 0, 7, 15)), BLUE, box),
            "c": (blocks(32, 32), GREEN, box),
        }
    )


def test_maps_of_a_split_are_those_of_the_network(colours):
    """ColourNet's map of a colour is its mean over cells of 8 x 8 pixels."""
    maps = maps_of_split(ColourNet(), Squash(32, 32), colours, LoaderSettings(workers=0), COMPUTE)
    found, n_images = most_active(maps, [RED, GREEN, BLUE], 2)
    assert n_images == 3
    (red,), none, (blue,) = found[RED], found[GREEN], found[BLUE]
    assert (red.index, red.maximum, red.mean) == (0, 1.0, 1 / 16)
    assert red.map_hw.tolist() == [[0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert none == []
    assert (blue.index, blue.mean) == (1, 2 / 16)


def test_an_unreadable_image_stops_it_or_is_not_counted(colours):
    colours[1].path.write_bytes(b"no image")

    def count(on_error):
        loading = LoaderSettings(workers=0, on_error=on_error)
        return most_active(
            maps_of_split(ColourNet(), Squash(32, 32), colours, loading, COMPUTE), [RED], 2
        )[1]

    assert count("skip") == 2
    with pytest.raises(UserError, match=r"b\.JPEG: not a readable image"):
        count("stop")


def test_maps_that_are_no_numbers_are_refused_by_the_images_name(colours):
    network = ColourNet()
    network.pixel_std[BLUE] = 0
    with pytest.raises(UserError, match="a: the network's maps of this image are NaN or infinite"):
        list(maps_of_split(network, Squash(32, 32), colours, LoaderSettings(workers=0), COMPUTE))
