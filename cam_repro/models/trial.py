"""Try out a network: does it have maps A, and does its head give exact CAMs?

What its class or its documentation promises is not asked: its answers to random numbers are.
``try_out`` finds out what a network made elsewhere can do; ``check_promises`` refuses a
``CamNetwork`` that does not do what its class says.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cam_repro.errors import UserError
from cam_repro.models.base import CamNetwork, PooledNetwork
from cam_repro.models.modes import evaluation_mode

TOLERANCE = 1e-4
"""How far two results that should be equal may differ, as a share of the largest value."""

NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)
"""Layers that change nothing, or next to nothing, before they are trained."""

MANY = 10
"""Class scores of random weights that are not all between 0 and 1 by chance: 0.34^10 = 2e-5."""

TRIAL_SIDE = 96
"""Side of the input that a ``CamNetwork`` is tried on, pixels, if it takes one so small."""


@dataclass(frozen=True)
class Verdict:
    """Hold what a trial found.

    no_maps: why the network has no maps A; None if it has. no_cam: why it has no exact CAM; None if
    it has.
    """

    no_maps: str | None = None
    no_cam: str | None = None


def try_out(
    network: nn.Module,
    features: Callable[[Tensor], Tensor],
    head: Callable[[Tensor], Tensor],
    class_layer: nn.Module | None,
    input_size: int,
) -> Verdict:
    """Try the parts of a network, which is in evaluation mode, on random numbers.

    network: x_NCHW -> logits_NC. features: x_NCHW -> A_NKhw. head: A_NKhw -> logits_NC.
    class_layer: the layer with one output a class; None if A has one map a class.
    input_size: height and width of the random input, pixels.
    Raises UserError where it gives probabilities.

    The network has maps if ``features`` gives N,K,h,w and ``head`` makes of these the same logits
    as ``network``. It has exact CAMs if, for any maps, the mean over (x, y) of ``sum_k w_ck A_k``
    plus the bias is the logit of class c (the paper, section 2). To try this, the class layer and
    all norms have random weights for a moment: in an untrained network a class layer may be 0, and
    a norm may change nothing. torch's global random generator is not used.
    """
    generator = torch.Generator().manual_seed(0)
    x_NCHW = torch.randn(1, 3, input_size, input_size, generator=generator)
    classifier = [] if class_layer is None else [class_layer]
    norms = [module for module in network.modules() if isinstance(module, NORMS)]
    with torch.no_grad():
        with random_weights(classifier):
            logits_NC = network(x_NCHW.clone())
            if (fault := not_scores(logits_NC, logits_NC.shape[1], bool(classifier))) is not None:
                raise UserError(f"the network {fault}")
            A_NKhw = features(x_NCHW)
            reason = _not_maps(A_NKhw)
            if reason is None and not same_values(head(A_NKhw), network(x_NCHW)):
                reason = "its head does not make its class scores from its last maps alone"
        if reason is not None:
            return Verdict(no_maps=reason, no_cam=reason)
        with random_weights([*classifier, *norms]):
            return Verdict(no_cam=_not_linear(head, class_layer, _random_maps(A_NKhw, generator)))


@torch.no_grad()
def check_promises(network: CamNetwork, input_size: int) -> None:
    """Raise UserError where a network does not do what ``CamNetwork`` says of its methods.

    ``forward`` must be ``forward_head`` of ``forward_features``; and if there are
    ``class_weights``, the mean of the class activation map plus the bias must be the logit: for any
    maps, with random weights in class layer and norms. (Where the head pools by the maximum, the
    logit is the weighted sum of the maxima.)
    input_size: side of its input, pixels; the trial takes a smaller one if it can.
    """
    smallest_input(network)
    if network.tried_when_made or network.pixel_mean.is_meta:  # meta: it has no values
        return
    try:
        fault = _fault(network, min(input_size, max(network.minimum_input, TRIAL_SIDE)))
    except RuntimeError:  # a head may take maps of one size only
        try:
            fault = _fault(network, input_size)
        except RuntimeError as error:  # parts that do not fit together
            size, said = f"{input_size}x{input_size}", " ".join(str(error).split())
            raise UserError(
                f"{type(network).__name__}: it fails on an image of {size} pixels ({said})"
            ) from error
    if fault is not None:
        raise UserError(f"{type(network).__name__}: {fault} (docs/extending.md)")


def smallest_input(network: CamNetwork) -> int:
    """Give the ``minimum_input`` of a network's class; UserError where it states none."""
    smallest = getattr(network, "minimum_input", None)
    if type(smallest) is not int:
        raise UserError(
            f"{type(network).__name__} has no minimum_input: a whole number, the smallest side "
            "that it takes, in pixels"
        )
    return smallest


def _fault(network: CamNetwork, side: int) -> str | None:
    """Say what a network does not do that its class says; None if it does all."""
    generator = torch.Generator().manual_seed(0)
    colours_N3HW = torch.randint(256, (1, 3, 2, 2), generator=generator, dtype=torch.uint8)
    wanted_N3HW = CamNetwork.normalize(network, colours_N3HW)
    try:
        normalized_N3HW = network.normalize(colours_N3HW)
    except Exception:  # whatever a method of one's own raises that takes something else
        normalized_N3HW = torch.empty(0)
    if not same_values(normalized_N3HW, wanted_N3HW):
        return (
            "its normalize does not subtract pixel_mean and divide by pixel_std: give a method of "
            "another purpose another name"
        )
    x_NCHW = torch.randn(1, 3, side, side, generator=generator)
    norms = [layer for layer in network.modules() if isinstance(layer, NORMS)]
    try:
        classifier = [network.named_class_layer()]
    except UserError:
        if isinstance(network, PooledNetwork):
            raise
        classifier = []  # a head of one's own may have parameters in its place
    for layer in classifier:
        weight = getattr(layer, "weight", () if isinstance(network, PooledNetwork) else None)
        if weight is not None and len(weight) != network.num_classes:
            return (
                f"its class_layer_name is {network.class_layer_name}, which is no layer with one "
                "output a class"
            )
    with evaluation_mode(network), random_weights(classifier):
        A_NKhw = network.forward_features(x_NCHW)
        if not (isinstance(A_NKhw, Tensor) and A_NKhw.ndim == 4):
            return "its forward_features does not give one tensor of maps N,K,h,w"
        logits_NC = network.forward_head(A_NKhw)
        if (reason := not_scores(logits_NC, network.num_classes, bool(classifier))) is not None:
            return f"its forward_head {reason}"
        if not same_values(network.forward_head(A_NKhw), network(x_NCHW)):
            return "its forward does not give what forward_head makes of forward_features"
    with evaluation_mode(network), random_weights([*classifier, *norms]):
        w_CK = network.class_weights()
        if w_CK is None:
            return None
        A_NKhw = _random_maps(A_NKhw, generator)
        F_NK = A_NKhw.amax((2, 3)) if network.head_pool == "max" else A_NKhw.mean((2, 3))
        bias_NC = network.forward_head(torch.zeros_like(A_NKhw))
        is_as_wide = w_CK.shape[1] == F_NK.shape[1]
        if is_as_wide and same_values(network.forward_head(A_NKhw), F_NK @ w_CK.T + bias_NC):
            return None
    return (
        "its class scores are not the mean of the class activation maps plus the bias, so these do"
        " not explain them: mend forward_head, or let class_weights return None, and use gradcam"
    )


def class_weights_of(layer: nn.Module | None) -> Tensor | None:
    """Give the weights (C,K) of a linear layer or a 1x1 convolution; None for any other layer."""
    if isinstance(layer, nn.Linear):
        return layer.weight
    if isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1) and layer.groups == 1:
        return layer.weight.flatten(1)
    return None


def not_scores(logits: object, num_classes: int, is_random: bool) -> str | None:
    """Say why what a network gives for one image is no class scores; None if it is.

    logits: of a random image. is_random: also of random weights of the class layer, whose scores
    are not all between 0 and 1 by chance if there are ten or more.
    """
    if not isinstance(logits, Tensor) or logits.shape != (1, num_classes):
        found = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        return f"gives {found}, not class scores N,{num_classes}"
    is_one = abs(float(logits.sum()) - 1) <= TOLERANCE
    if num_classes > 1 and is_one and bool((logits >= 0).all()):
        return "gives probabilities, as after a softmax: leave that out, it is taken of the scores"
    is_many = num_classes >= MANY and is_random
    if is_many and bool(((logits >= 0) & (logits <= 1)).all()) and bool(logits.any()):
        return "gives values of 0 to 1 alone, as after a sigmoid: leave that out"
    return None


def _not_maps(A: object) -> str | None:
    """Say why the input of a head is not maps of the shape N,K,h,w; None if it is."""
    if not isinstance(A, Tensor):
        return "its last maps are several, not one N,K,h,w"
    if A.ndim != 4:
        return f"its head takes {A.ndim - 1} dimensions, not maps with height and width"
    if min(A.shape[2:]) < 2:
        return f"its last maps have {A.shape[3]}x{A.shape[2]} places only"
    return None


def _random_maps(A_NKhw: Tensor, generator: torch.Generator) -> Tensor:
    """Make random maps of the same shape; if none of the values is below 0, none here is either."""
    random_NKhw = torch.randn(A_NKhw.shape, generator=generator)
    return random_NKhw.abs() if bool((A_NKhw >= 0).all()) else random_NKhw


def _not_linear(
    head: Callable[[Tensor], Tensor], class_layer: nn.Module | None, A_NKhw: Tensor
) -> str | None:
    """Say why a head is not an average and one linear layer; None if it is.

    A_NKhw: random maps.
    """
    if class_layer is None:
        if same_values(head(A_NKhw), A_NKhw.mean((2, 3))):
            return None
        return "its head has no linear layer, and is not the average of one map a class either"
    w_CK = class_weights_of(class_layer)
    if w_CK is None:
        return "the layer that makes its class scores is not a linear one"
    if w_CK.shape[1] != A_NKhw.shape[1]:
        return (
            f"its class layer takes {w_CK.shape[1]:,} values and its last maps are "
            f"{A_NKhw.shape[1]:,}: there are other layers between them"
        )
    wanted_NC = A_NKhw.mean((2, 3)) @ w_CK.T
    if isinstance(class_layer.bias, Tensor):
        wanted_NC = wanted_NC + class_layer.bias
    if same_values(head(A_NKhw), wanted_NC):
        return None
    return (
        "its class score is not the mean of the map plus the bias: there is more than an average "
        "between its last maps and its class layer"
    )


def same_values(one: Tensor, other: Tensor) -> bool:
    """Tell whether two results are equal, up to rounding."""
    if one.shape != other.shape:
        return False
    return bool((one - other).abs().max() <= TOLERANCE * other.abs().max())


@contextlib.contextmanager
def random_weights(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Give modules random weights and statistics within a ``with`` block, and restore their own.

    Variances are between 0.5 and 1.5, all else is normal.
    """
    generator = torch.Generator().manual_seed(1)
    tensors = [
        (name, tensor)
        for module in modules
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]
        if tensor.is_floating_point()
    ]
    own = [tensor.clone() for _, tensor in tensors]
    try:
        for name, tensor in tensors:
            if name.endswith("running_var"):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
            else:
                tensor.copy_(torch.randn(tensor.shape, generator=generator))
        yield
    finally:
        for (_, tensor), before in zip(tensors, own, strict=True):
            tensor.copy_(before)
