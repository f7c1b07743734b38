"""From YAML to a network, and what is refused on the way."""

from __future__ import annotations

import pytest
import torch
from model_helpers import NAMES, build, config
from omegaconf import OmegaConf

from cam_repro.errors import UserError
from cam_repro.models import CamNetwork, build_network
from cam_repro.models.layers import scale_channels

ROWS = {
    "alexnet": "AlexNet",
    "alexnet_gap": "AlexNet-GAP",
    "alexnet_star_gap": "AlexNet*-GAP",
    "vgg": "VGGnet",
    "vgg_gap": "VGGnet-GAP",
    "googlenet": "GoogLeNet",
    "googlenet_gap": "GoogLeNet-GAP",
    "googlenet_gmp": "GoogLeNet-GMP",
    "nin": "NIN",
}


@pytest.mark.parametrize("name", NAMES)
def test_every_yaml_builds(name):
    cfg = config(name)
    assert cfg.name == name
    assert cfg.plain is None or cfg.plain in NAMES
    assert cfg.row == ROWS.get(cfg.name, cfg.row)
    cfg.width = 0.125
    network = build_network(OmegaConf.create({"model": cfg}).model, num_classes=7)
    assert isinstance(network, CamNetwork)
    assert cfg.input_size >= network.minimum_input
    with torch.no_grad():
        assert network.eval()(torch.zeros(1, 3, 80, 80)).shape == (1, 7)


def test_a_plain_dict_builds_too():
    cfg = OmegaConf.to_container(config("nin", width=0.125))
    assert isinstance(cfg, dict)
    before = dict(cfg)
    build_network(cfg, 3)
    assert cfg == before


@pytest.mark.parametrize("classes", [1, 2, 1000])
@pytest.mark.parametrize("name", NAMES)
def test_any_number_of_classes(name, classes):
    network = build(name, num_classes=classes, width=0.0625)
    assert network.get_submodule(network.class_layer_name).weight.shape[0] == classes


def test_width_scales_everything_but_the_classes():
    assert [scale_channels(64, width) for width in (1, 0.5, 0.25, 0.01, 2, 1.5)] == [
        64,
        32,
        16,
        8,
        128,
        96,
    ]
    half = build("vgg", num_classes=10, width=0.5)
    assert half.state_dict()["features.0.weight"].shape == (32, 3, 3, 3)
    assert half.state_dict()["classifier.0.weight"].shape == (2048, 256 * 49)
    assert half.state_dict()["classifier.6.weight"].shape == (10, 2048)


@pytest.mark.parametrize(
    ("name", "settings", "key"),
    [
        ("vgg_gap", {"width": 0}, "width"),
        ("vgg_gap", {"width": -1.0}, "width"),
        ("vgg_gap", {"width": "wide"}, "width"),
        ("vgg_gap", {"width": float("nan")}, "width"),
        ("vgg_gap", {"width": float("inf")}, "width"),
        ("vgg_gap", {"norm": "foo"}, "norm"),
        ("vgg_gap", {"norm": None}, "norm"),
        ("vgg_gap", {"dropout": 1.0}, "dropout"),
        ("vgg_gap", {"dropout": -0.1}, "dropout"),
        ("vgg_gap", {"dropout": True}, "dropout"),
        ("vgg_gap", {"groups": 3}, "groups"),
        ("vgg_gap", {"groups": 0}, "groups"),
        ("vgg_gap", {"groups": 2.0}, "groups"),
        ("googlenet_gap", {"groups": 5}, "groups"),
        ("googlenet_gap", {"pool": "median"}, "pool"),
        ("alexnet_star_gap", {"conv5": 0}, "conv5"),
        ("alexnet_star_gap", {"groups": 7}, "groups"),
        ("resnet18", {"norm": "none"}, "norm"),
        ("vgg_gap", {"group": 2}, "group"),
        ("vgg", {"groups": 2}, "groups"),
        ("vgg_gap", {"input_size": 15}, "input_size"),
        ("vgg_gap", {"input_size": 224.5}, "input_size"),
        ("vgg_gap", {"resize_size": 128}, "resize_size"),
        ("vgg_gap", {"pixel_mean": 0.5}, "pixel_mean"),
        ("vgg_gap", {"pixel_mean": [0.5, 0.5]}, "pixel_mean"),
        ("vgg_gap", {"pixel_mean": [0.5, 0.5, float("nan")]}, "pixel_mean"),
        ("vgg_gap", {"pixel_std": [0.5, 0.5, 0]}, "pixel_std"),
        ("vgg_gap", {"pixel_std": ["a", "b", "c"]}, "pixel_std"),
        ("vgg_gap", {"pixel_mean": [123.7, 116.3, 103.5]}, "pixel_mean"),
        ("vgg_gap", {"pixel_std": [58, 57, 57]}, "pixel_std"),
        ("vgg_gap", {"width": {"_target_": "os.getcwd"}}, "width"),
        ("vgg_gap", {"_target_": "cam_repro.models.vgg.VggGpa"}, "_target_"),
        ("vgg_gap", {"_target_": "collections.OrderedDict"}, "_target_"),
        ("vgg_gap", {"_target_": "VggGap"}, "_target_"),
        ("vgg_gap", {"_target_": "cam_repro.models.build.build_network"}, "_target_"),
        ("vgg_gap", {"_target_": None}, "_target_"),
    ],
)
def test_a_bad_setting_is_named(name, settings, key):
    with pytest.raises(UserError, match=rf"^model\.{key}\b") as caught:
        build(name, **settings)
    assert "\n" not in str(caught.value)


def test_the_class_count_is_no_setting():
    with pytest.raises(UserError, match=r"^model\.num_classes: VggGap has no such setting"):
        build_network(config("vgg_gap", num_classes=4), 5)


def test_no_classes_are_refused():
    with pytest.raises(UserError, match="one class or more"):
        build("nin", num_classes=0)


def test_a_small_input_size_names_the_smallest():
    with pytest.raises(UserError, match=r"model\.input_size=62 .* 63 pixels or more"):
        build("alexnet_star_gap", input_size=62)


@pytest.mark.parametrize("name", ["alexnet_gap", "resnet18b", "resnet18"])
def test_a_class_layer_gets_a_bias_where_it_has_none(name):
    network = build(name, class_layer_bias=True)
    assert network.class_layer.bias.tolist() == [0.0] * 5
    with torch.no_grad():
        network.class_layer.bias[2] = 3.0
        x_NCHW = torch.rand(1, 3, 112, 112)
        plain = build(name)
        plain.load_state_dict(network.state_dict(), strict=False)
        difference_C = (network(x_NCHW) - plain(x_NCHW))[0]
    assert difference_C.tolist() == pytest.approx([0, 0, 0 if name == "resnet18" else 3, 0, 0])
