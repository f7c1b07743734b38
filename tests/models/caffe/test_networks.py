"""Caffe's networks, step by step as their prototxt files list them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from caffe_files import layers_of, randomise, write
from caffe_helpers import NETWORKS
from model_helpers import build, config

from cam_repro.models import build_network, load_weights


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
def test_networks_compute_what_their_prototxt_says(name, variant, form, tmp_path):
    """Every layer of a random file, in double precision, at sizes where windows are cut short."""
    settings: dict[str, Any] = {"variant": variant, "width": 0.125}
    layers = layers_of(randomise(build(name, **settings), seed=3))
    network = build(name, seed=1, **settings)
    path = write(tmp_path / "w.caffemodel", layers, form)
    report = load_weights(network, path, name=name, strict=True)
    assert sorted(report.names[layer] for layer in report.taken) == sorted(layers)
    side = 227 if name.startswith(("alexnet", "nin")) else 224 if name == "vgg" else 84
    generator = torch.Generator().manual_seed(4)
    rgb_N3HW = 100 * torch.randn(1, 3, side, side, generator=generator, dtype=torch.float64)
    run = CaffeRun(layers, rgb_N3HW.flip(1))
    with torch.no_grad():
        network.double()
        A_NKhw, logits_NC = _run(name, variant, run)
        assert run.used == set(layers)
        torch.testing.assert_close(network.forward_features(rgb_N3HW), A_NKhw, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(network(rgb_N3HW), logits_NC, rtol=1e-9, atol=1e-9)
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
def test_structures_are_those_of_the_prototxt_files(name, variant):
    layers, parameters, shapes = STRUCTURES[name, variant]
    with torch.device("meta"):
        network = build_network(config(name, variant=variant), 1000)
    weights = {key: p for key, p in network.named_parameters() if key.endswith(".weight")}
    assert len(weights) == layers
    assert sum(key.endswith(".bias") for key, _ in network.named_parameters()) == layers
    assert sum(p.numel() for p in network.parameters()) == parameters
    for layer, shape in shapes.items():
        assert weights[f"{layer}.weight"].shape == shape
    assert {f"{ours}.weight" for ours in network.caffe_layers.values()} >= set(weights)


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
def test_maps_have_caffes_sizes(name, variant):
    units, at_224, at_227 = MAPS[name]
    network = build(name, num_classes=3, variant=variant)
    for side, size in ((224, at_224), (227, at_227)):
        with torch.no_grad():
            A_NKhw = network.forward_features(torch.zeros(1, 3, side, side))
        assert A_NKhw.shape == (1, 3 if units is None else units // 8, size, size)


@pytest.mark.parametrize(("name", "variant"), NETWORKS)
def test_the_smallest_input_is_right(name, variant):
    network = build(name, variant=variant)
    smallest = network.minimum_input
    with torch.no_grad():
        assert network(torch.zeros(1, 3, smallest, smallest)).shape == (1, 5)
        if smallest > 1:
            with pytest.raises((RuntimeError, ValueError)):
                network.forward_head(
                    network._extract(torch.zeros(1, 3, smallest - 1, smallest - 1))
                )


@pytest.mark.parametrize(
    "name", [name for name, _ in NETWORKS if name not in ("alexnet", "vgg", "googlenet_gmp")]
)
def test_mean_of_cam_is_the_logit_less_the_bias(name):
    network = randomise(build(name, variant="caffe")).double()
    bias_C = network.get_submodule(network.class_layer_name).bias if name != "nin" else 0
    x_NCHW = torch.randn(2, 3, 84, 84, generator=torch.Generator().manual_seed(1)).double()
    with torch.no_grad():
        w_CK = network.class_weights()
        assert w_CK is not None
        cam_NChw = torch.einsum("ck,nkhw->nchw", w_CK, network.forward_features(100 * x_NCHW))
        logits_NC = network(100 * x_NCHW)
        torch.testing.assert_close(cam_NChw.mean((2, 3)) + bias_C, logits_NC)
    assert logits_NC.std() > 0.1
