"""Train by all classes of each image, each of them a question of its own."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import multilabel_soft_margin_loss, one_hot

from cam_repro.data.loading import BatchTruth
from cam_repro.objectives.base import Objective


class MultiLabel(Objective):
    """Compute the multi-label soft margin: the mean over classes of binary cross-entropies.

    Of class c it is -log sigmoid(S_c) where the image has the class, else -log(1 - sigmoid(S_c)).
    An image of a data set with one label an image has that class alone.
    """

    all_classes = True

    def asks_each_class(self, several: bool) -> bool:
        """Tell that it does."""
        return True

    def classification_loss(self, logits_NC: Tensor, truth: BatchTruth) -> Tensor:
        """Compute the mean over the images."""
        has_NC = truth.has_NC
        if has_NC is None:
            has_NC = one_hot(truth.labels_N, logits_NC.shape[1])
        return multilabel_soft_margin_loss(logits_NC, has_NC.to(logits_NC.dtype))
