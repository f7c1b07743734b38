"""Caffemodels as bytes put together by hand, from the field numbers of caffe.proto alone.

Nothing here uses the protobuf library or the reader's schema, so that a wrong number there shows.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from cam_repro.models import CamNetwork

Blobs = Sequence[np.ndarray]

V1_TYPES = {"Convolution": 4, "InnerProduct": 14, "LRN": 15, "Pooling": 17}


def varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first, the eighth set on all but the last."""
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def number_field(field: int, value: int) -> bytes:
    """Wire type 0."""
    return varint(field << 3) + varint(value)


def bytes_field(field: int, content: bytes) -> bytes:
    """Wire type 2: text, a message, a packed list."""
    return varint(field << 3 | 2) + varint(len(content)) + content


def packed(field: int, values: np.ndarray) -> bytes:
    """A packed list of floats."""
    return bytes_field(field, struct.pack(f"<{values.size}f", *values.ravel().tolist()))


def v1_blob(array: np.ndarray) -> bytes:
    """Shape as num, channels, height, width."""
    shape = (1,) * (4 - array.ndim) + array.shape
    sizes = b"".join(number_field(i, size) for i, size in enumerate(shape, 1))
    return sizes + packed(5, array)


def v2_blob(array: np.ndarray) -> bytes:
    """Shape as a message with a packed list of its own, behind the numbers."""
    return packed(5, array) + bytes_field(7, bytes_field(1, b"".join(map(varint, array.shape))))


def v1_layer(name: str, blobs: Blobs, kind: str = "Convolution") -> bytes:
    """A V1LayerParameter, with bottom and top before and blobs_lr behind, which readers skip."""
    return bytes_field(
        2,
        bytes_field(2, b"below")
        + bytes_field(3, name.encode())
        + bytes_field(4, name.encode())
        + number_field(5, V1_TYPES[kind])
        + b"".join(bytes_field(6, v1_blob(blob)) for blob in blobs)
        + packed(7, np.ones(2, np.float32)),
    )


def v2_layer(name: str, blobs: Blobs, kind: str = "Convolution") -> bytes:
    """A LayerParameter, with bottom, top and phase, which readers skip."""
    return bytes_field(
        100,
        bytes_field(1, name.encode())
        + bytes_field(2, kind.encode())
        + bytes_field(3, b"below")
        + bytes_field(4, name.encode())
        + b"".join(bytes_field(7, v2_blob(blob)) for blob in blobs)
        + number_field(10, 1),
    )


def caffemodel(layers: Mapping[str, Blobs], form: int = 2) -> bytes:
    """A NetParameter of form 1 (2014) or 2; names with ``pool`` or ``norm`` are such layers."""
    layer = {1: v1_layer, 2: v2_layer}[form]

    def kind(name: str) -> str:
        return "Pooling" if "pool" in name else "LRN" if "norm" in name else "Convolution"

    return bytes_field(1, b"a net") + b"".join(
        layer(name, blobs, kind(name)) for name, blobs in layers.items()
    )


def layers_of(network: CamNetwork) -> dict[str, list[np.ndarray]]:
    """The blobs that Caffe would keep for ``model``: its weights with blue, green, red input."""
    state = {key: tensor.numpy() for key, tensor in network.state_dict().items()}
    layers: dict[str, list[np.ndarray]] = {}
    for theirs, ours in network.caffe_layers.items():
        if f"{ours}.weight" in state and theirs not in ("fc9", "CAM_fc"):
            layers[theirs] = [state[f"{ours}.weight"], state[f"{ours}.bias"]]
    if "cam_fc.weight" in state:
        name = "fc9" if "conv7" in layers else "CAM_fc"
        layers[name] = [state[f"cam_fc.{part}"] for part in ("weight", "bias")]
    first = next(iter(layers))
    layers[first] = [layers[first][0][:, ::-1], layers[first][1]]
    return layers


def randomise(network: CamNetwork, seed: int = 0) -> CamNetwork:
    """Weights of He's size and biases that are not 0."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                fan_in = parameter[0].numel()
                parameter.normal_(0, (2 / fan_in) ** 0.5, generator=generator)
            else:
                parameter.normal_(0, 0.1, generator=generator)
    return network


def write(path: Path, layers: Mapping[str, Blobs], form: int = 2) -> str:
    """The file's name."""
    path.write_bytes(caffemodel(layers, form))
    return str(path)
