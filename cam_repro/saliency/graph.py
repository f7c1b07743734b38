"""Record a network as a graph of its layers, for methods that change what a layer does backward."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor, fx, nn

from cam_repro.errors import UserError
from cam_repro.models.base import CamNetwork
from cam_repro.models.modes import evaluation_mode
from cam_repro.saliency.base import Saliency


class _Whole(nn.Module):
    """Run a network in its two steps, with a step between them that marks A."""

    def __init__(self, network: CamNetwork) -> None:
        super().__init__()
        self.network = network
        self.maps = nn.Identity()

    def forward(self, x_NCHW: Tensor) -> Tensor:
        return self.network.forward_head(self.maps(self.network._extract(x_NCHW)))


@dataclass(frozen=True)
class LayerGraph:
    """Hold the steps that lead from a network's input to its logits.

    module: runs them. outputs: the step that gives the output of a layer, by the layer's name in
    the network.
    """

    module: fx.GraphModule
    outputs: dict[str, fx.Node]

    @cached_property
    def steps(self) -> list[fx.Node]:
        """Steps in the order in which they run."""
        return list(self.module.graph.nodes)

    @property
    def maps(self) -> fx.Node:
        """The step that gives A."""
        return next(node for node in self.steps if node.target == "maps")

    def layer_of(self, node: fx.Node) -> nn.Module | None:
        """Give the layer that a step runs; None if it runs a function or a method."""
        return self.module.get_submodule(str(node.target)) if node.op == "call_module" else None

    def name_of(self, node: fx.Node) -> str:
        """Name a step for messages: its layer, or its function."""
        layer = self.layer_of(node)
        if layer is not None:
            return f"{str(node.target).removeprefix('network.')} ({type(layer).__name__})"
        return str(getattr(node.target, "__name__", node.target))

    def between(self, first: fx.Node | None) -> list[fx.Node]:
        """List the steps that the logits need behind ``first`` (None: all), the last one first."""
        needed: dict[fx.Node, None] = {}
        end = next(node for node in self.steps if node.op == "output")
        waiting = list(end.all_input_nodes)
        while waiting:
            node = waiting.pop()
            if node is first or node in needed or node.op in ("placeholder", "get_attr"):
                continue
            needed[node] = None
            waiting += node.all_input_nodes
        return [node for node in reversed(self.steps) if node in needed]


class _Tracer(fx.Tracer):
    """Record steps, and which of them gives the output of each layer."""

    def __init__(self) -> None:
        super().__init__()
        self.outputs: dict[str, fx.Node] = {}

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        # Kinds of these that pad by the size of their input cannot be recorded in detail.
        whole = isinstance(m, nn.Conv2d | nn.AvgPool2d | nn.MaxPool2d)
        return whole or super().is_leaf_module(m, module_qualified_name)

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        name = self.path_of_module(m)
        output = super().call_module(m, forward, args, kwargs)
        if isinstance(output, fx.Proxy) and name.startswith("network."):
            self.outputs[name.removeprefix("network.")] = output.node
        return output


def graph_of(network: CamNetwork) -> LayerGraph:
    """Record a network in evaluation mode; its weights may change afterwards.

    Raises UserError where torch.fx cannot: where the course of the program depends on values.
    """
    whole, tracer = _Whole(network), _Tracer()
    try:
        with evaluation_mode(whole):  # the record holds the mode of functional dropout
            graph = tracer.trace(whole)
    except Exception as error:  # whatever the network's own code raises when traced
        reason = " ".join(str(error).split())
        raise UserError(f"its layers cannot be listed by torch.fx ({reason})") from error
    return LayerGraph(fx.GraphModule(whole, graph), tracer.outputs)


class GraphSaliency(Saliency):
    """Make maps by going backward through the layers of a network, each by a rule of its own.

    compiles: False, because compiled code has no layers.
    """

    compiles = False
    _known: tuple[CamNetwork, LayerGraph] | None = None

    def graph(self, network: CamNetwork) -> LayerGraph:
        """Give the graph of a network, recorded when it is first asked for."""
        if self._known is None or self._known[0] is not network:
            self._known = network, graph_of(network)
        return self._known[1]

    def refusal(self, network: CamNetwork) -> str | None:
        """Say why the method does not work: the network has no maps, or a layer has no rule."""
        if network.no_maps is not None:
            return network.no_maps
        try:
            return self.refused_layer(self.graph(network))
        except UserError as error:
            return str(error)

    @abstractmethod
    def refused_layer(self, graph: LayerGraph) -> str | None:
        """Name the first layer that the method has no rule for; None if it has all."""
