"""Read weights from Caffe's own files (``.caffemodel``), as tensors under our names.

A caffemodel is a protobuf message, NetParameter. It lists a network's layers with their blobs
(arrays of numbers): files released in 2014 in the field ``layers`` (V1LayerParameter), later files
in ``layer`` (LayerParameter). The field numbers are those of caffe.proto in BVLC/caffe; only the
fields that are needed here are declared.

The input of Caffe's networks is blue, green, red from 0 to 255, minus the mean of each. The input
of ours is red, green, blue, so the input channels of the first convolution are reversed.
``pixel_mean`` becomes mean / 255 and ``pixel_std`` 1 / 255, so that ``normalize`` gives the same
numbers as in Caffe (to float32 rounding). Both programs pad with zeros after subtracting the mean,
so borders are the same too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from cam_repro.errors import UserError
from cam_repro.models.base import CamNetwork

SUFFIX = ".caffemodel"

MAX_AXES = 32
"""How many dimensions a blob of Caffe's may have."""

_Field = descriptor_pb2.FieldDescriptorProto
_ONE, _MANY = _Field.LABEL_OPTIONAL, _Field.LABEL_REPEATED

# For each message its fields, as (name, number, type or name of a message, one or many).
#
# In a file, a packed list of numbers looks the same as a field of bytes. So the numbers of a blob
# are declared as bytes: protobuf then gives them in one piece, not number by number. They are
# declared as many because a writer may split a packed list into several pieces.
_SCHEMA: dict[str, tuple[tuple[str, int, int | str, int], ...]] = {
    "NetParameter": (
        ("layers", 2, "V1LayerParameter", _MANY),
        ("layer", 100, "LayerParameter", _MANY),
    ),
    "V1LayerParameter": (
        ("name", 4, _Field.TYPE_STRING, _ONE),
        ("blobs", 6, "BlobProto", _MANY),
    ),
    "LayerParameter": (
        ("name", 1, _Field.TYPE_STRING, _ONE),
        ("blobs", 7, "BlobProto", _MANY),
    ),
    "BlobProto": (
        ("num", 1, _Field.TYPE_INT32, _ONE),
        ("channels", 2, _Field.TYPE_INT32, _ONE),
        ("height", 3, _Field.TYPE_INT32, _ONE),
        ("width", 4, _Field.TYPE_INT32, _ONE),
        ("data", 5, _Field.TYPE_BYTES, _MANY),
        ("shape", 7, "BlobShape", _ONE),
        ("double_data", 8, _Field.TYPE_BYTES, _MANY),
    ),
    "BlobShape": (("dim", 1, _Field.TYPE_INT64, _MANY),),
}


@dataclass(frozen=True)
class CaffeLayer:
    """Hold a layer of a file: its name and its float32 blobs (weight and bias, or none at all)."""

    name: str
    blobs: tuple[np.ndarray, ...]


@cache
def net_parameter() -> Any:
    """Make protobuf's class for a caffemodel, in its own pool so that no other names clash."""
    package = "cam_repro_caffe"
    file = descriptor_pb2.FileDescriptorProto(
        name="cam_repro_caffe.proto", package=package, syntax="proto2"
    )
    for message_name, fields in _SCHEMA.items():
        message = file.message_type.add(name=message_name)
        for name, number, kind, label in fields:
            field = message.field.add(name=name, number=number, label=label)
            if isinstance(kind, str):
                field.type, field.type_name = _Field.TYPE_MESSAGE, f".{package}.{kind}"
            else:
                field.type = kind
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.NetParameter"))


def read_caffemodel(path: Path | str) -> list[CaffeLayer]:
    """Read all layers of a file in order, including those without blobs.

    Blobs keep the shapes that the file gives. In older files all blobs have four dimensions:
    1x1xOxI for the weights of a fully connected layer, 1x1x1xO for a bias.
    Errors: ``UserError`` naming the file if it is missing, is damaged, or holds no weights.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"model.weights={path}: there is no such file")
    try:
        net = net_parameter().FromString(path.read_bytes())
        messages = [*net.layers, *net.layer]
        layers = [
            CaffeLayer(message.name, tuple(_blob(blob, message.name) for blob in message.blobs))
            for message in messages
        ]
    except (DecodeError, UnicodeDecodeError, UserError) as error:
        raise UserError(
            f"model.weights={path}: cannot be read as a caffemodel; it is damaged, cut short or"
            f" something else ({' '.join(str(error).split())})"
        ) from error
    if not any(layer.blobs for layer in layers):
        raise UserError(
            f"model.weights={path}: holds no layers with weights; it is no caffemodel, or one of"
            " the oldest format, which Caffe's upgrade_net_proto_binary converts"
        )
    return layers


def caffe_state(
    network: CamNetwork, path: Path | str, name: str
) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Read a caffemodel for ``network``: its tensors by our names, and Caffe's layer names by ours.

    A layer that the network does not have keeps Caffe's name. A bias that the network has and the
    file has not is 0, as it was in Caffe. The tensors include the normalisation of the input,
    ``pixel_mean`` and ``pixel_std``.
    name: the network's name in messages.
    Errors: ``UserError`` if the file cannot be read or has two layers of one name, if there are no
    Caffe weights for the network, or if the file is for another variant of it.
    """
    if all(variant.caffe is None for variant in network.variants.values()):
        raise UserError(f"model.weights={path}: there are no Caffe weights for {name}")
    caffe = network.built_as.caffe
    if caffe is None:
        raise UserError(
            f"model.weights={path}: Caffe's weights want the network as Caffe ran it:"
            " set model.variant=caffe"
        )
    layers = read_caffemodel(path)
    _check_order([layer.name for layer in layers], network, path)
    own = {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}
    places = {
        theirs: ours for theirs, ours in network.caffe_layers.items() if f"{ours}.weight" in own
    }
    if not places:
        raise UserError(f"model.weights={path}: there are no Caffe weights for {name}")
    first = next(iter(places))
    names = {ours: theirs for theirs, ours in places.items()}
    state: dict[str, torch.Tensor] = {}
    for layer in layers:
        ours = places.get(layer.name, layer.name)
        if layer.name in places:
            names[ours] = layer.name
        for part, blob in zip(_parts(len(layer.blobs)), layer.blobs, strict=True):
            key = f"{ours}.{part}"
            if key in state:
                raise UserError(f"model.weights={path}: has two layers {layer.name}")
            tensor = torch.from_numpy(_as_deep_as(blob, own.get(key)))
            if layer.name == first and tensor.ndim == 4 and tensor.shape[1] == 3:
                tensor = tensor.flip(1)  # blue, green, red to red, green, blue
            state[key] = tensor
    for ours in places.values():
        if f"{ours}.weight" in state and f"{ours}.bias" in own:
            state.setdefault(f"{ours}.bias", torch.zeros(own[f"{ours}.bias"]))
    state["pixel_mean"] = torch.tensor(caffe.pixel_mean).view(3, 1, 1) / 255
    state["pixel_std"] = torch.full((3, 1, 1), 1 / 255)
    return state, names


def _blob(blob: Any, layer: str) -> np.ndarray:
    """Turn a blob into a float32 array of its shape. layer: the layer's name in messages."""
    if blob.HasField("shape"):
        shape = tuple(blob.shape.dim)
    else:
        shape = (blob.num, blob.channels, blob.height, blob.width)
    raw = b"".join(blob.data)
    kind = "<f4"
    if not raw and blob.double_data:
        raw, kind = b"".join(blob.double_data), "<f8"
    count, rest = divmod(len(raw), np.dtype(kind).itemsize)
    is_shape = len(shape) <= MAX_AXES and min(shape, default=1) >= 0
    if rest or not is_shape or count != math.prod(shape):
        raise UserError(
            f"layer {layer} has a blob of {'x'.join(map(str, shape[:MAX_AXES]))} with {count}"
            " packed numbers"
        )
    # Of an empty blob the other sizes may be anything, more than numpy can count.
    return np.frombuffer(raw, kind).astype(np.float32).reshape(shape if count else 0)


def _parts(count: int) -> list[str]:
    """Name a layer's blobs: weight, bias, then blob2 and so on, which no network here uses."""
    return ["weight", "bias", *(f"blob{i}" for i in range(2, count))][:count]


def _as_deep_as(blob: np.ndarray, shape: Sequence[int] | None) -> np.ndarray:
    """Drop leading dimensions of 1, which older files add, until there are as many as in shape."""
    while shape is not None and blob.ndim > len(shape) and blob.shape[0] == 1:
        blob = blob[0]
    return blob


def _check_order(names: Sequence[str], network: CamNetwork, path: Path | str) -> None:
    """Refuse weights of another variant from which only the order of layers differs."""
    for variant in network.variants.values():
        order = variant.caffe.order if variant.caffe else ()
        found = tuple(name for name in names if name in order)
        if order and found == order and variant != network.built_as:
            raise UserError(
                f"model.weights={path}: its network has {' before '.join(order)}, which"
                f" model.variant={network.built_as.name} does not have:"
                f" set model.variant={variant.name}"
            )
