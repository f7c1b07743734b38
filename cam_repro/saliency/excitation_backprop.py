"""Make maps by excitation backprop (Zhang et al., ECCV 2016, arXiv 1608.00507).

A probability is sent from a class down through the network: from a unit to those below it, in
proportion to how much each excites it. It is written here from the paper's equations. The authors'
own release carries a patent notice and terms for non-commercial use (docs/methods.md).
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call
from torch.nn import functional as F

from cam_repro.errors import UserError, did_you_mean
from cam_repro.models.base import CamNetwork
from cam_repro.saliency.base import SelectClasses, check_maps
from cam_repro.saliency.graph import GraphSaliency, LayerGraph

WEIGHTED = ("Conv2d", "Conv2dSame", "Linear")
"""Layers whose output is a weighted sum of their inputs, by the name of their class: only weights
over 0 excite. Classes derived from these may change their weights first; timm's Conv2dSame pads."""

AVERAGES = (nn.AvgPool2d, nn.AdaptiveAvgPool2d)
AVERAGE_FUNCTIONS = (F.avg_pool2d, F.adaptive_avg_pool2d, torch.mean, "mean")

PASSING = (
    *(nn.ReLU, nn.ReLU6, nn.BatchNorm2d, nn.LocalResponseNorm, nn.Identity, nn.Dropout),
    *(nn.Dropout2d,),
)
PASSING_FUNCTIONS = (
    *(F.relu, F.relu6, torch.relu, torch.relu_, "relu", "relu_", F.batch_norm, F.dropout),
    *("contiguous", "clone"),
)
"""Steps that pass on what comes to each unit; the paper names ReLU."""

ROUTES = (nn.MaxPool2d, nn.AdaptiveMaxPool2d, nn.Flatten)
ROUTE_FUNCTIONS = (
    *(F.max_pool2d, torch.amax, "amax", torch.cat, torch.flatten, "flatten", "view", "reshape"),
    *("permute", "squeeze", "unsqueeze", F.pad),
)
"""Steps that take each output from one input: it gets all of the output's probability."""

SUMS = (operator.add, operator.iadd, torch.add, "add", "add_")


class _Recorder(fx.Interpreter):
    """Run a network and keep the output of every step."""

    def __init__(self, graph: LayerGraph) -> None:
        super().__init__(graph.module, garbage_collect_values=False)

    def run_node(self, node: fx.Node) -> Any:
        value = super().run_node(node)
        # A later step may work in place.
        return value.clone() if isinstance(value, Tensor) else value


class ExcitationBackprop(GraphSaliency):
    """Compute the marginal winning probability (MWP) of the units of a layer, added up over units.

    From a unit i of a convolution, a linear layer or an average, with inputs x_j of at least 0
    (others count as 0) and w+ = max(w, 0), unit j below gets the share
    x_j w+_ij / sum_k x_k w+_ik of its probability (equation 5); the bias is left out, and where
    nothing excites the unit its probability is lost. A max pool sends it to the maximum, a sum to
    its terms in proportion; ReLU, batch norm and local response normalisation pass it on.

    layer: the layer whose units are shown; the paper took pool4 of VGG-16 (``features.23``), pool2
        of GoogLeNet (``maxpool2``), ``layer3`` of ResNet-50. None: the last convolution after its
        ReLU; for c-MWP, where this is the class layer (SqueezeNet, NIN), the last max pool. (At the
        input of such a class layer what a place has for the class and against it adds up to 0.)
    contrastive: c-MWP (section 3.3): the probability of the class less that of its opposite, whose
        class layer has the weights -w, from the input of the class layer down.
    """

    def __init__(self, layer: str | None = None, contrastive: bool = False) -> None:
        self.layer, self.contrastive = layer, contrastive

    def refused_layer(self, graph: LayerGraph) -> str | None:
        """Name the first layer without a rule, or say that there is no layer ``layer``."""
        if self.layer is not None and self.layer not in graph.outputs:
            return f"it has no layer {self.layer}{did_you_mean(self.layer, graph.outputs)}"
        end = self._end(graph)
        if end not in graph.between(None):
            return f"its layer {self.layer} does not lead to the class scores"
        steps = graph.between(end)
        if self.contrastive and _class_layer(graph) not in steps:
            name = graph.name_of(_class_layer(graph))
            return f"c-MWP begins at its class layer, {name}, and {self.layer} is not before that"
        if self.contrastive and end in _inputs_of_class_layer(graph):
            where = self.layer or "its last maps"
            return (
                f"c-MWP adds up to 0 at {where}, the input of its class layer: name an earlier one"
            )
        for node in steps:
            if not _has_rule(node, graph.layer_of(node)):
                return f"there is no rule for its layer {graph.name_of(node)}"
        return None

    def _end(self, graph: LayerGraph) -> fx.Node:
        """Give the step whose output is shown."""
        if self.layer is not None:
            return graph.outputs[self.layer]
        steps = graph.between(None)
        if not self.contrastive or graph.maps in steps[steps.index(_class_layer(graph)) :]:
            return graph.maps
        pools = [step for step in steps if isinstance(graph.layer_of(step), nn.MaxPool2d)]
        if not pools:
            raise UserError("its maps come out of the class layer: name an earlier layer")
        return pools[0]

    @torch.no_grad()
    def explain(
        self, network: CamNetwork, x_NCHW: Tensor, select: SelectClasses
    ) -> tuple[Tensor, Tensor]:
        """Classify and explain, as the base class says."""
        graph = self.graph(network)
        recorder = _Recorder(graph)
        logits_NC = recorder.run(x_NCHW).float()
        classes_NR = select(logits_NC)
        end = self._end(graph)
        if self.layer is not None:
            check_maps(self.layer, recorder.env[end])
        class_layer = _class_layer(graph) if self.contrastive else None
        with torch.autocast(x_NCHW.device.type, enabled=False):  # probabilities stay in float32
            walk = _Walk(graph, recorder.env, end, class_layer)
            maps = [
                walk.down(F.one_hot(classes_N, logits_NC.shape[1]).float())
                for classes_N in classes_NR.T
            ]
        return logits_NC, torch.stack(maps, 1)


class _Walk:
    """Send probabilities from the logits down to a step, for one batch.

    values: the output of each step. contrastive_at: the class layer, where the probability of its
    opposite is subtracted; None: nowhere.
    """

    def __init__(
        self,
        graph: LayerGraph,
        values: dict[fx.Node, Any],
        end: fx.Node,
        contrastive_at: fx.Node | None,
    ) -> None:
        self.graph, self.values, self.end = graph, values, end
        self.contrastive_at = contrastive_at
        self.steps = graph.between(end)
        self.top = next(node for node in graph.steps if node.op == "output").all_input_nodes[0]

    def down(self, p_NC: Tensor) -> Tensor:
        """Give the maps (N, h, w) of a class for each image. p_NC: 1 at the class."""
        arrived: dict[fx.Node, Tensor] = {self.top: p_NC}
        for node in self.steps:
            p = arrived.pop(node, None)
            if p is None:
                continue
            for source, part in self._shares(node, p):
                arrived[source] = arrived[source] + part if source in arrived else part
        p_NKhw = arrived[self.end]
        return p_NKhw.sum(1).clamp(min=0)

    def _shares(self, node: fx.Node, p: Tensor) -> list[tuple[fx.Node, Tensor]]:
        """Share the probability of a step's output among the steps that it takes as inputs."""
        layer = self.graph.layer_of(node)
        sources = [source for source in node.all_input_nodes if source.op != "get_attr"]
        inputs = [self.values[source].float() for source in sources]
        if type(layer).__name__ in WEIGHTED:
            assert layer is not None
            share = _excited(layer, inputs[0], p, 1)
            if node is self.contrastive_at:
                share = share - _excited(layer, inputs[0], p, -1)
            return [(sources[0], share)]
        if isinstance(layer, AVERAGES) or node.target in AVERAGE_FUNCTIONS:
            return [(sources[0], _in_proportion(self._again(node), inputs[0].clamp(min=0), p))]
        if node.target in SUMS:
            parts = [value.clamp(min=0) for value in inputs]
            share = _divide(p, sum(parts, torch.zeros_like(p)))
            return [(s, part * share) for s, part in zip(sources, parts, strict=True)]
        if isinstance(layer, ROUTES) or node.target in ROUTE_FUNCTIONS:
            return [*zip(sources, _pull_back(self._again(node), inputs, p), strict=True)]
        return [(sources[0], p)]

    def _again(self, node: fx.Node) -> Callable[..., Tensor]:
        """Make a function that runs a step once more, on other inputs."""
        layer = self.graph.layer_of(node)

        def run(*inputs: Tensor) -> Tensor:
            given = dict(zip(node.all_input_nodes, inputs, strict=True))

            def value(source: fx.Node) -> Any:
                return given.get(source, self.values.get(source))

            args = fx.map_arg(node.args, value)
            kwargs = fx.map_arg(node.kwargs, value)
            if layer is not None:
                return torch.as_tensor(layer(*args, **kwargs))
            if node.op == "call_method":
                return torch.as_tensor(getattr(args[0], str(node.target))(*args[1:], **kwargs))
            assert callable(node.target)
            return torch.as_tensor(node.target(*args, **kwargs))

        return run


def _class_layer(graph: LayerGraph) -> fx.Node:
    """Give the class layer: the last one with weights."""
    return next(
        node for node in graph.between(None) if type(graph.layer_of(node)).__name__ in WEIGHTED
    )


def _inputs_of_class_layer(graph: LayerGraph) -> list[fx.Node]:
    """List the steps whose output the class layer takes, as it is or by a layer that passes it."""
    inputs = _class_layer(graph).all_input_nodes[:1]
    while isinstance(graph.layer_of(inputs[-1]), PASSING) or inputs[-1].target in PASSING_FUNCTIONS:
        inputs += inputs[-1].all_input_nodes[:1]
    return inputs


def _has_rule(node: fx.Node, layer: nn.Module | None) -> bool:
    """Tell whether there is a rule for a step."""
    if node.op == "call_module":
        is_weighted = type(layer).__name__ in WEIGHTED
        return is_weighted or isinstance(layer, AVERAGES + PASSING + ROUTES)
    return node.target in AVERAGE_FUNCTIONS + PASSING_FUNCTIONS + ROUTE_FUNCTIONS + SUMS


def _excited(layer: nn.Module, x: Tensor, p: Tensor, sign: int) -> Tensor:
    """Send p through a weighted sum, whose weights are multiplied by ``sign``."""
    own = {name: tensor.float() for name, tensor in layer.named_parameters()}
    exciting = {"weight": (sign * own["weight"]).clamp(min=0)}
    if "bias" in own:
        exciting["bias"] = torch.zeros_like(own["bias"])
    return _in_proportion(partial(functional_call, layer, exciting), x.clamp(min=0), p)


def _in_proportion(sums: Callable[[Tensor], Tensor], x: Tensor, p: Tensor) -> Tensor:
    """Share p among inputs in proportion to what they add to sums with weights of at least 0."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        z = sums(x)
    (back,) = torch.autograd.grad(z, x, _divide(p, z.detach()))
    return x.detach() * back


def _divide(p: Tensor, z: Tensor) -> Tensor:
    """Divide, with 0 where z, which is not negative, is 0 or too small to divide by."""
    return torch.where(z < torch.finfo(z.dtype).tiny, 0.0, p / z)


def _pull_back(run: Callable[..., Tensor], inputs: list[Tensor], p: Tensor) -> tuple[Tensor, ...]:
    """Send p back to the inputs that the outputs were taken from."""
    with torch.enable_grad():
        inputs = [x.detach().requires_grad_() for x in inputs]
        output = run(*inputs)
    return torch.autograd.grad(output, inputs, p)
