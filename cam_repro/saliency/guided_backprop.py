"""Make maps by guided back-propagation (Springenberg et al., ICLR 2015 workshop, section 3.4)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from cam_repro.models.base import CamNetwork
from cam_repro.saliency.backprop import check_blur, smooth
from cam_repro.saliency.base import SelectClasses, gradients_of_classes
from cam_repro.saliency.graph import GraphSaliency, LayerGraph

RELUS = (nn.ReLU, nn.ReLU6)
RELU_FUNCTIONS = (F.relu, F.relu6, torch.relu, torch.relu_, "relu", "relu_")

ACTIVATIONS = (
    *(nn.SiLU, nn.GELU, nn.Hardswish, nn.Hardsigmoid, nn.Sigmoid, nn.Tanh, nn.ELU, nn.PReLU),
    *(nn.LeakyReLU, nn.Mish, nn.CELU, nn.SELU, nn.Softplus),
)
ACTIVATION_FUNCTIONS = (
    *(F.silu, F.gelu, F.hardswish, F.hardsigmoid, F.elu, F.leaky_relu, F.mish, F.softplus),
    *(torch.sigmoid, torch.tanh, "sigmoid", "tanh"),
)
"""Layers that are no ReLU where the method needs one."""


class _GuidedRelu(torch.autograd.Function):
    """Compute a ReLU that lets a gradient back only where its input and the gradient are over 0.

    highest: what the values are cut at, 6 for a ReLU6, which lets no gradient back there.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, highest: float) -> Tensor:
        ctx.save_for_backward((x > 0) & (x < highest))
        return x.clamp(0, highest)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (is_open,) = ctx.saved_tensors
        return torch.where(is_open & (gradient > 0), gradient, 0.0), None


class _GuidedRun(fx.Interpreter):
    """Run a network with guided ReLUs in place of its own, of which none works in place."""

    def run_node(self, node: fx.Node) -> Any:
        args, kwargs = self.fetch_args_kwargs_from_env(node)
        highest = _highest(node, self.module)
        if highest is None:
            return super().run_node(node)
        return _GuidedRelu.apply(args[0] if args else kwargs["input"], highest)


def _highest(node: fx.Node, module: nn.Module) -> float | None:
    """Say what a ReLU cuts values at; None for any other step."""
    if node.op == "call_module":
        layer = module.get_submodule(str(node.target))
        if isinstance(layer, RELUS):
            return 6.0 if isinstance(layer, nn.ReLU6) else float("inf")
    elif node.target in RELU_FUNCTIONS:
        return 6.0 if node.target is F.relu6 else float("inf")
    return None


class GuidedBackprop(GraphSaliency):
    """Compute the maximum over the colours of |guided gradient of S_c|, at the input's own size.

    Guided: a ReLU lets a gradient back only where its input and the gradient are over 0. A network
    with other activations is refused: the rule says nothing about them.

    blur: as of ``Backprop``: without it a threshold finds single specks, and a picture shows none.
        0: the maps of the paper.
    """

    def __init__(self, blur: float = 0.03) -> None:
        self.blur = check_blur(blur)

    def refused_layer(self, graph: LayerGraph) -> str | None:
        """Name the first activation that is no ReLU."""
        for node in graph.steps:
            layer = graph.layer_of(node)
            if isinstance(layer, ACTIVATIONS) or node.target in ACTIVATION_FUNCTIONS:
                return f"its layer {graph.name_of(node)} is no ReLU"
        return None

    def guided(
        self, network: CamNetwork, x_NCHW: Tensor, select: SelectClasses
    ) -> tuple[Tensor, Tensor]:
        """Give logits_NC and the guided gradients of the chosen classes, (N, R, 3, H, W)."""
        run = _GuidedRun(self.graph(network).module)
        with torch.enable_grad():
            x_NCHW = x_NCHW.detach().requires_grad_()
            logits_NC = run.run(x_NCHW)
            classes_NR = select(logits_NC.detach())
            return logits_NC.detach(), gradients_of_classes(logits_NC, classes_NR, x_NCHW)

    def explain(
        self, network: CamNetwork, x_NCHW: Tensor, select: SelectClasses
    ) -> tuple[Tensor, Tensor]:
        """Classify and explain, as the base class says."""
        logits_NC, gradients_NR3HW = self.guided(network, x_NCHW, select)
        return logits_NC.float(), smooth(gradients_NR3HW.abs().amax(2).float(), self.blur)
