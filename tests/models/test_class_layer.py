"""What a class layer takes, and networks that have none."""

import pytest
import torch
from model_helpers import NAMES, build
from torch import nn

from cam_repro.errors import UserError
from cam_repro.models.class_layer import class_layer_of, without_class_layer
from cam_repro.models.timm import Timm

X_NCHW = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
WITHOUT = {"nin", "squeezenet"}
"""Networks that end in a map for each class, after a ReLU."""


def features_of(network, x_NCHW=X_NCHW):
    with torch.no_grad(), without_class_layer(network):
        return network(x_NCHW)


@pytest.mark.parametrize(("pool", "over"), [("avg", torch.mean), ("max", torch.amax)])
def test_a_network_with_gap_gives_the_pooled_maps(pool, over):
    network = build("googlenet_gap", pool=pool)
    with torch.no_grad():
        A_NKhw = network.forward_features(X_NCHW)
    torch.testing.assert_close(features_of(network), over(A_NKhw, (2, 3)))
    assert class_layer_of(network, "googlenet_gap", 64) is network.cam_fc


def test_alexnet_gives_fc7():
    network = build("alexnet", input_size=227)
    x_NCHW = torch.rand(1, 3, 227, 227)
    assert class_layer_of(network, "alexnet", 227) is network.classifier[6]
    with torch.no_grad():
        A_NKhw = network.forward_features(x_NCHW)
        fc7_NK = network.classifier[:6](network.avgpool(network.pool5(A_NKhw)).flatten(1))
    torch.testing.assert_close(features_of(network, x_NCHW), fc7_NK)


def test_a_network_of_timm_gives_what_timm_does():
    pytest.importorskip("timm")
    network = Timm(num_classes=5, timm="resnet18").eval()
    assert class_layer_of(network, "timm", 64) is network.body.fc
    with torch.no_grad():
        A_NKhw = network.forward_features(X_NCHW)
        before_NK = network.body.forward_head(A_NKhw, pre_logits=True)
    torch.testing.assert_close(features_of(network), before_NK)


@pytest.mark.parametrize("name", NAMES)
def test_the_class_layer_makes_the_scores_of_the_features(name):
    network = build(name)
    size = max(network.minimum_input, 96)
    if name.startswith(("alexnet", "vgg")):
        size = 227
    if name in WITHOUT:
        with pytest.raises(UserError, match=f"model={name}: its class scores are not those of a"):
            class_layer_of(network, name, size)
        return
    layer = class_layer_of(network, name, size)
    x_NCHW = torch.rand(1, 3, size, size)
    with torch.no_grad():
        features_NK = features_of(network, x_NCHW)
        is_linear = isinstance(layer, nn.Linear)  # else a 1x1 convolution
        scores_NC = layer(features_NK if is_linear else features_NK[..., None, None]).flatten(1)
        torch.testing.assert_close(scores_NC, network(x_NCHW))


def test_a_network_that_computes_no_numbers_is_said_to_be_broken():
    network = build("resnet18")
    network.get_buffer("bn1.running_var").fill_(-1)
    with pytest.raises(UserError) as error:
        class_layer_of(network, "resnet18", 96)
    assert str(error.value) == (
        "model=resnet18: the network's features of a random image are NaN or infinite: its weights "
        "are broken"
    )


def test_the_class_layer_is_put_back_after_an_error():
    network = build("resnet18")
    layer = network.fc

    def fail():
        with without_class_layer(network):
            assert isinstance(network.fc, nn.Identity)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert network.fc is layer


def test_scores_that_another_layer_changes_are_refused():
    network = build("resnet18")
    forward_head = network.forward_head
    network.forward_head = lambda A_NKhw: 2 * forward_head(A_NKhw)
    with pytest.raises(UserError, match="model=mine: its class scores are not"):
        class_layer_of(network, "mine", 64)
