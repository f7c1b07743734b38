"""Caffe's files and Caffe's networks: bytes, names, colours, and the layers one by one."""

from __future__ import annotations

import logging
import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from caffe_files import (
    bytes_field,
    caffemodel,
    layers_of,
    number_field,
    packed,
    randomise,
    v2_blob,
    write,
)
from hypothesis import given
from hypothesis import strategies as st
from model_helpers import build, config
from torch import nn

from cam_repro.errors import UserError
from cam_repro.models import CamNetwork, build_model, load_weights
from cam_repro.models.caffe import net_parameter, read_caffemodel
from cam_repro.models.googlenet import UNITS
from cam_repro.models.layers import caffe_lrn, ceil_max_pool

# network, variant
NETWORKS = [
    ("alexnet", "caffe"),
    ("alexnet", "bvlc_alexnet"),
    ("alexnet_gap", "caffe"),
    ("alexnet_star_gap", "caffe"),
    ("vgg", "caffe"),
    ("vgg_gap", "caffe"),
    ("googlenet", "caffe"),
    ("googlenet_gap", "caffe"),
    ("googlenet_gmp", "caffe"),
    ("nin", "caffe"),
]


def _blobs(*shapes: tuple[int, ...]) -> list[np.ndarray]:
    """Numbers that count up from 0.5, which float32 has exactly."""
    return [np.arange(math.prod(shape), dtype=np.float32).reshape(shape) + 0.5 for shape in shapes]


# --- the file


def test_literal_bytes_of_the_older_form(tmp_path: Path) -> None:
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


def test_literal_bytes_of_the_newer_form(tmp_path: Path) -> None:
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
def test_the_library_writes_what_the_tests_write(form: int, tmp_path: Path) -> None:
    layers = {"conv1": _blobs((2, 3, 2, 2), (2,)), "pool1": [], "fc6": _blobs((4, 2), (4,))}
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


def test_numbers_in_pieces_and_in_double_precision(tmp_path: Path) -> None:
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


def test_bad_files_are_one_line_that_names_them(tmp_path: Path) -> None:
    good = caffemodel({"conv1": _blobs((2, 3, 2, 2), (2,))})
    blob = v2_blob(_blobs((3,))[0])
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
        "name": bytes_field(100, bytes_field(1, b"\xff\xfe") + bytes_field(7, blob)),
    }
    model = build("vgg", variant="caffe")
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    for name, content in bad.items():
        path = tmp_path / f"{name}.caffemodel"
        path.write_bytes(content)
        with pytest.raises(UserError, match=f"{name}.caffemodel") as caught:
            load_weights(model, str(path), name="vgg")
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"absent\.caffemodel: there is no such file"):
        load_weights(model, str(tmp_path / "absent.caffemodel"), name="vgg")
    with pytest.raises(UserError, match=r"layer conv1 has a blob of 3 with 2 packed numbers"):
        read_caffemodel(tmp_path / "too_few.caffemodel")
    with pytest.raises(UserError, match=r"layer conv1 has a blob of 2 with 0 packed numbers"):
        read_caffemodel(tmp_path / "unpacked.caffemodel")
    with pytest.raises(UserError, match="upgrade_net_proto_binary"):
        read_caffemodel(tmp_path / "v0.caffemodel")
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())


@given(st.data(), st.sampled_from([1, 2]))
def test_a_damaged_file_is_refused_or_read_never_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, form: int
) -> None:
    content = bytearray(
        caffemodel({"conv1": _blobs((2, 3, 1, 1), (2,)), "fc": _blobs((2, 2))}, form)
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


# --- the layers, by hand


def test_local_response_normalisation_of_a_literal_vector() -> None:
    """alpha / 5 = 2e-5. Three channels of 500: 1 + 2e-5 * 750,000 = 16, and 16^0.75 = 8.

    The sixth, alone in its window: 1 + 2e-5 * 250,000 = 6, and 6^0.75 = 3.8336586.
    """
    x_NCHW = torch.tensor([500.0, 500, 500, 0, 0, 500, 0, 0]).view(1, 8, 1, 1)
    y_C = caffe_lrn()(x_NCHW).flatten()
    expected = [62.5, 62.5, 62.5, 0, 0, 500 / 3.8336586, 0, 0]
    assert y_C.tolist() == pytest.approx(expected, rel=1e-6)


def test_local_response_normalisation_sees_two_channels_on_each_side() -> None:
    """x = 1000 in the first channel: the third sees it (1 + 20 = 21), the fourth does not."""
    x_NCHW = torch.tensor([1000.0, 0, 1, 1]).view(1, 4, 1, 1)
    y_C = caffe_lrn()(x_NCHW).flatten().tolist()
    assert y_C[2] == pytest.approx(21.00004**-0.75, rel=1e-6)
    assert y_C[3] == pytest.approx(1.00004**-0.75, rel=1e-6)


def test_ceil_pooling_of_a_literal_map() -> None:
    """4x4, 3x3 stride 2: Caffe has ceil((4 - 3) / 2) + 1 = 2 windows a side, the last cut short."""
    x_NCHW = torch.arange(16.0).view(1, 1, 4, 4)
    assert ceil_max_pool()(x_NCHW).tolist() == [[[[10.0, 11.0], [14.0, 15.0]]]]
    vgg_pool = build("vgg", variant="caffe").pool5
    assert vgg_pool(torch.arange(9.0).view(1, 1, 3, 3)).tolist() == [[[[4.0, 5.0], [7.0, 8.0]]]]
    pool4 = build("googlenet", variant="caffe").maxpool4
    assert pool4(x_NCHW).tolist() == [[[[10.0, 11.0], [14.0, 15.0]]]]


def test_no_window_begins_beyond_the_map() -> None:
    """Caffe's sizes of 3x3 stride 2 pools on 2 to 9 pixels: ceil((n - 3) / 2) + 1."""
    sizes = [ceil_max_pool()(torch.zeros(1, 1, n, n)).shape[-1] for n in range(2, 10)]
    assert sizes == [1, 1, 2, 2, 3, 3, 4, 4]


def test_a_grouped_convolution_by_hand() -> None:
    """conv2 of a narrow AlexNet, 16 to 32 maps: each half of the outputs sees half of them."""
    conv2 = build("alexnet", variant="caffe").features[3]
    assert isinstance(conv2, nn.Conv2d)
    assert conv2.weight.shape == (32, 8, 5, 5)
    with torch.no_grad():
        conv2.weight.zero_()
        assert conv2.bias is not None
        conv2.bias.zero_()
        conv2.weight[:, 3, 2, 2] = 2.0  # the fourth input of either group
        conv2.weight[:, 3, 2, 3] = 10.0  # and its right neighbour
        x_NCHW = torch.zeros(1, 16, 1, 2)
        x_NCHW[0, 3, 0] = torch.tensor([1.0, 7.0])  # the first group's
        x_NCHW[0, 11, 0] = torch.tensor([-1.0, 3.0])  # the second's
        y_NCHW = conv2(x_NCHW)
    assert y_NCHW[0, :16, 0].tolist() == [[72.0, 14.0]] * 16
    assert y_NCHW[0, 16:, 0].tolist() == [[28.0, 6.0]] * 16


def test_a_pure_red_pixel(tmp_path: Path) -> None:
    """Caffe: 1 (0 - 103.939) + 10 (0 - 116.779) + 100 (255 - 123.68) of blue, green, red."""
    model = build("vgg", variant="caffe")
    layers = layers_of(model)
    weight = np.zeros((8, 3, 3, 3), np.float32)
    weight[0, :, 1, 1] = 1, 10, 100
    weight[1, :, 0, 0] = 1, 10, 100  # the upper left neighbour, outside at the corner
    layers["conv1_1"] = [weight, np.zeros(8, np.float32)]
    load_weights(model, write(tmp_path / "w.caffemodel", layers), name="vgg", strict=True)
    red_N3HW = torch.tensor([255, 0, 0], dtype=torch.uint8).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    with torch.no_grad():
        y_NCHW = model.features[0](model.normalize(red_N3HW))
    assert y_NCHW[0, 0].flatten().tolist() == pytest.approx([11860.271] * 4, rel=1e-6)
    # Padding is 0 after the subtraction: beyond the border lies the mean colour.
    assert y_NCHW[0, 1].flatten().tolist() == pytest.approx([0, 0, 0, 11860.271], rel=1e-6)


@pytest.mark.parametrize(
    ("name", "bgr"),
    [
        ("googlenet_gap", (104.0, 117.0, 123.0)),
        ("vgg_gap", (103.939, 116.779, 123.68)),
        ("alexnet_star_gap", (104.00699, 116.66877, 122.67892)),
        ("nin", (104.00699, 116.66877, 122.67892)),
    ],
)
def test_normalize_gives_what_caffe_saw(
    name: str, bgr: tuple[float, float, float], tmp_path: Path
) -> None:
    model = randomise(build(name, variant="caffe"))
    load_weights(model, write(tmp_path / "w.caffemodel", layers_of(model)), name=name, strict=True)
    values = torch.arange(256, dtype=torch.uint8)
    images_N3HW = torch.stack([values, values.flip(0), values // 2]).view(1, 3, 16, 16)
    seen_N3HW = model.normalize(images_N3HW).flip(1)
    expected_N3HW = images_N3HW.flip(1).float() - torch.tensor(bgr).view(3, 1, 1)
    torch.testing.assert_close(seen_N3HW, expected_N3HW, rtol=0, atol=3e-5)


# --- the networks, step by step as their prototxt files list them


def _lrn(x_NCHW: torch.Tensor) -> torch.Tensor:
    """Channel by channel."""
    squares = F.pad(x_NCHW.square(), (0, 0, 0, 0, 2, 2))
    n = x_NCHW.shape[1]
    sums = torch.stack([squares[:, c : c + 5].sum(1) for c in range(n)], dim=1)
    return x_NCHW / (1 + 1e-4 / 5 * sums) ** 0.75


def _max_pool(x_NCHW: torch.Tensor, kernel: int, stride: int, pad: int = 0) -> torch.Tensor:
    """Window by window; sizes as in Caffe's pooling layer."""
    side = x_NCHW.shape[-1]
    n = math.ceil((side + 2 * pad - kernel) / stride) + 1
    if pad and (n - 1) * stride >= side + pad:
        n -= 1
    spans = [
        slice(max(i * stride - pad, 0), min(i * stride - pad + kernel, side)) for i in range(n)
    ]
    rows = [torch.stack([x_NCHW[:, :, r, c].amax((2, 3)) for c in spans], -1) for r in spans]
    return torch.stack(rows, -2)


class CaffeRun:
    """Runs layers on blue, green, red input with a file's blobs."""

    def __init__(self, layers: dict[str, list[np.ndarray]], x_NCHW: torch.Tensor) -> None:
        self.blobs = {
            name: [torch.tensor(np.ascontiguousarray(blob)).double() for blob in blobs]
            for name, blobs in layers.items()
        }
        self.used: set[str] = set()
        self.x = x_NCHW

    def conv(self, name: str, stride: int = 1, pad: int = 0, group: int = 1) -> CaffeRun:
        weight, bias = self.blobs[name]
        self.used.add(name)
        self.x = F.conv2d(self.x, weight, bias, stride=stride, padding=pad, groups=group).relu()
        return self

    def pool(self, kernel: int = 3, stride: int = 2) -> CaffeRun:
        self.x = _max_pool(self.x, kernel, stride)
        return self

    def norm(self) -> CaffeRun:
        self.x = _lrn(self.x)
        return self

    def average(self) -> CaffeRun:
        self.x = self.x.mean((2, 3))
        return self

    def fc(self, name: str, relu: bool = False) -> CaffeRun:
        weight, bias = self.blobs[name]
        self.used.add(name)
        y = self.x.flatten(1) @ weight.T + bias
        self.x = y.relu() if relu else y
        return self

    def inception(self, module: str) -> CaffeRun:
        x, outs, prefix = self.x, [], f"inception_{module}/"
        outs.append(self.conv(f"{prefix}1x1").x)
        for size, pad in (("3x3", 1), ("5x5", 2)):
            self.x = x
            outs.append(self.conv(f"{prefix}{size}_reduce").conv(f"{prefix}{size}", pad=pad).x)
        self.x = _max_pool(x, 3, 1, pad=1)
        outs.append(self.conv(f"{prefix}pool_proj").x)
        self.x = torch.cat(outs, dim=1)
        return self


def _alexnet(run: CaffeRun, variant: str) -> None:
    def between() -> None:
        if variant == "bvlc_alexnet":
            run.norm().pool()
        else:
            run.pool().norm()

    run.conv("conv1", stride=4)
    between()
    run.conv("conv2", pad=2, group=2)
    between()
    run.conv("conv3", pad=1).conv("conv4", pad=1, group=2).conv("conv5", pad=1, group=2)


def _vgg(run: CaffeRun) -> None:
    for stage, convolutions in enumerate((2, 2, 3, 3, 3), 1):
        for number in range(1, convolutions + 1):
            run.conv(f"conv{stage}_{number}", pad=1)
        if stage < 5:
            run.pool(2)


def _googlenet(run: CaffeRun) -> None:
    run.conv("conv1/7x7_s2", stride=2, pad=3).pool().norm()
    run.conv("conv2/3x3_reduce").conv("conv2/3x3", pad=1).norm().pool()
    run.inception("3a").inception("3b").pool()
    for module in ("4a", "4b", "4c", "4d", "4e"):
        run.inception(module)


def _run(name: str, variant: str, run: CaffeRun) -> tuple[torch.Tensor, torch.Tensor]:
    """The last maps and the logits (googlenet_gmp is not among Caffe's networks)."""
    if name.startswith("alexnet"):
        _alexnet(run, variant)
    elif name.startswith("vgg"):
        _vgg(run)
    elif name.startswith("googlenet"):
        _googlenet(run)
    if name == "alexnet_star_gap":
        run.pool(3, 1).conv("conv6", pad=1, group=2).conv("conv7", pad=1, group=2)
        return run.x, run.average().fc("fc9").x
    if name.endswith("_gap"):
        run.conv("CAM_conv", pad=1, group=2)
        return run.x, run.average().fc("CAM_fc").x
    if name == "googlenet":
        run.pool().inception("5a").inception("5b")
        return run.x, run.average().fc("loss3/classifier").x
    if name == "nin":
        run.conv("conv1", stride=4).conv("cccp1").conv("cccp2").pool()
        run.conv("conv2", pad=2).conv("cccp3").conv("cccp4").pool()
        run.conv("conv3", pad=1).conv("cccp5").conv("cccp6").pool()
        run.conv("conv4-1024", pad=1).conv("cccp7-1024").conv("cccp8-1024")
        return run.x, run.average().x
    maps = run.x
    run.pool(3 if name == "alexnet" else 2)
    return maps, run.fc("fc6", relu=True).fc("fc7", relu=True).fc("fc8").x


@pytest.mark.parametrize("form", [1, 2])
@pytest.mark.parametrize(("name", "variant"), [n for n in NETWORKS if n[0] != "googlenet_gmp"])
def test_networks_compute_what_their_prototxt_says(
    name: str, variant: str, form: int, tmp_path: Path
) -> None:
    """Every layer of a random file, in double precision, at sizes where windows are cut short."""
    settings: dict[str, Any] = {"variant": variant, "width": 0.125}
    layers = layers_of(randomise(build(name, **settings), seed=3))
    model = build(name, seed=1, **settings)
    path = write(tmp_path / "w.caffemodel", layers, form)
    report = load_weights(model, path, name=name, strict=True)
    assert sorted(report.names[layer] for layer in report.taken) == sorted(layers)
    side = 227 if name.startswith(("alexnet", "nin")) else 224 if name == "vgg" else 84
    generator = torch.Generator().manual_seed(4)
    rgb_N3HW = 100 * torch.randn(1, 3, side, side, generator=generator, dtype=torch.float64)
    run = CaffeRun(layers, rgb_N3HW.flip(1))
    with torch.no_grad():
        model.double()
        A_NKhw, logits_NC = _run(name, variant, run)
        assert run.used == set(layers)
        torch.testing.assert_close(model.forward_features(rgb_N3HW), A_NKhw, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(model(rgb_N3HW), logits_NC, rtol=1e-9, atol=1e-9)
    assert A_NKhw.std() > 1
    assert logits_NC.std() > 0.1


# Weight layers, parameters with 1000 classes, and shapes, worked out from the prototxt files: of
# alexnet_star_gap 34,944 + 307,456 + 885,120 + 663,936 + 663,936 + 885,248 + 1,180,160 + 513,000.
# Those of the plain networks are the published counts.
STRUCTURES: dict[tuple[str, str], tuple[int, int, dict[str, tuple[int, ...]]]] = {
    ("alexnet", "caffe"): (
        8,
        60_965_224,
        {
            "features.0": (96, 3, 11, 11),
            "features.3": (256, 48, 5, 5),
            "features.6": (384, 256, 3, 3),
            "features.8": (384, 192, 3, 3),
            "features.10": (256, 192, 3, 3),
            "classifier.1": (4096, 9216),
            "classifier.4": (4096, 4096),
            "classifier.6": (1000, 4096),
        },
    ),
    ("alexnet", "bvlc_alexnet"): (8, 60_965_224, {"features.3": (256, 48, 5, 5)}),
    ("alexnet_star_gap", "caffe"): (
        8,
        5_133_800,
        {
            "features.10": (384, 192, 3, 3),
            "cam_conv6.conv": (512, 192, 3, 3),
            "cam_conv7.conv": (512, 256, 3, 3),
            "cam_fc": (1000, 512),
        },
    ),
    ("alexnet_gap", "caffe"): (7, 4_539_752, {"cam_conv.conv": (1024, 128, 3, 3)}),
    ("vgg", "caffe"): (16, 138_357_544, {"classifier.0": (4096, 25088)}),
    ("vgg_gap", "caffe"): (
        15,
        18_100_008,
        {"cam_conv.conv": (1024, 256, 3, 3), "cam_fc": (1000, 1024)},
    ),
    ("googlenet", "caffe"): (
        58,
        6_998_552,
        {
            "conv1.conv": (64, 3, 7, 7),
            "conv2.conv": (64, 64, 1, 1),
            "conv3.conv": (192, 64, 3, 3),
            "inception3a.branch3.1.conv": (32, 16, 5, 5),
            "inception4e.branch2.1.conv": (320, 160, 3, 3),
            "inception5b.branch4.1.conv": (128, 832, 1, 1),
            "fc": (1000, 1024),
        },
    ),
    ("googlenet_gap", "caffe"): (
        47,
        8_345_896,
        {"cam_conv.conv": (1024, 416, 3, 3), "cam_fc": (1000, 1024)},
    ),
    ("nin", "caffe"): (
        12,
        7_595_176,
        {"features.conv4": (1024, 384, 3, 3), "features.cccp8": (1000, 1024, 1, 1)},
    ),
}


@pytest.mark.parametrize(("name", "variant"), STRUCTURES)
def test_structures_are_those_of_the_prototxt_files(name: str, variant: str) -> None:
    layers, parameters, shapes = STRUCTURES[name, variant]
    with torch.device("meta"):
        model = build_model(config(name, variant=variant), 1000)
    weights = {key: p for key, p in model.named_parameters() if key.endswith(".weight")}
    assert len(weights) == layers
    assert sum(key.endswith(".bias") for key, _ in model.named_parameters()) == layers
    assert sum(p.numel() for p in model.parameters()) == parameters
    for layer, shape in shapes.items():
        assert weights[f"{layer}.weight"].shape == shape
    assert {f"{ours}.weight" for ours in model.caffe_layers.values()} >= set(weights)


# K at full width, h = w at 224 and 227 pixels; Caffe rounds VGG's pools up.
MAPS = {
    "alexnet": (256, 13, 13),
    "alexnet_gap": (1024, 13, 13),
    "alexnet_star_gap": (512, 11, 11),
    "vgg": (512, 14, 15),
    "vgg_gap": (1024, 14, 15),
    "googlenet": (1024, 7, 7),
    "googlenet_gap": (1024, 14, 14),
    "googlenet_gmp": (1024, 14, 14),
    "nin": (None, 6, 6),
}


@pytest.mark.parametrize(("name", "variant"), NETWORKS)
def test_maps_have_caffes_sizes(name: str, variant: str) -> None:
    units, at_224, at_227 = MAPS[name]
    model = build(name, num_classes=3, variant=variant)
    for side, size in ((224, at_224), (227, at_227)):
        with torch.no_grad():
            A_NKhw = model.forward_features(torch.zeros(1, 3, side, side))
        assert A_NKhw.shape == (1, 3 if units is None else units // 8, size, size)


@pytest.mark.parametrize(("name", "variant"), NETWORKS)
def test_the_smallest_input_is_right(name: str, variant: str) -> None:
    model = build(name, variant=variant)
    smallest = model.minimum_input
    with torch.no_grad():
        assert model(torch.zeros(1, 3, smallest, smallest)).shape == (1, 5)
        if smallest > 1:
            with pytest.raises((RuntimeError, ValueError)):
                model.forward_head(model._extract(torch.zeros(1, 3, smallest - 1, smallest - 1)))


@pytest.mark.parametrize(
    "name", [name for name, _ in NETWORKS if name not in ("alexnet", "vgg", "googlenet_gmp")]
)
def test_mean_of_cam_is_the_logit_less_the_bias(name: str) -> None:
    model = randomise(build(name, variant="caffe")).double()
    bias_C = model.get_submodule(model.class_layer_name).bias if name != "nin" else 0
    x_NCHW = torch.randn(2, 3, 84, 84, generator=torch.Generator().manual_seed(1)).double()
    with torch.no_grad():
        w_CK = model.class_weights()
        assert w_CK is not None
        cam_NChw = torch.einsum("ck,nkhw->nchw", w_CK, model.forward_features(100 * x_NCHW))
        logits_NC = model(100 * x_NCHW)
        torch.testing.assert_close(cam_NChw.mean((2, 3)) + bias_C, logits_NC)
    assert logits_NC.std() > 0.1


# --- names and fits


def test_a_class_layer_without_a_bias_has_the_bias_0(tmp_path: Path) -> None:
    model = randomise(build("vgg_gap", variant="caffe"))
    layers = layers_of(model)
    del layers["CAM_fc"][1]
    load_weights(model, write(tmp_path / "w.caffemodel", layers), name="vgg_gap", strict=True)
    assert model.cam_fc.bias.tolist() == [0.0] * 5
    assert np.array_equal(model.cam_fc.weight.detach().numpy(), layers["CAM_fc"][0])


def test_auxiliary_classifiers_are_passed_over(tmp_path: Path) -> None:
    model = build("googlenet", variant="caffe")
    layers = layers_of(model)
    aux = {f"loss{i}/{part}": _blobs((2, 2), (2,)) for i in (1, 2) for part in ("fc", "classifier")}
    path = write(tmp_path / "w.caffemodel", {**layers, **aux}, form=1)
    report = load_weights(model, path, name="googlenet", strict=True)
    assert len(report.taken) == 58
    path = write(tmp_path / "w.caffemodel", {**layers, "loss4/fc": _blobs((2, 2))})
    with pytest.raises(UserError, match=r"without a place: loss4/fc\.weight"):
        load_weights(model, path, name="googlenet", strict=True)


def test_a_layer_that_does_not_fit_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """CaffeNet's conv5 has 256 units, that of the authors' network 384 (here 32 and 48)."""
    path = write(tmp_path / "w.caffemodel", layers_of(build("alexnet", variant="caffe")), form=1)
    model = build("alexnet_star_gap", variant="caffe")
    misfit = r"conv5 \(features\.10\.weight\) is 32x24x3x3 in the file, 48x24x3x3 in the network"
    with pytest.raises(UserError, match=f"not those of alexnet_star_gap: other shapes: {misfit}"):
        load_weights(model, path, name="alexnet_star_gap", strict=True)
    with caplog.at_level(logging.INFO):
        report = load_weights(model, path, name="alexnet_star_gap")
    assert report.taken == ["features.0", "features.3", "features.6", "features.8"]
    assert report.unused == [
        f"{layer}.{part}" for layer in ("fc6", "fc7", "fc8") for part in ("weight", "bias")
    ]
    lines = [" ".join(record.getMessage().split()) for record in caplog.records]
    assert "taken conv4 (features.8)" in lines
    assert (
        "left conv5 (features.10.weight) (32x24x3x3 in the file, 48x24x3x3 in the network)" in lines
    )
    assert "left conv6 (cam_conv6.conv) (not in the file)" in lines
    assert "not used fc6 (in the file)" in lines
    without = layers_of(model)
    del without["conv7"]
    path = write(tmp_path / "w.caffemodel", without)
    with pytest.raises(UserError, match=r"not in the file: conv7 \(cam_conv7\.conv\)$"):
        load_weights(model, path, name="alexnet_star_gap", strict=True)


def test_another_class_count_is_said_in_those_words(tmp_path: Path) -> None:
    layers = layers_of(build("googlenet_gap", num_classes=12, variant="caffe"))
    path = write(tmp_path / "w.caffemodel", layers, form=1)
    model = build("googlenet_gap", variant="caffe")
    with pytest.raises(UserError, match=r"CAM_fc \(cam_fc\) has 12 classes, the data set has 5"):
        load_weights(model, path, name="googlenet_gap", strict=True)
    report = load_weights(model, path, name="googlenet_gap")
    assert len(report.taken) == 46


def test_a_layer_twice_is_refused(tmp_path: Path) -> None:
    model = build("nin", variant="caffe")
    content = caffemodel(layers_of(model))
    (tmp_path / "w.caffemodel").write_bytes(content + content)
    with pytest.raises(UserError, match=r"w\.caffemodel: has two layers conv1"):
        load_weights(model, str(tmp_path / "w.caffemodel"), name="nin")


@pytest.mark.parametrize("name", ["alexnet", "alexnet_gap", "alexnet_star_gap"])
def test_the_order_of_pool_and_normalisation_is_the_files(name: str, tmp_path: Path) -> None:
    """CaffeNet and AlexNet have the same shapes: only the order of their layers tells."""
    first, *rest = layers_of(build(name, variant="caffe")).items()
    caffenet = dict([first, ("pool1", []), ("norm1", []), *rest])
    alexnet = dict([first, ("norm1", []), ("pool1", []), *rest])
    for layers, right, wrong in (
        (caffenet, "caffe", "bvlc_alexnet"),
        (alexnet, "bvlc_alexnet", "caffe"),
    ):
        for form in (1, 2):
            path = write(tmp_path / "w.caffemodel", layers, form)
            load_weights(build(name, variant=right), path, name=name, strict=True)
            with pytest.raises(UserError, match=f"set model.variant={right}$"):
                load_weights(build(name, variant=wrong), path, name=name)


@pytest.mark.parametrize("name", ["alexnet", "alexnet_gap", "alexnet_star_gap", "googlenet_gap"])
def test_torchvisions_networks_refuse_caffes_weights(name: str, tmp_path: Path) -> None:
    path = write(tmp_path / "w.caffemodel", layers_of(build(name, variant="caffe")))
    with pytest.raises(UserError, match=r"w\.caffemodel.*: set model\.variant=caffe$"):
        load_weights(build(name), path, name=name)


@pytest.mark.parametrize("name", ["vgg", "nin"])
def test_networks_that_are_alike_take_them_in_either_variant(name: str, tmp_path: Path) -> None:
    caffe = randomise(build(name, variant="caffe"))
    path = write(tmp_path / "w.caffemodel", layers_of(caffe), form=1)
    plain = build(name, seed=1)
    load_weights(caffe, path, name=name, strict=True)
    load_weights(plain, path, name=name, strict=True)
    generator = torch.Generator().manual_seed(3)
    images = torch.randint(0, 256, (1, 3, 96, 96), dtype=torch.uint8, generator=generator)
    with torch.no_grad():
        logits_NC = caffe(caffe.normalize(images))
        assert torch.equal(plain(plain.normalize(images)), logits_NC)
    assert logits_NC.std() > 0.1


def test_vgg_gap_in_torchvisions_form_says_what_the_authors_file_wants(tmp_path: Path) -> None:
    path = write(tmp_path / "w.caffemodel", layers_of(build("vgg_gap", variant="caffe")))
    misfit = r"CAM_conv \(cam_conv\.conv\.weight\) is 128x32x3x3 in the file, 128x64x3x3 in the"
    with pytest.raises(UserError, match=rf"{misfit} network.*; set model\.variant=caffe$"):
        load_weights(build("vgg_gap"), path, name="vgg_gap", strict=True)


def test_networks_that_caffe_lacks_say_so(tmp_path: Path) -> None:
    path = write(tmp_path / "w.caffemodel", layers_of(build("vgg", variant="caffe")))
    with pytest.raises(UserError, match=r"w\.caffemodel: resnet18 is no network"):
        load_weights(build("resnet18"), path, name="resnet18")


def _trained(model: CamNetwork) -> float:
    """One step's loss."""
    x_NCHW = 50 * torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    loss = F.cross_entropy(model.train()(x_NCHW), torch.tensor([0, 4]))
    loss.backward()
    optimizer.step()
    return loss.item()


@pytest.mark.parametrize(
    ("plain", "gap", "taken", "left"),
    [
        ("alexnet", "alexnet_gap", 5, ["cam_conv.conv", "cam_fc"]),
        ("vgg", "vgg_gap", 13, ["cam_conv.conv", "cam_fc"]),
        ("googlenet", "googlenet_gap", 45, ["cam_conv.conv", "cam_fc"]),
        ("googlenet", "googlenet_gmp", 45, ["cam_conv.conv", "cam_fc"]),
    ],
)
def test_a_gap_network_is_fine_tuned_from_the_plain_ones_file(
    plain: str, gap: str, taken: int, left: list[str], tmp_path: Path
) -> None:
    layers = layers_of(randomise(build(plain, variant="caffe")))
    model = build(gap, variant="caffe", seed=1)
    report = load_weights(model, write(tmp_path / "w.caffemodel", layers, form=1), name=gap)
    assert len(report.taken) == taken
    assert report.left == left
    assert report.mismatched == []
    assert math.isfinite(_trained(model))
    # What was trained is scored again from its checkpoint, with its normalisation.
    torch.save(model.state_dict(), tmp_path / "last.pt")
    again = build(gap, variant="caffe", seed=2)
    load_weights(again, str(tmp_path / "last.pt"), name=gap, strict=True)
    assert again.pixel_std.flatten().tolist() == pytest.approx([1 / 255] * 3)


def test_other_weights_for_a_caffe_network_have_to_say_their_normalisation(tmp_path: Path) -> None:
    model = build("googlenet", variant="caffe")
    state = {key: value for key, value in model.state_dict().items() if "pixel" not in key}
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(UserError, match=r"w\.pt do not say how colours are normalised"):
        load_weights(model, str(tmp_path / "w.pt"), name="googlenet", strict=True)
    with pytest.raises(UserError, match=r"none for googlenet with model\.variant=caffe"):
        load_weights(model, "torchvision", name="googlenet")


# --- settings


@pytest.mark.parametrize(("name", "variant"), NETWORKS)
def test_batch_norm_is_refused_by_name(name: str, variant: str) -> None:
    with pytest.raises(UserError, match=r"^model\.norm=batch: .*set model\.norm=none, or"):
        build(name, variant=variant, norm="batch")


@pytest.mark.parametrize(
    ("name", "variant"), [("vgg_gap", "bvlc_alexnet"), ("alexnet", "Caffe"), ("nin", None)]
)
def test_an_unknown_variant_is_named(name: str, variant: str | None) -> None:
    with pytest.raises(UserError, match=r"^model\.variant=.*: choose one of torchvision, caffe"):
        build(name, variant=variant)


def test_groups_follow_the_variant_unless_given() -> None:
    for name in ("alexnet_gap", "vgg_gap", "googlenet_gap"):
        for settings, groups in (
            ({}, 1),
            ({"variant": "caffe"}, 2),
            ({"variant": "caffe", "groups": 1}, 1),
            ({"groups": 4}, 4),
        ):
            assert build(name, **settings).cam_conv.conv.groups == groups
    star = build("alexnet_star_gap", variant="caffe")
    assert (star.cam_conv6.conv.groups, star.cam_conv7.conv.groups) == (2, 2)


def test_dropout_of_alexnet_lies_where_each_program_has_it() -> None:
    def kinds(variant: str) -> list[str]:
        return [
            type(layer).__name__
            for layer in build("alexnet", variant=variant).classifier.modules()
            if isinstance(layer, nn.Dropout | nn.Linear | nn.ReLU)
        ]

    fc, relu, drop = "Linear", "ReLU", "Dropout"
    assert kinds("torchvision") == [drop, fc, relu, drop, fc, relu, fc]
    assert kinds("caffe") == [fc, relu, drop, fc, relu, drop, fc]


def test_units_of_every_inception_module() -> None:
    """Maps of each module's output: 256, 480, 512, 512, 512, 528, 832, 832, 1024."""
    sums = [a + c3 + c5 + pooled for a, _, c3, _, c5, pooled in UNITS.values()]
    assert sums == [256, 480, 512, 512, 512, 528, 832, 832, 1024]
