"""Settings of Caffe's networks."""

from __future__ import annotations

import pytest
from caffe_helpers import NETWORKS
from model_helpers import build
from torch import nn

from cam_repro.errors import UserError
from cam_repro.models.googlenet import UNITS


@pytest.mark.parametrize(("name", "variant"), NETWORKS)
def test_batch_norm_is_refused_by_name(name, variant):
    with pytest.raises(UserError, match=r"^model\.norm=batch: .*set model\.norm=none, or"):
        build(name, variant=variant, norm="batch")


@pytest.mark.parametrize(
    ("name", "variant"), [("vgg_gap", "bvlc_alexnet"), ("alexnet", "Caffe"), ("nin", None)]
)
def test_an_unknown_variant_is_named(name, variant):
    with pytest.raises(UserError, match=r"^model\.variant=.*: choose one of torchvision, caffe"):
        build(name, variant=variant)


def test_groups_follow_the_variant_unless_given():
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


def test_dropout_of_alexnet_lies_where_each_program_has_it():
    def kinds(variant):
        return [
            type(layer).__name__
            for layer in build("alexnet", variant=variant).classifier.modules()
            if isinstance(layer, nn.Dropout | nn.Linear | nn.ReLU)
        ]

    fc, relu, drop = "Linear", "ReLU", "Dropout"
    assert kinds("torchvision") == [drop, fc, relu, drop, fc, relu, fc]
    assert kinds("caffe") == [fc, relu, drop, fc, relu, drop, fc]


def test_units_of_every_inception_module():
    """Maps of each module's output: 256, 480, 512, 512, 512, 528, 832, 832, 1024."""
    sums = [a + c3 + c5 + pooled for a, _, c3, _, c5, pooled in UNITS.values()]
    assert sums == [256, 480, 512, 512, 512, 528, 832, 832, 1024]
