import math

import pytest
import torch
from scaled_net import W_CK, Scaled, image

from cam_repro.data.loading import BatchTruth
from cam_repro.objectives.classification import Classification
from cam_repro.objectives.gain import Gain
from cam_repro.objectives.multi_label import MultiLabel


def yes(score):
    return math.log(1 + math.exp(-score))


def no(score):
    return math.log(1 + math.exp(score))


def test_each_class_is_a_question_of_its_own():
    logits_NC = torch.tensor([[1.0, 0.5], [2.0, -1.0]])
    truth = BatchTruth(torch.tensor([0, 0]), torch.tensor([[True, True], [False, True]]))
    expected = [(yes(1) + yes(0.5)) / 2, (no(2) + yes(-1)) / 2]
    objective = MultiLabel()
    loss, in_all = (
        getattr(objective, name)(logits_NC, truth).item()
        for name in ("classification_loss", "validation_loss")
    )
    assert loss == pytest.approx(sum(expected) / 2)
    assert in_all == pytest.approx(sum(expected))


def test_an_image_with_a_label_alone_has_that_class():
    losses = MultiLabel().losses(Scaled(W_CK), image(), BatchTruth(torch.tensor([1])))
    assert losses.total.item() == pytest.approx((no(1) + yes(0.5)) / 2)


def test_which_objectives_ask_for_each_class():
    assert MultiLabel().asks_each_class(several=False)
    assert not Classification().asks_each_class(several=True)
    assert [Gain().asks_each_class(several) for several in (False, True)] == [False, True]
    assert Gain(loss="multi_label").asks_each_class(several=False)
    assert not Gain(loss="cross_entropy").asks_each_class(several=True)
