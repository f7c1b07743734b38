"""Caffe's files: their bytes, and what is said of one that is damaged."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import torch
from caffe_files import bytes_field, caffemodel, number_field, packed, v2_blob, write
from caffe_helpers import numbered_blobs
from hypothesis import given
from hypothesis import strategies as st
from model_helpers import build

from cam_repro.errors import UserError
from cam_repro.models import load_weights
from cam_repro.models.caffe import net_parameter, read_caffemodel


def test_literal_bytes_of_the_older_form(tmp_path):
    """layers { name: "fc" blobs { num..width: 1 1 2 1 data: 0.5 -2 } blobs { ... data: 1 } }."""
    path = tmp_path / "w.caffemodel"
    weight = bytes.fromhex("0801 1001 1802 2001 2a08 0000003f 000000c0")
    bias = bytes.fromhex("0801 1001 1801 2001 2a04 0000803f")
    layer = bytes.fromhex("2202") + b"fc" + bytes.fromhex("280e") + b"\x32\x12" + weight
    layer += b"\x32\x0e" + bias
    path.write_bytes(b"\x0a\x01n" + b"\x12" + bytes([len(layer)]) + layer)
    (fc,) = read_caffemodel(path)
    assert fc.name == "fc"
    assert [blob.tolist() for blob in fc.blobs] == [[[[[0.5], [-2.0]]]], [[[[1.0]]]]]


def test_literal_bytes_of_the_newer_form(tmp_path):
    """layer { name: "fc" type: "InnerProduct" blobs { data: 0.5 -2 shape { dim: 2 dim: 1 } } }."""
    path = tmp_path / "w.caffemodel"
    weight = bytes.fromhex("2a08 0000003f 000000c0 3a04 0a02 0201")
    layer = b"\x0a\x02fc" + b"\x12\x0cInnerProduct" + b"\x3a\x10" + weight
    path.write_bytes(b"\xa2\x06" + bytes([len(layer)]) + layer)
    (fc,) = read_caffemodel(path)
    assert fc.name == "fc"
    assert [blob.tolist() for blob in fc.blobs] == [[[0.5], [-2.0]]]
    assert fc.blobs[0].dtype == np.float32


@pytest.mark.parametrize("form", [1, 2])
def test_the_library_writes_what_the_tests_write(form, tmp_path):
    layers = {
        "conv1": numbered_blobs((2, 3, 2, 2), (2,)),
        "pool1": [],
        "fc6": numbered_blobs((4, 2), (4,)),
    }
    net = net_parameter()()
    for name, blobs in layers.items():
        layer = (net.layers if form == 1 else net.layer).add(name=name)
        for array in blobs:
            blob = layer.blobs.add(data=[array.tobytes()])
            if form == 1:
                shape = (1,) * (4 - array.ndim) + array.shape
                blob.num, blob.channels, blob.height, blob.width = shape
            else:
                blob.shape.dim.extend(array.shape)
    (tmp_path / "library").write_bytes(net.SerializeToString())
    write(tmp_path / "hand", layers, form)
    library, hand = (read_caffemodel(tmp_path / name) for name in ("library", "hand"))
    assert [layer.name for layer in hand] == ["conv1", "pool1", "fc6"]
    for one, two, blobs in zip(library, hand, layers.values(), strict=True):
        assert one.name == two.name
        assert len(one.blobs) == len(two.blobs) == len(blobs)
        for a, b, array in zip(one.blobs, two.blobs, blobs, strict=True):
            assert np.array_equal(a, b)
            assert np.array_equal(a.reshape(array.shape), array)
            assert a.shape == (array.shape if form == 2 else (1,) * (4 - array.ndim) + array.shape)


def _one_blob(content: bytes) -> bytes:
    return bytes_field(100, bytes_field(1, b"conv1") + bytes_field(7, content))


def test_numbers_in_pieces_and_in_double_precision(tmp_path):
    """A packed list may come in pieces; Caffe on double precision writes another field."""
    shape = bytes_field(7, bytes_field(1, bytes([3])))
    first, rest = np.array([1.5, 2.5], np.float32), np.array([-4.0], np.float32)
    doubles = bytes_field(8, struct.pack("<3d", 1.5, 2.5, -4.0))
    differences = packed(6, np.ones(3, np.float32))  # gradients of a training run: of no use
    path = tmp_path / "w.caffemodel"
    for content in (packed(5, first) + packed(5, rest) + shape, doubles + shape + differences):
        path.write_bytes(_one_blob(content))
        (layer,) = read_caffemodel(path)
        assert layer.blobs[0].tolist() == [1.5, 2.5, -4.0]
        assert layer.blobs[0].dtype == np.float32


def test_bad_files_are_one_line_that_names_them(tmp_path):
    good = caffemodel({"conv1": numbered_blobs((2, 3, 2, 2), (2,))})
    blob = v2_blob(numbered_blobs((3,))[0])
    unpacked = b"".join(b"\x2d" + struct.pack("<f", x) for x in (1.0, 2.0))
    bad = {
        "cut": good[:-9],
        "empty": b"",
        "html": b"<html>404 not found</html>",
        "prototxt": b'name: "CaffeNet"\nlayer { name: "conv1" }\n',
        "no_weights": caffemodel({"conv1": [], "pool1": []}),
        # layers { layer { name: "conv1" blobs { ... } } }, of 2013
        "v0": bytes_field(2, bytes_field(1, bytes_field(1, b"conv1") + bytes_field(50, blob))),
        "too_few": _one_blob(packed(5, np.ones(2, np.float32)) + blob[-5:]),
        "half_a_number": _one_blob(bytes_field(5, b"\0" * 6) + number_field(1, 1)),
        "unpacked": _one_blob(unpacked + bytes_field(7, bytes_field(1, bytes([2])))),
        "negative": _one_blob(bytes_field(7, bytes_field(1, b"\xff" * 9 + b"\x01"))),
        "axes": _one_blob(
            packed(5, np.ones(1, np.float32)) + bytes_field(7, bytes_field(1, b"\1" * 70))
        ),
        "huge": _one_blob(bytes_field(7, bytes_field(1, b"\0" + (b"\xff" * 8 + b"\x7f") * 3))),
        "name": bytes_field(100, bytes_field(1, b"\xff\xfe") + bytes_field(7, blob)),
    }
    network = build("vgg", variant="caffe")
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    for name, content in bad.items():
        path = tmp_path / f"{name}.caffemodel"
        path.write_bytes(content)
        with pytest.raises(UserError, match=f"{name}.caffemodel") as caught:
            load_weights(network, str(path), name="vgg")
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"absent\.caffemodel: there is no such file"):
        load_weights(network, str(tmp_path / "absent.caffemodel"), name="vgg")
    with pytest.raises(UserError, match=r"layer conv1 has a blob of 3 with 2 packed numbers"):
        read_caffemodel(tmp_path / "too_few.caffemodel")
    with pytest.raises(UserError, match=r"layer conv1 has a blob of 2 with 0 packed numbers"):
        read_caffemodel(tmp_path / "unpacked.caffemodel")
    with pytest.raises(UserError, match=r"layer conv1 has a blob of 1x1x.* with 1 packed numbers"):
        read_caffemodel(tmp_path / "axes.caffemodel")
    with pytest.raises(UserError, match="upgrade_net_proto_binary"):
        read_caffemodel(tmp_path / "v0.caffemodel")
    assert all(torch.equal(before[key], tensor) for key, tensor in network.state_dict().items())


@given(st.data(), st.sampled_from([1, 2]))
def test_a_damaged_file_is_refused_or_read_never_a_traceback(tmp_path_factory, data, form):
    content = bytearray(
        caffemodel(
            {"conv1": numbered_blobs((2, 3, 1, 1), (2,)), "fc": numbered_blobs((2, 2))}, form
        )
    )
    del content[data.draw(st.integers(0, len(content))) :]
    if content:
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.caffemodel"
    path.write_bytes(content)
    message = "damaged.caffemodel"
    try:
        assert any(layer.blobs for layer in read_caffemodel(path))
    except UserError as error:
        message = str(error)
    assert "damaged.caffemodel" in message
    assert "\n" not in message
