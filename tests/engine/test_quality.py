import numpy as np
import pytest
import torch
from colour_net import BLUE, GREEN, RED, ColourNet, blocks

from cam_repro.boxes.threshold import ThresholdBox
from cam_repro.data.settings import LoaderSettings
from cam_repro.data.views import Squash, Ten
from cam_repro.engine.compute import Compute
from cam_repro.engine.evaluate import Pass
from cam_repro.engine.quality import ask, refuse_crops
from cam_repro.errors import UserError
from cam_repro.quality.average_drop import AverageDrop
from cam_repro.quality.deletion import Deletion
from cam_repro.quality.insertion import Insertion
from cam_repro.quality.sanity_check import SanityCheck
from cam_repro.saliency.cam import Cam

COMPUTE = Compute(torch.device("cpu"), memory_format=torch.contiguous_format)
LOADING = LoaderSettings(workers=0)


def asked(measure, images, network=None):
    this_pass = Pass(network or ColourNet(), Cam(), Squash(16, 16), {"threshold": ThresholdBox()})
    return ask("name", measure, this_pass, images, LOADING, COMPUTE)


@pytest.fixture
def halves(image_set):
    """Images of 16 x 16 whose left half has a colour; the labels are other classes."""
    return image_set(
        {
            f"{colour}": (blocks(16, 16, (colour, 0, 0, 7, 15)), (colour + 1) % 3, (0, 0, 7, 15))
            for colour in (RED, GREEN, BLUE)
        }
    )


def probability(score):
    """Of a class with this score, when the two others have 0."""
    return np.exp(score) / (np.exp(score) + 2)


WHOLE, NOTHING, HALF_OF_IT = probability(8), 1 / 3, probability(4)


@pytest.mark.parametrize(
    ("measure", "expected"),
    [
        (Deletion(steps=2), [WHOLE, NOTHING, NOTHING]),
        (Deletion(steps=4), [WHOLE, HALF_OF_IT, NOTHING, NOTHING, NOTHING]),
        (Insertion(steps=2, baseline="black"), [NOTHING, WHOLE, WHOLE]),
        (Insertion(steps=4, baseline="mean"), [NOTHING, HALF_OF_IT, WHOLE, WHOLE, WHOLE]),
    ],
)
def test_literal(halves, measure, expected):
    """The score is 16 x the share of the image that has the class's colour, here a half."""
    found = asked(measure, halves)
    assert list(found.ids) == ["0", "1", "2"]
    assert found.classes_N.tolist() == [RED, GREEN, BLUE]
    np.testing.assert_allclose(found.answers_NK, [expected] * 3, rtol=1e-5)


def test_average_drop_literal(halves):
    """The map is 1 in the columns 0 to 3, and falls by 1/8 from column to column to 1/16 at 11."""
    found = asked(AverageDrop(), halves)
    shares = np.array([1, 1, 1, 1, 15 / 16, 13 / 16, 11 / 16, 9 / 16])
    shown = np.rint(255 * shares).sum() / 255 / 16
    np.testing.assert_allclose(found.answers_NK, [[WHOLE, probability(16 * shown)]] * 3, rtol=1e-5)
    assert found.labels == ["image", "image times map"]


def test_a_map_against_that_of_other_weights(halves):
    """The only layer is the class layer: a map of a random one is of three colours or none."""
    network = ColourNet()
    found = asked(SanityCheck(), halves, network)
    assert found.labels == ["fc"]
    assert np.allclose(np.abs(found.answers_NK), 1)  # one colour, times any weight
    assert len(np.unique(found.answers_NK.round())) == 2
    assert torch.equal(network.fc.weight, 16 * torch.eye(3))


def test_some_images_spread_evenly(image_set):
    images = image_set(
        {f"i{i}": (blocks(16, 16, (RED, 0, 0, 7, 15)), 0, (0, 0, 1, 1)) for i in range(8)}
    )
    assert list(asked(Deletion(steps=1, images=3), images).ids) == ["i0", "i2", "i5"]
    assert len(asked(Deletion(steps=1, images=99), images).ids) == 8
    assert len(asked(Deletion(steps=1, images=None), images).ids) == 8


def test_images_that_cannot_be_read_are_left_out(halves):
    path = halves[1].path
    path.write_bytes(b"")
    assert list(asked(Deletion(steps=1), halves).ids) == ["0", "2"]
    for index in (0, 2):
        halves[index].path.write_bytes(b"")
    with pytest.raises(UserError, match="quality=name: none of its 3 images could be read"):
        asked(Deletion(steps=1), halves)


def test_answers_that_are_no_numbers_are_said_by_the_image(halves):
    class Nothing(Deletion):
        def answers(self, batch):
            return np.where(batch.classes_N[:, None] == GREEN, np.nan, 1)

    with pytest.raises(UserError, match=r"1: answers to quality=name are NaN or infinite"):
        asked(Nothing(), halves)


def test_several_crops_are_refused():
    view = Ten(16, 18)
    view.name = "ten"
    with pytest.raises(UserError, match=r"quality=\[a\]: .* view=ten shows it 10: use view=squash"):
        refuse_crops({"a": Deletion()}, view)
    refuse_crops({}, view)
    refuse_crops({"a": Deletion()}, Squash(16, 16))
