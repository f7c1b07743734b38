"""Adapt networks that were made elsewhere: what they can do is tried out, not assumed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, fx, nn

from cam_repro.errors import UserError
from cam_repro.models.base import CamNetwork
from cam_repro.models.layers import check_count, some_layers
from cam_repro.models.modes import evaluation_mode
from cam_repro.models.trial import (
    Verdict,
    class_weights_of,
    same_values,
    try_out,
)


class AdaptedNetwork(CamNetwork):
    """Give a network made elsewhere the two steps of ``CamNetwork``; see trial.py.

    A subclass has ``_extract`` and ``forward_head``, and at the end of ``__init__`` calls ``_try``.
    If the trial finds no maps, the network can still be asked for ``forward``, for Backprop. If it
    finds no exact CAM, ``class_weights`` is None.
    """

    minimum_input = 1
    tried_when_made = True
    _verdict: Verdict
    _class_layer: tuple[nn.Module] | None

    def _try(self, class_layer: nn.Module | None, input_size: int) -> None:
        """Find out by trial what the network can do.

        class_layer: the layer with one output a class, or None; input_size: side of the trial's
        input, pixels.
        """
        # In a tuple, so that torch does not register it a second time.
        self._class_layer = None if class_layer is None else (class_layer,)
        with evaluation_mode(self):
            self._verdict = try_out(self, self._extract, self.forward_head, class_layer, input_size)

    @property
    def no_maps(self) -> str | None:
        """Say why the network has no maps A; None if it has."""
        return self._verdict.no_maps

    @property
    def no_cam(self) -> str | None:
        """Say why the network has no exact CAM; None if it has."""
        return self._verdict.no_cam

    def class_weights(self) -> Tensor | None:
        """Return w_CK of the class layer, the identity if A has one map a class, None if no CAM."""
        if self.no_cam is not None:
            return None
        if self._class_layer is None:
            like = self.pixel_mean
            return torch.eye(self.num_classes, device=like.device, dtype=like.dtype)
        return class_weights_of(self._class_layer[0])


class ModuleNetwork(AdaptedNetwork):
    """Take any ``nn.Module`` that torch.fx can trace, given its last convolutional layer's name.

    The module is cut in two behind that layer, without hooks: the outputs of the layer are the maps
    A. Name the last layer, or group of layers, before the pooling: ``layer4`` of a ResNet, not a
    convolution within it that a shortcut passes by. The two parts use the weights of ``module``.

    input_size: side of its input, pixels. pixel_mean, pixel_std: normalisation of its input, for
    colours in [0, 1]; None: ImageNet's.
    Errors: ``UserError`` if there is no such layer, if it cannot be traced, if the layers after it
    need more than its output, or if the two parts do not compute what ``module`` does (its hooks).
    """

    class_layer_name = "(see the module)"

    def __init__(
        self,
        module: nn.Module,
        layer: str,
        *,
        input_size: int,
        pixel_mean: Sequence[float] | None = None,
        pixel_std: Sequence[float] | None = None,
    ) -> None:
        check_count("input_size", input_size)
        features, head, class_layer = cut(module, layer)
        super().__init__(_count_classes(module, input_size), 1.0, "none", 0.0)
        self._features, self._head = features, head
        self.state_colours(pixel_mean=pixel_mean, pixel_std=pixel_std)
        self.train(module.training)
        self._try(class_layer, input_size)
        self._compare_with(module, input_size)

    @torch.no_grad()
    def _compare_with(self, module: nn.Module, input_size: int) -> None:
        """Raise UserError where the two parts do not compute what the module does."""
        generator = torch.Generator().manual_seed(0)
        x_NCHW = torch.randn(1, 3, input_size, input_size, generator=generator)
        with evaluation_mode(module):  # clones, as a module may work in place
            wanted_NC, again_NC = module(x_NCHW.clone()), module(x_NCHW.clone())
        if not same_values(wanted_NC, again_NC):  # random in itself, or NaN: no answer to expect
            return
        with evaluation_mode(self):
            is_same = same_values(self(x_NCHW.clone()), wanted_NC)
        if not is_same:
            raise UserError(
                f"{type(module).__name__}: as torch.fx records it, it gives other class scores "
                "than it does: it has hooks, changes tensors in place, or treats some images in "
                "another way; write it as a CamNetwork (docs/extending.md)"
            )

    def _extract(self, x_NCHW: Tensor) -> Tensor:
        A_NKhw: Tensor = self._features(x_NCHW)
        return A_NKhw

    def forward_head(self, A_NKhw: Tensor) -> Tensor:
        """Run the layers after the named one."""
        # Cloned because the first of them may be a ReLU that works in place.
        logits_NC: Tensor = self._head(A_NKhw.clone())
        return logits_NC


def cut(module: nn.Module, layer: str) -> tuple[nn.Module, nn.Module, nn.Module | None]:
    """Cut a module in two behind a layer: input to A, A to logits; and find its class layer.

    The class layer is the last layer of the second part that has weights; None if no layer there
    has any. Errors: as of ``ModuleNetwork``.
    """
    names = dict(module.named_modules())
    if layer not in names or not layer:
        raise UserError(
            f"layer={layer}: the network has no such layer; it has {some_layers(names)}"
        )
    graph = _trace(module, layer)
    calls = [node for node in graph.nodes if node.op == "call_module" and node.target == layer]
    if len(calls) != 1:
        raise UserError(
            f"layer={layer}: the network runs it {len(calls)} times; name a layer that runs once"
        )
    behind, end = calls[0], next(node for node in graph.nodes if node.op == "output")
    features, head = fx.Graph(), fx.Graph()
    features.output(_copy(graph, _needed(behind, None), features, {})[behind])
    needed = _needed(end, behind)
    if any(node.op == "placeholder" for node in needed):
        raise UserError(
            f"layer={layer}: the layers after it need more than its output, as when a shortcut "
            "passes it by; name the group of layers that has both"
        )
    _copy(graph, needed, head, {behind: head.placeholder("A_NKhw")})
    weighty = [
        names[str(node.target)]
        for node in head.nodes
        if node.op == "call_module" and next(names[str(node.target)].parameters(), None) is not None
    ]
    class_layer = weighty[-1] if weighty else None
    return fx.GraphModule(module, features), fx.GraphModule(module, head), class_layer


def _count_classes(module: nn.Module, input_size: int) -> int:
    """Count the outputs of a module. Raises UserError if it takes no images or gives no scores."""
    name = type(module).__name__
    try:
        with evaluation_mode(module), torch.no_grad():
            logits = module(torch.zeros(1, 3, input_size, input_size))
    except Exception as error:  # whatever the module's own code raises
        reason = " ".join(str(error).split())
        raise UserError(
            f"{name} does not take float32 images of 3x{input_size}x{input_size} ({reason}): give "
            "another input_size, or a module that does"
        ) from error
    if not (isinstance(logits, Tensor) and logits.ndim == 2):
        raise UserError(f"{name} does not return class scores, one row an image: wrap it so")
    return logits.shape[1]


def _trace(module: nn.Module, layer: str) -> fx.Graph:
    """Record what a module computes, with ``layer`` as one step."""

    class Tracer(fx.Tracer):
        def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
            return module_qualified_name == layer or super().is_leaf_module(
                m, module_qualified_name
            )

    try:
        with evaluation_mode(module):  # the record holds the mode of functional dropout
            return Tracer().trace(module)
    except Exception as error:  # whatever the module's own code raises when traced
        reason = " ".join(str(error).split())
        raise UserError(
            f"{type(module).__name__} cannot be traced by torch.fx ({reason}): write it as a "
            "CamNetwork (docs/extending.md)"
        ) from error


def _copy(
    graph: fx.Graph, steps: set[fx.Node], into: fx.Graph, copies: dict[fx.Node, fx.Node]
) -> dict[fx.Node, fx.Node]:
    """Copy some steps of a graph into another, in order; give the copies by step, old ones too."""
    for node in graph.nodes:
        if node in steps:
            copies[node] = into.node_copy(node, copies.__getitem__)
    return copies


def _needed(end: fx.Node, stop: fx.Node | None) -> set[fx.Node]:
    """Find the steps that ``end`` depends on, itself too, without those that lead to ``stop``."""
    needed: set[fx.Node] = set()
    waiting = [end]
    while waiting:
        node = waiting.pop()
        if node is stop or node in needed:
            continue
        needed.add(node)
        waiting += node.all_input_nodes
    return needed
