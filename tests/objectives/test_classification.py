import math

import pytest
import torch
from scaled_net import W_CK, Scaled, image

from cam_repro.data.loading import BatchTruth
from cam_repro.objectives.classification import Classification

TRUTH = BatchTruth(torch.tensor([1, 0]))
LOGITS_NC = torch.tensor([[1.0, 0.5], [2.0, 0.0]])
P0, P1 = 1 / (1 + math.exp(-0.5)), 1 / (1 + math.exp(-2))
"""Probabilities of class 0."""


def test_the_loss_is_minus_the_log_of_the_labels_probability():
    expected = -(math.log(1 - P0) + math.log(P1)) / 2
    assert Classification().classification_loss(LOGITS_NC, TRUTH).item() == pytest.approx(expected)
    # Smoothed by 0.2: nine tenths of the label, one tenth of the other class.
    smooth = -(
        0.9 * math.log(1 - P0) + 0.1 * math.log(P0) + 0.9 * math.log(P1) + 0.1 * math.log(1 - P1)
    )
    objective = Classification(label_smoothing=0.2)
    assert objective.classification_loss(LOGITS_NC, TRUTH).item() == pytest.approx(smooth / 2)
    assert objective.validation_loss(LOGITS_NC, TRUTH).item() == pytest.approx(2 * expected)


def test_the_total_is_the_loss_of_the_networks_scores():
    losses = Classification().losses(Scaled(W_CK), image(), BatchTruth(torch.tensor([0])))
    assert losses.logits_NC.tolist() == [[1.0, 0.5]]
    assert losses.total.item() == pytest.approx(-math.log(P0))
    assert losses.terms == {}
