"""Define what an objective is: a network, images and their truth in, losses out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from cam_repro.data.loading import BatchTruth
from cam_repro.errors import UserError
from cam_repro.models.base import CamNetwork


class Losses(NamedTuple):
    """Hold the losses of a part of a batch: scalars, means over its images.

    total: what is minimised. logits_NC: class scores of the images as they are, float32. terms:
    what ``total`` was added up from, without weights; empty where that is one loss.
    """

    total: Tensor
    logits_NC: Tensor
    terms: Mapping[str, Tensor]


class Objective(ABC):
    """Compute what a training minimises.

    To add an objective, write a subclass with ``classification_loss``, or with ``losses`` too, and
    a YAML in ``configs/train/`` (or in your own ``--config-dir``) whose ``_target_`` names it; the
    arguments of ``__init__`` are the keys of the YAML, and ``label_smoothing``. Every loss must be
    a mean over images, so that it does not matter how a batch is divided among processes and parts.

    name: the NAME of ``train=NAME``. Its YAML states it, and ``objective_of`` sets it.
    label_smoothing: ``optim.label_smoothing``.
    terms: names of the terms of its losses, by which columns of ``log.csv`` are called.
    all_classes: whether it asks for ``BatchTruth.has_NC`` of images that have several classes.
    masks, masks_share: as for ``TrainMasks``; ``none``: it asks for no masks.
    repeats_images: whether it shows an image once for each of its classes, so that batches differ
        in size; then networks are not compiled where images have several classes.
    """

    name: str = "objective"
    label_smoothing: float
    terms: tuple[str, ...] = ()
    all_classes: bool = False
    masks: str = "none"
    masks_share: float = 1.0
    repeats_images: bool = False

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = label_smoothing

    @abstractmethod
    def classification_loss(self, logits_NC: Tensor, truth: BatchTruth) -> Tensor:
        """Compute the loss of class scores, a scalar: the mean over the images."""

    def validation_loss(self, logits_NC: Tensor, truth: BatchTruth) -> Tensor:
        """Compute the loss of class scores in validation: the sum over the images."""
        return self.classification_loss(logits_NC, truth) * len(logits_NC)

    def losses(self, network: CamNetwork, x_NCHW: Tensor, truth: BatchTruth) -> Losses:
        """Run the network on normalised input and compute the losses; here of class scores alone.

        Called in training mode, under autocast if the precision is mixed. One call must do all
        that gradients come from: processes exchange them after it.
        """
        logits_NC = network(x_NCHW).float()
        return Losses(self.classification_loss(logits_NC, truth), logits_NC, {})

    def asks_each_class(self, several: bool) -> bool:
        """Tell whether each class is a question of its own, whose answers no smoothing mixes.

        several: whether images may have several classes.
        """
        return False

    def refusal(self, network: CamNetwork) -> str | None:
        """Say why a network cannot be trained so, and what to do; None if it can be."""
        return None


def number(key: str, value: object, low: float, high: float = float("inf")) -> None:
    """Raise UserError unless the setting ``train.key`` is a number in [low, high]."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not low <= value <= high:  # type: ignore[operator]
        span = f"of {low:g} or more" if high == float("inf") else f"from {low:g} to {high:g}"
        raise UserError(f"train.{key}={value}: must be a number {span}")


def yes_or_no(key: str, value: object) -> None:
    """Raise UserError unless the setting ``train.key`` is true or false."""
    if not isinstance(value, bool):
        raise UserError(f"train.{key}={value}: must be true or false")
