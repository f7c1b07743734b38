"""Train by the label of each image: the cross-entropy of the softmax, as the paper's networks."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import cross_entropy

from cam_repro.data.loading import BatchTruth
from cam_repro.objectives.base import Objective


class Classification(Objective):
    """Compute -log p_y, y the label of the image, p the softmax of its class scores.

    With ``label_smoothing`` e the label's share of the target is 1 - e, and e is spread evenly over
    all classes.
    """

    def classification_loss(self, logits_NC: Tensor, truth: BatchTruth) -> Tensor:
        """Compute the mean over the images."""
        return cross_entropy(logits_NC, truth.labels_N, label_smoothing=self.label_smoothing)

    def validation_loss(self, logits_NC: Tensor, truth: BatchTruth) -> Tensor:
        """Compute the sum over the images, without label smoothing."""
        return cross_entropy(logits_NC, truth.labels_N, reduction="sum")
