"""Train so that nothing of a class is left beside its map (GAIN: Li et al., CVPR 2018)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.nn.modules.batchnorm import _BatchNorm

from cam_repro.data.loading import BatchTruth
from cam_repro.data.masks import UNKNOWN
from cam_repro.errors import one_of
from cam_repro.models.base import CamNetwork
from cam_repro.models.modes import evaluation_mode
from cam_repro.objectives.base import Losses, Objective, number, yes_or_no
from cam_repro.objectives.classification import Classification
from cam_repro.objectives.multi_label import MultiLabel
from cam_repro.saliency.base import gradients_of_classes
from cam_repro.saliency.cam import class_activation_maps
from cam_repro.saliency.gradcam import GradCam

CHOICES = {
    "attention": ("gradcam", "cam"),
    "normalise": ("minmax", "max"),
    "loss": ("null", "cross_entropy", "multi_label"),
    "score": ("null", "logit", "probability"),
    "masks": ("none", "masks", "boxes"),
}
"""What settings take; configs/train/gain.yaml says what it means."""


class Pairs(NamedTuple):
    """Hold the pairs of an image and one of its classes, P of them, in the order of the images.

    image_P: index of the image; where each has one class, all images: ``slice(None)``. class_P:
    class index. weight_P: 1 / (N T) for an image of T classes, so that a sum over pairs with these
    weights is the mean over images of the mean over their classes.
    """

    image_P: Tensor | slice
    class_P: Tensor
    weight_P: Tensor

    @classmethod
    def of(cls, truth: BatchTruth) -> Pairs:
        """Take them from the truth of a part of a batch."""
        n_images = len(truth.labels_N)
        if truth.has_NC is None:
            weight_P = torch.full((n_images,), 1 / n_images, device=truth.labels_N.device)
            return cls(slice(None), truth.labels_N, weight_P)
        image_P, class_P = truth.has_NC.nonzero(as_tuple=True)
        return cls(image_P, class_P, 1 / (n_images * truth.has_NC.sum(1)[image_P]))


@dataclass(kw_only=True)
class Gain(Objective):
    """Compute L_cl + alpha L_am + weight_e L_e.

    L_cl is the loss of the class scores. For each class c of an image I, with A the attention (the
    class's map in [0, 1]):

        T(A) = 1 / (1 + exp(-omega (A - sigma)))
        I* = I - T(A) I
        L_am = mean over the image's classes of s_c(I*)
        L_e = mean over places of (A - H)^2

    The image without what the map shows should not look like the class: L_am, the score that is
    left, pulls the map over the whole object. H is a mask of the class, of images that have one; of
    others L_e is 0. I is the normalised input, so that hidden parts have the mean colour.

    configs/train/gain.yaml explains the settings.
    """

    label_smoothing: float = 0.0
    alpha: float = 1.0
    sigma: float = 0.5
    omega: float = 10.0
    weight_e: float = 10.0
    attention: str = "gradcam"
    normalise: str = "minmax"
    loss: str | None = None
    score: str | None = None
    through_hiding: bool = True
    frozen_norm: bool = True
    masks: str = "none"
    masks_share: float = 1.0

    all_classes = True
    repeats_images = True

    def __post_init__(self) -> None:
        for key in ("alpha", "weight_e", "omega"):
            number(key, getattr(self, key), 0)
        for key in ("sigma", "masks_share"):
            number(key, getattr(self, key), 0, 1)
        for key in ("through_hiding", "frozen_norm"):
            yes_or_no(key, getattr(self, key))
        for key, choices in CHOICES.items():
            value = getattr(self, key)
            one_of(f"train.{key}", "null" if value is None else str(value), choices)
        self.terms = ("loss_cl", "loss_am", *(() if self.masks == "none" else ("loss_e",)))

    def refusal(self, network: CamNetwork) -> str | None:
        """Say why the network has no attention of the kind that is asked for."""
        if network.no_maps is not None:
            return network.no_maps
        if self.attention == "cam" and network.no_cam is not None:
            return f"{network.no_cam}; use train.attention=gradcam"
        return None

    def classification_loss(self, logits_NC: Tensor, truth: BatchTruth) -> Tensor:
        """Compute L_cl."""
        return self.classifier(truth).classification_loss(logits_NC, truth)

    def validation_loss(self, logits_NC: Tensor, truth: BatchTruth) -> Tensor:
        """Compute L_cl in validation."""
        return self.classifier(truth).validation_loss(logits_NC, truth)

    def classifier(self, truth: BatchTruth) -> Objective:
        """Make the objective that L_cl is of."""
        is_multi_label = self.asks_each_class(truth.has_NC is not None)
        return (MultiLabel if is_multi_label else Classification)(self.label_smoothing)

    def asks_each_class(self, several: bool) -> bool:
        """Tell whether classes are questions of their own: as stated, else by the data set."""
        return self.loss == "multi_label" or (self.loss is None and several)

    def losses(self, network: CamNetwork, x_NCHW: Tensor, truth: BatchTruth) -> Losses:
        """Run the network on the images, then on what is left of them beside each class's map."""
        A_NKhw = network.forward_features(x_NCHW)
        logits_NC = fully(network.forward_head(A_NKhw))
        pairs = Pairs.of(truth)
        attention_Phw = self.attention_maps(network, A_NKhw[pairs.image_P], pairs.class_P)
        hidden_P1HW = self.hidden_share(attention_Phw, x_NCHW.shape[2:])
        x_PCHW = x_NCHW[pairs.image_P]
        with _second_pass(network, self.frozen_norm):
            left_PC = fully(network(x_PCHW - hidden_P1HW * x_PCHW))
        is_multi_label = self.asks_each_class(truth.has_NC is not None)
        score_P = self.scores(left_PC, is_multi_label).gather(1, pairs.class_P[:, None])
        terms = {
            "loss_cl": self.classification_loss(logits_NC, truth),
            "loss_am": (pairs.weight_P * score_P[:, 0]).sum(),
        }
        total = terms["loss_cl"] + self.alpha * terms["loss_am"]
        if truth.masks_NHW is not None:
            errors_P = mask_errors(attention_Phw, truth.masks_NHW[pairs.image_P], pairs.class_P)
            terms["loss_e"] = (pairs.weight_P * errors_P).sum()
            total = total + self.weight_e * terms["loss_e"]
        return Losses(total, logits_NC, terms)

    def attention_maps(self, network: CamNetwork, A_PKhw: Tensor, class_P: Tensor) -> Tensor:
        """Compute the attention (P, h, w) of a class in [0, 1], float32.

        The weights of the channels are numbers that no gradient passes. Those of Grad-CAM come from
        a second run of the head, without dropout.
        """
        classes_P1 = class_P[:, None]
        if self.attention == "gradcam":
            leaf_PKhw = A_PKhw.detach().requires_grad_()
            with evaluation_mode(network):
                logits_PC = network.forward_head(leaf_PKhw)
            gradients_P1Khw = gradients_of_classes(logits_PC, classes_P1, leaf_PKhw)
        with torch.autocast(A_PKhw.device.type, enabled=False):
            if self.attention == "gradcam":
                maps_P1hw = GradCam().combine(fully(A_PKhw), fully(gradients_P1Khw))
            else:
                w_CK = network.class_weights()
                assert w_CK is not None, "refused beforehand"
                maps_P1hw = class_activation_maps(A_PKhw, w_CK.detach(), classes_P1)
            return normalised(maps_P1hw[:, 0], self.normalise)

    def hidden_share(self, attention_Phw: Tensor, size: torch.Size) -> Tensor:
        """Compute T(A) (P, 1, H, W), how much of a pixel is hidden, in (0, 1).

        The attention is enlarged bilinearly to the input.
        """
        A_Phw = attention_Phw if self.through_hiding else attention_Phw.detach()
        A_P1HW = interpolate(A_Phw[:, None], tuple(size), mode="bilinear", align_corners=False)
        return torch.sigmoid(self.omega * (A_P1HW - self.sigma))

    def scores(self, logits_PC: Tensor, multi_label: bool) -> Tensor:
        """Compute s_c (P, C): logits, or probabilities of the kind that the loss has."""
        score = self.score or ("logit" if multi_label else "probability")
        if score == "logit":
            return logits_PC
        return logits_PC.sigmoid() if multi_label else logits_PC.softmax(1)


def fully(tensor: Tensor) -> Tensor:
    """Give a tensor of half precision as float32, and others as they are."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def normalised(maps_Phw: Tensor, how: str) -> Tensor:
    """Bring each map by itself to [0, 1]; one that is constant, or nowhere over 0, becomes 0.

    how: ``minmax``, (M - min M) / (max M - min M), or ``max``, max(M, 0) / max M.
    """
    low_P11 = maps_Phw.amin((1, 2), keepdim=True)
    over_Phw = maps_Phw.relu() if how == "max" else maps_Phw - low_P11
    top_P11 = over_Phw.amax((1, 2), keepdim=True)
    return over_Phw / top_P11.where(top_P11 > 0, 1)


def mask_errors(attention_Phw: Tensor, masks_PHW: Tensor, class_P: Tensor) -> Tensor:
    """Compute the mean over places of (A - H)^2 for each pair (P,); 0 where nothing is known.

    H is the share of a place's pixels that the class covers, among those of which it is known. A
    place counts by how much of it is known.

    masks_PHW: class index + 1 of each pixel, 0 for background, ``UNKNOWN``.
    """
    size = attention_Phw.shape[1:]

    def share_of_places(are_Phw: Tensor) -> Tensor:
        return interpolate(are_Phw[:, None].to(attention_Phw.dtype), size, mode="area")[:, 0]

    known_Phw = share_of_places(masks_PHW != UNKNOWN)
    covered_Phw = share_of_places(masks_PHW == class_P[:, None, None] + 1)
    H_Phw = covered_Phw / known_Phw.where(known_Phw > 0, 1)
    errors_P = (known_Phw * (attention_Phw - H_Phw) ** 2).sum((1, 2))
    total_P = known_Phw.sum((1, 2))
    return errors_P / total_P.where(total_P > 0, 1)


@contextlib.contextmanager
def _second_pass(network: nn.Module, frozen_norm: bool) -> Iterator[None]:
    """Take dropout out of a network within a ``with`` block.

    frozen_norm: let batch norm use its running statistics, and leave them as they are; else it uses
    the batch's, as in training.
    """
    with evaluation_mode(network):
        if not frozen_norm:
            for module in network.modules():
                if isinstance(module, _BatchNorm):
                    module.train()
        yield
