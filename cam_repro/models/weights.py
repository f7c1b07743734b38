"""Load weights by the names of layers: torchvision's, Caffe's, a file's or another run's.

A layer means all tensors of one module: ``features.0`` is its weight and its bias. A layer is taken
if file and network have the same tensors with the same shapes under its name; else all of it is
left. Everything is checked before anything is copied. The log names the blocks that were taken or
left, and at level debug each layer.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from torch import nn

from cam_repro.classes import ilsvrc_classes
from cam_repro.errors import UserError
from cam_repro.models.base import IMAGENET_MEAN, IMAGENET_STD, CamNetwork
from cam_repro.models.caffe import SUFFIX, caffe_state
from cam_repro.models.layers import BLOCK_EPS
from cam_repro.models.modes import evaluation_mode
from cam_repro.models.weight_files import State, find_weights
from cam_repro.runs.manifest import check_unchanged

log = logging.getLogger(__name__)

Shape = tuple[int, ...]

NORMALISATION = ("pixel_mean", "pixel_std")
COUNTER = ".num_batches_tracked"
"""The end of the name of batch norm's counter, which nothing reads here and old files lack."""

OF_ILSVRC = (
    "; if they are among ILSVRC's, model.take_classes=true takes their outputs alone, or"
    " data.classes=ilsvrc all 1,000"
)
"""What to do where the weights are of ILSVRC and the data set is a part of it."""

WRITE_AGAIN = "restore it, or run the command that wrote it again, with overwrite=true"
"""What to do where a run's weights have changed since."""

NAMED = 3
"""How many names of each kind an error message lists at most."""


@dataclass
class LoadReport:
    """Hold what happened to each layer of the network and each entry of the file.

    source: the value of ``model.weights``. part: which part of the file was taken, in words
    (``Found.words``). taken: layers that were copied from the file. left:
    layers that the file does not have; they keep their initial values. mismatched: tensors that
    differ in layers that both have, as (tensor, shape in the file, shape in the network), with
    None for a shape if that side lacks the tensor; these layers keep their initial values too.
    unused: entries of the file that the network has no layer for. folded: blocks of the file whose
    batch norm was folded into their convolution. names: the file's names of layers by ours, if the
    two differ.
    """

    source: str = "random"
    part: str = ""
    taken: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    mismatched: list[tuple[str, Shape | None, Shape | None]] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    folded: list[str] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)

    def called(self, name: str) -> str:
        """Name a layer or tensor for a message; with the file's name before ours if they differ."""
        theirs = self.names.get(name) or self.names.get(_layer_of(name))
        return f"{theirs} ({name})" if theirs else name

    def summary(self) -> str:
        """Say in one line how many layers were taken, and how many were not, if any."""
        unfit = dict.fromkeys(_layer_of(name) for name, _, _ in self.mismatched)
        parts = [
            (len(self.left), "not in the file and left at their initial values"),
            (len(unfit), "of another shape and left at their initial values"),
            (len(self.unused), "entries of the file not used"),
        ]
        odd = "".join(f", {count} {what}" for count, what in parts if count)
        all_of_them = "" if odd else "all "
        return f"weights {self.source}{self.part}: {all_of_them}{len(self.taken)} layers taken{odd}"


@dataclass(frozen=True)
class Outputs:
    """Say which outputs of a class layer to take: ``rows``, in that order, of ``known`` in all."""

    rows: list[int]
    known: int


def load_weights(
    network: CamNetwork,
    weights: str | None,
    *,
    name: str = "network",
    strict: bool = False,
    input_size: int | None = None,
    outputs: Outputs | None = None,
) -> LoadReport:
    """Load ``weights`` into ``network``, in place, and report what happened to every layer.

    weights: None (the random values stay), ``torchvision`` (downloaded to torch's cache), a word
    that the network's class knows (``named_weights``), or a file.
    A file is a ``.safetensors``, a ``.caffemodel`` (see caffe.py), or else a torch file with the
    tensors by name, at its top or under a key, as other programs write it (see weight_files.py).
    Half precision becomes float32. Code in a torch file is never run.
    name: the network's name in messages.
    strict: True, for scoring: every layer must be in the file, and every entry of the file must
    have a place in the network. False, for fine-tuning: the layers that fit are taken.
    input_size: side of the network's input, pixels; what is said of a file then names the maps'.
    outputs: which of the file's class layer are the network's; None: all.
    Errors: ``UserError``, and the network is unchanged, if the file cannot be read, has values
    that are no numbers or is not as the manifest beside it says; with ``strict`` if file and
    network differ; without it if no layer fits at all.
    """
    if weights is None:
        return LoadReport(left=list(_layers(network.state_dict())))
    report = LoadReport(source=weights)
    named = network.named_weights(weights)
    if named is not None:
        state = dict(named)
    elif weights == "torchvision":
        state = dict(network.renamed(_torchvision_state(network, name)))
    elif weights.endswith(SUFFIX):
        state, report.names = caffe_state(network, weights, name)
    else:
        check_unchanged(Path(weights), WRITE_AGAIN)
        found = find_weights(weights, len(_tensors(network)), partial(_count_fitting, network))
        state, report.part = dict(network.renamed(found.state)), found.words
    if outputs is not None:
        _take_outputs(network, state, outputs, report)
    _refuse_unknown_colours(network, state, report)
    if not any(isinstance(module, nn.BatchNorm2d) for module in network.modules()):
        state, report.folded = fold_batch_norm(state)
    _match(network, state, report)
    _refuse_foreign_norm(network, report, name)
    if strict:
        _refuse_difference(network, report, name)
    elif not report.taken:
        raise UserError(
            f"weights {weights} do not fit {name}: no layer has the same name and shapes"
            f" ({_first_difference(report)})"
        )
    _refuse_no_numbers(state, report)
    with torch.no_grad():
        own = network.state_dict()
        for layer in report.taken:
            for tensor_name in _layers(own)[layer]:
                if tensor_name in state:
                    own[tensor_name].copy_(state[tensor_name])
        _set_normalisation(network, state)
    _log_report(report)
    if named is None and weights != "torchvision":
        _say_assumed(network, state, report, name, input_size)
    return report


def _take_outputs(network: CamNetwork, state: State, outputs: Outputs, report: LoadReport) -> None:
    """Leave of the file's class layer, in ``state``, the outputs that are wanted."""
    for key in [key for key in state if _layer_of(key) == network.class_layer_name]:
        n_outputs = state[key].shape[0] if state[key].ndim else 0
        if n_outputs != outputs.known:
            raise UserError(
                f"model.take_classes=true: class layer {report.called(_layer_of(key))} of"
                f" {report.source} has {n_outputs} classes, not the {outputs.known:,} that are"
                " known by name"
            )
        state[key] = state[key][outputs.rows]
    log.info(
        "weights %s: of their %s classes the data set's %d are taken; the others do not compete",
        report.source,
        f"{outputs.known:,}",
        len(outputs.rows),
    )


def fold_batch_norm(state: State) -> tuple[State, list[str]]:
    """Fold the batch norm of every ``ConvBlock`` into its convolution, for evaluation.

    With s = gamma / sqrt(variance + eps) for each output channel, the new weight is s * weight and
    the new bias is beta + s * (bias - mean). Returns all tensors, and the names of the blocks.
    """
    folded = dict(state)
    blocks = [
        key.removesuffix(".bn.running_var") for key in state if key.endswith(".bn.running_var")
    ]
    done: list[str] = []
    for block in blocks:
        norm = {
            part: state.get(f"{block}.bn.{part}")
            for part in ("weight", "bias", "running_mean", "running_var")
        }
        weight = state.get(f"{block}.conv.weight")
        if weight is None or any(part is None for part in norm.values()):
            continue  # an incomplete block: _match reports it
        # In double precision, so that only the result is rounded to float32.
        gamma, beta, mean, variance = (part.double() for part in norm.values() if part is not None)
        scale = gamma / torch.sqrt(variance + BLOCK_EPS)
        folded[f"{block}.conv.weight"] = (weight.double() * scale[:, None, None, None]).to(
            weight.dtype
        )
        bias = state.get(f"{block}.conv.bias", torch.zeros_like(mean))
        folded[f"{block}.conv.bias"] = (beta + (bias - mean) * scale).to(weight.dtype)
        for part in (*norm, "num_batches_tracked"):
            folded.pop(f"{block}.bn.{part}", None)
        done.append(block)
    return folded, done


def _torchvision_state(network: CamNetwork, name: str) -> State:
    """Download torchvision's ImageNet weights, always IMAGENET1K_V1, its first recipe."""
    if network.torchvision_name is None:
        raise UserError(
            f"model.weights=torchvision: torchvision has none for {name}"
            + (f" with model.variant={network.built_as.name}" if network.built_as.is_caffe else "")
            + "; give a file, or null"
        )
    # Imported here because it takes a second, and only torchvision's weights need it.
    from torchvision.models import get_model_weights

    entry = get_model_weights(network.torchvision_name)["IMAGENET1K_V1"]
    try:
        state: State = dict(entry.get_state_dict(progress=False, check_hash=True))
    except Exception as error:  # no network, no space, a proxy's page in place of the file ...
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"model.weights=torchvision: the download failed ({reason}); fetch {entry.url} on a"
            " machine that can, and give model.weights=FILE"
        ) from error
    return state


def _layer_of(tensor_name: str) -> str:
    """Name the layer that a tensor belongs to."""
    return tensor_name.rpartition(".")[0]


def _layers(state: Mapping[str, torch.Tensor]) -> dict[str, list[str]]:
    """List the names of the tensors of each layer, in order, without the normalisation."""
    layers: dict[str, list[str]] = {}
    for key in state:
        if key not in NORMALISATION:
            layers.setdefault(_layer_of(key), []).append(key)
    return layers


def _tensors(network: CamNetwork) -> list[str]:
    """List the names of the network's tensors that a file of its weights has."""
    names = network.state_dict()
    return [key for key in names if key not in NORMALISATION and not key.endswith(COUNTER)]


def _count_fitting(network: CamNetwork, state: State) -> int:
    """Count the tensors of the network that have the name of one in a file."""
    return len(network.renamed(state).keys() & _tensors(network))


def _match(network: CamNetwork, state: State, report: LoadReport) -> None:
    """Fill the report: which layers fit the file, and which entries of it are not used."""
    own = network.state_dict()
    theirs = _layers(state)
    layers = _layers(own)
    for layer, names in layers.items():
        if layer not in theirs:
            report.left.append(layer)
            continue
        differing: list[tuple[str, Shape | None, Shape | None]] = []
        for key in dict.fromkeys([*names, *theirs[layer]]):
            file_shape = tuple(state[key].shape) if key in state else None
            shape = tuple(own[key].shape) if key in own else None
            if file_shape != shape and not key.endswith(COUNTER):
                differing.append((key, file_shape, shape))
        if differing:
            report.mismatched += differing
        else:
            report.taken.append(layer)
    report.unused = [key for layer, names in theirs.items() if layer not in layers for key in names]
    for key in NORMALISATION:
        if key in state and state[key].shape != own[key].shape:
            report.mismatched.append((key, tuple(state[key].shape), tuple(own[key].shape)))


def _refuse_foreign_norm(network: CamNetwork, report: LoadReport, name: str) -> None:
    """Refuse weights trained with batch norm for a network without: they would be useless."""
    foreign = [
        key
        for key in report.unused
        if key.endswith(".running_var") and not key.startswith(network.ignored_in_files)
    ]
    has_norm = any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    if foreign and not has_norm:
        raise UserError(
            f"weights {report.source} were trained with batch norm, {name} has none:"
            " set model.norm=batch"
        )


def _is_of_255(value: torch.Tensor) -> bool:
    """Tell whether a normalisation is of colours of 0 to 255; they are in [0, 1] here."""
    value = value.float()  # float8 cannot be compared
    return bool((value.isfinite() & (value > 1)).any())


def _refuse_unknown_colours(network: CamNetwork, state: State, report: LoadReport) -> None:
    """Refuse a file whose normalisation cannot be, or is missing for a Caffe variant.

    A file without one may be for torchvision's variant.
    """
    for key in NORMALISATION:
        own = network.get_buffer(key)
        if key in state and state[key].numel() != own.numel():
            raise UserError(
                f"weights {report.source}: {key} is {_written(tuple(state[key].shape))}, not"
                f" {_written(tuple(own.shape))}, one number for each colour"
            )
        if key == "pixel_std" and key in state and not bool((state[key] > 0).all()):
            raise UserError(f"weights {report.source}: {key} is not above 0 for each colour")
        if key in state and key not in network.stated_colours and _is_of_255(state[key]):
            raise UserError(
                f"weights {report.source}: {key}={_colours(state[key])} is of colours of 0 to 255,"
                f" and here they are in [0, 1]: state model.{key} divided by 255"
            )
    if network.built_as.is_caffe and not all(key in state for key in NORMALISATION):
        raise UserError(
            f"weights {report.source} do not say how colours are normalised ({NORMALISATION[0]}):"
            f" with model.variant={network.built_as.name} give a {SUFFIX} or a checkpoint of such a"
            " run"
        )


def _refuse_difference(network: CamNetwork, report: LoadReport, name: str) -> None:
    """Refuse a file that differs from the network; a wrong number of classes is said first."""
    for key, file_shape, shape in report.mismatched:
        is_class_layer = _layer_of(key) == network.class_layer_name
        if is_class_layer and file_shape and shape and file_shape[0] != shape[0]:
            raise UserError(
                f"weights {report.source}: class layer {report.called(_layer_of(key))} has"
                f" {file_shape[0]} classes, the data set has {shape[0]}"
                + (OF_ILSVRC if file_shape[0] == len(ilsvrc_classes()) else "")
            )
    unused = [key for key in report.unused if not key.startswith(network.ignored_in_files)]
    if report.mismatched or report.left or unused:
        remedy = (
            "; set model.variant=caffe" if report.names and not network.built_as.is_caffe else ""
        )
        raise UserError(
            f"weights {report.source} are not those of {name}: {_first_difference(report)}{remedy}"
        )


def _first_difference(report: LoadReport) -> str:
    """List the differences for an error message: the first ``NAMED`` names of each kind."""
    kinds = {
        "other shapes": [
            f"{report.called(key)} is {_written(theirs)} in the file,"
            f" {_written(own)} in the network"
            for key, theirs, own in report.mismatched
        ],
        "not in the file": [report.called(layer) for layer in report.left],
        "without a place": report.unused,
    }
    return "; ".join(
        f"{kind}: {', '.join(names[:NAMED])}"
        + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
        for kind, names in kinds.items()
        if names
    )


def _written(shape: Shape | None) -> str:
    """Write a shape for a message, as 64x3x7x7."""
    return "missing" if shape is None else "x".join(map(str, shape)) or "a scalar"


def _refuse_no_numbers(state: State, report: LoadReport) -> None:
    """Refuse a file if a tensor that would be copied has values that are NaN or infinite."""
    for key, tensor in state.items():
        is_taken = key in NORMALISATION or _layer_of(key) in report.taken
        if not (is_taken and tensor.is_floating_point() and tensor.numel()):
            continue
        # The extremes are NaN if any value is; they take a tenth of the time of isfinite.
        if not all(extreme.isfinite() for extreme in tensor.aminmax()):
            bad = tensor.numel() - int(tensor.isfinite().sum())
            raise UserError(
                f"weights {report.source}: {bad:,} of {tensor.numel():,} values of"
                f" {report.called(key)} are NaN or infinite: take an older checkpoint"
            )


def _set_normalisation(network: CamNetwork, state: State) -> None:
    """Set the normalisation that the file contains, or else the network's default for files.

    What the settings state stays; if the file contains another, that is said.
    """
    known = {"pixel_mean": network.file_pixel_mean, "pixel_std": network.file_pixel_std}
    for key in NORMALISATION:
        buffer = network.get_buffer(key)
        value = state[key] if key in state else torch.tensor(known[key])
        value = value.to(buffer.dtype).reshape(buffer.shape)
        if key not in network.stated_colours:
            buffer.copy_(value)
        elif key in state and not torch.allclose(buffer, value, rtol=1e-3):
            log.warning(
                "model.%s=%s is used, although the file of weights has %s",
                key,
                _colours(buffer),
                _colours(value),
            )


def _say_assumed(
    network: CamNetwork, state: State, report: LoadReport, name: str, input_size: int | None
) -> None:
    """Say what is assumed of a file that another program wrote, as the file does not say it.

    Files that have a normalisation come from these networks themselves, or from Caffe.
    """
    unsaid = [key for key in NORMALISATION if key not in state]
    if not unsaid:
        return
    colours = [
        f"model.{key}={_colours(network.get_buffer(key))}"
        for key in unsaid
        if key not in network.stated_colours
    ]
    is_imagenets = (network.file_pixel_mean, network.file_pixel_std) == (
        IMAGENET_MEAN,
        IMAGENET_STD,
    )
    note = network.file_colours or ("ImageNet's" if is_imagenets else "")
    assumed = [" ".join(colours) + (f" ({note})" if note else "")] if colours else []
    size = "" if input_size is None or network.no_maps else _map_size(network, input_size)
    others = f" ({network.same_layers})" if network.same_layers else ""
    assumed.append(f"strides, paddings and dilations of {name}{size}{others}")
    log.warning("weights %s: not in the file, so assumed: %s", report.source, "; ".join(assumed))


def _map_size(network: CamNetwork, input_size: int) -> str:
    """Say how large the network's maps are."""
    with evaluation_mode(network), torch.no_grad():
        x_NCHW = torch.zeros(1, 3, input_size, input_size)
        height, width = network.forward_features(x_NCHW).shape[-2:]
    return f", with {width}x{height} maps of {input_size}x{input_size} pixels"


def _colours(colours: torch.Tensor) -> str:
    """Write a number for each colour, as a setting has it."""
    return f"[{','.join(f'{value:.4g}' for value in colours.flatten().tolist())}]"


def _log_report(report: LoadReport) -> None:
    """Log the summary and a line for each kind of layer; each single layer only at level debug.

    The terminal shows no debug lines, the log file of a run has them (commands/common.py).
    """
    log.info("%s", report.summary())
    not_used = list(_layers(dict.fromkeys(report.unused, torch.empty(0))))
    kinds = [("taken", report.taken), ("left", report.left), ("not used", not_used)]
    if report.left or report.mismatched or report.unused:  # else the line above says it all
        for kind, layers in kinds:
            if layers:
                log.info("  %-10s %s%s", kind, _grouped(layers), WHERE.get(kind, ""))
    for block in report.folded:
        log.debug("  folded     %s", block)
    for kind, layers in kinds:
        for layer in layers:
            log.debug("  %-10s %s%s", kind, report.called(layer), WHERE.get(kind, ""))
    for number, (key, theirs, own) in enumerate(report.mismatched):
        log.log(
            logging.WARNING if number < NAMED else logging.DEBUG,
            "  left       %s (%s in the file, %s in the network)",
            report.called(key),
            _written(theirs),
            _written(own),
        )
    if len(report.mismatched) > NAMED:
        more = len(report.mismatched) - NAMED
        log.warning("  left       %d more of another shape (listed in the run's log file)", more)


WHERE = {"left": " (not in the file)", "not used": " (in the file)"}
"""What a line of the log adds to the layers of a kind."""


def _grouped(layers: list[str]) -> str:
    """List layers in few words: those of one block as ``features.0-28 (13 layers)``."""
    blocks: dict[str, list[str]] = {}
    for layer in layers:
        blocks.setdefault(layer.partition(".")[0], []).append(layer)
    words = []
    for block, members in blocks.items():
        inner = [member.removeprefix(f"{block}.").partition(".")[0] for member in members]
        numbered = all(map(str.isdigit, inner))
        span = "." + "-".join(dict.fromkeys([inner[0], inner[-1]])) if numbered else ""
        many = len(members) > 1
        words.append(f"{block}{span} ({len(members)} layers)" if many else members[0])
    return ", ".join(words)
