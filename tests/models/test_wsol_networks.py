"""The networks of Choe et al. against a second coding of their definition, on the same weights."""

from __future__ import annotations

import logging

import pytest
import torch
from model_helpers import build, randomise_norms
from torch.nn import functional as F

from cam_repro.errors import UserError
from cam_repro.models.weights import load_weights
from cam_repro.saliency.build import build_saliency
from cam_repro.saliency.excitation_backprop import ExcitationBackprop

NETWORKS = ("resnet50_cam", "vgg16_cam", "inception_v3_cam")


def norm(state, name, x_NCHW, eps=1e-5):
    mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    return F.batch_norm(
        x_NCHW, mean, variance, state[f"{name}.weight"], state[f"{name}.bias"], eps=eps
    )


def resnet50(state, x_NCHW, large):
    """He et al.'s bottlenecks; the stride, on the 3x3, is 1 in stage 4, in a large one in 3 too."""

    def block(name, x, stride):
        y = F.relu(norm(state, f"{name}.bn1", F.conv2d(x, state[f"{name}.conv1.weight"])))
        y = F.conv2d(y, state[f"{name}.conv2.weight"], stride=stride, padding=1)
        y = F.relu(norm(state, f"{name}.bn2", y))
        y = norm(state, f"{name}.bn3", F.conv2d(y, state[f"{name}.conv3.weight"]))
        if f"{name}.downsample.0.weight" in state:
            x = F.conv2d(x, state[f"{name}.downsample.0.weight"], stride=stride)
            x = norm(state, f"{name}.downsample.1", x)
        return F.relu(x + y)

    x = F.conv2d(x_NCHW, state["conv1.weight"], stride=2, padding=3)
    x = F.max_pool2d(F.relu(norm(state, "bn1", x)), 3, 2, 1)
    for stage, (count, stride) in enumerate(((3, 1), (4, 2), (6, 1 if large else 2), (3, 1)), 1):
        for number in range(count):
            x = block(f"layer{stage}.{number}", x, stride if number == 0 else 1)
    return F.linear(x.mean((2, 3)), state["fc.weight"], state["fc.bias"]), maps(
        state["fc.weight"], x
    )


def vgg16(state, x_NCHW, large):
    """Pools after the 2nd, 4th, 7th and, unless large, 10th of 13 convolutions; each has a ReLU."""
    x, place = x_NCHW, 0
    for number in range(1, 14):
        weight, bias = state[f"features.{place}.weight"], state[f"features.{place}.bias"]
        x, place = F.relu(F.conv2d(x, weight, bias, padding=1)), place + 2
        if number in ((2, 4, 7) if large else (2, 4, 7, 10)):
            x, place = F.max_pool2d(x, 2, 2), place + 1
    x = F.relu(F.conv2d(x, state["conv6.weight"], state["conv6.bias"], padding=1))
    return F.linear(x.mean((2, 3)), state["fc.weight"], state["fc.bias"]), maps(
        state["fc.weight"], x
    )


def inception_v3(state, x_NCHW, large):
    def conv(name, x, stride=1, padding=0):
        x = F.conv2d(x, state[f"{name}.conv.weight"], stride=stride, padding=padding)
        return F.relu(norm(state, f"{name}.bn", x, eps=0.001))

    def chain(name, x, *steps):
        for step, padding in steps:
            x = conv(f"{name}.{step}", x, padding=padding)
        return x

    def mixed_5(name, x):
        return torch.cat([
            chain(name, x, ("branch1x1", 0)),
            chain(name, x, ("branch5x5_1", 0), ("branch5x5_2", 2)),
            chain(name, x, ("branch3x3dbl_1", 0), ("branch3x3dbl_2", 1), ("branch3x3dbl_3", 1)),
            chain(name, F.avg_pool2d(x, 3, 1, 1), ("branch_pool", 0)),
        ], 1)  # fmt: skip

    def mixed_6(name, x):
        wide, high = (0, 3), (3, 0)
        return torch.cat([
            chain(name, x, ("branch1x1", 0)),
            chain(name, x, ("branch7x7_1", 0), ("branch7x7_2", wide), ("branch7x7_3", high)),
            chain(name, x, ("branch7x7dbl_1", 0), ("branch7x7dbl_2", high),
                  ("branch7x7dbl_3", wide), ("branch7x7dbl_4", high), ("branch7x7dbl_5", wide)),
            chain(name, F.avg_pool2d(x, 3, 1, 1), ("branch_pool", 0)),
        ], 1)  # fmt: skip

    x = conv("Conv2d_1a_3x3", x_NCHW, stride=2, padding=1)
    x = conv("Conv2d_2b_3x3", conv("Conv2d_2a_3x3", x), padding=1)
    x = F.max_pool2d(x, 3, 2, 1, ceil_mode=True)
    x = conv("Conv2d_4a_3x3", conv("Conv2d_3b_1x1", x))
    x = F.max_pool2d(x, 3, 2, 1, ceil_mode=True)
    for name in ("Mixed_5b", "Mixed_5c", "Mixed_5d"):
        x = mixed_5(name, x)
    if not large:
        x = F.max_pool2d(x, 3, 2, ceil_mode=True)
    double = (("branch3x3dbl_1", 0), ("branch3x3dbl_2", 1), ("branch3x3dbl_3", 1))
    single = chain("Mixed_6a", x, ("branch3x3", 1))
    x = torch.cat([single, chain("Mixed_6a", x, *double), F.max_pool2d(x, 3, 1, 1)], 1)
    for name in ("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"):
        x = mixed_6(name, x)
    for name in ("SPG_A3_1b.0", "SPG_A3_2b.0"):
        x = F.relu(F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], padding=1))
    class_maps_NChw = F.conv2d(x, state["SPG_A4.weight"], state["SPG_A4.bias"])
    without_bias_NChw = class_maps_NChw - state["SPG_A4.bias"][:, None, None]
    return class_maps_NChw.mean((2, 3)), without_bias_NChw


def maps(w_CK, A_NKhw):
    return torch.einsum("ck,nkhw->nchw", w_CK, A_NKhw)


CODINGS = {"resnet50_cam": resnet50, "vgg16_cam": vgg16, "inception_v3_cam": inception_v3}


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_logits_and_maps_are_those_of_the_second_coding(name, large):
    network = build(name, large_maps=large)
    randomise_norms(network)
    with torch.no_grad():
        network.get_submodule(network.class_layer_name).bias.copy_(torch.arange(5.0))
        x_NCHW = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
        logits_NC, maps_NChw = CODINGS[name](network.state_dict(), x_NCHW, large)
        A_NKhw = network.forward_features(x_NCHW)
        assert A_NKhw.shape[2:] == ((28, 28) if large else (14, 14))
        torch.testing.assert_close(network(x_NCHW), logits_NC, rtol=1e-5, atol=1e-5)
        found_NChw = maps(network.class_weights(), A_NKhw)
        torch.testing.assert_close(found_NChw, maps_NChw, rtol=1e-4, atol=1e-5)
        assert maps_NChw.std() > 1e-4


@pytest.fixture
def checkpoint(tmp_path):
    """A file as their program writes it, of one of our networks."""

    def save(name, **settings):
        network = build(name, seed=1, **settings)
        randomise_norms(network)
        state = network.state_dict()
        del state["pixel_mean"], state["pixel_std"]
        path = tmp_path / "last_checkpoint.pth.tar"
        content = {"architecture": "x", "epoch": 3, "state_dict": state, "optimizer": {"state": {}}}
        torch.save(content, path)
        return str(path), state

    return save


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_their_checkpoints_load_by_name(name, large, checkpoint):
    path, state = checkpoint(name, large_maps=large)
    network = build(name, large_maps=large)
    load_weights(network, path, name=name, strict=True)
    loaded = network.state_dict()
    for key, tensor in state.items():
        assert torch.equal(loaded[key], tensor), key


@pytest.mark.parametrize("large", [False, True])
def test_vgg16_cam_of_the_other_size_is_refused(large, checkpoint):
    path, _ = checkpoint("vgg16_cam", large_maps=not large)
    with pytest.raises(UserError, match=r"are not those of vgg16_cam: .*features\.2[34]"):
        load_weights(build("vgg16_cam", large_maps=large), path, name="vgg16_cam", strict=True)


@pytest.mark.parametrize(
    ("name", "loaded_as", "said"),
    [
        ("resnet50_cam", "resnet50",
         "7x7 maps of 224x224 pixels (Choe et al.'s ResNet50-CAM, with other strides, is "
         "model=resnet50_cam)"),
        ("resnet50_cam", "resnet50_cam",
         "14x14 maps of 224x224 pixels (that of 28x28 maps is model.large_maps=true, ResNet-50 "
         "itself model=resnet50)"),
        ("inception_v3_cam", "inception_v3_cam",
         "14x14 maps of 224x224 pixels (that of 28x28 maps is model.large_maps=true)"),
    ],
)  # fmt: skip
def test_what_a_file_does_not_tell_is_said(name, loaded_as, said, checkpoint, caplog):
    path, _ = checkpoint(name)
    network = build(loaded_as)
    load_weights(network, path, name=loaded_as, strict=True, input_size=224)
    (line,) = [each.message for each in caplog.records if each.levelno == logging.WARNING]
    assert line.endswith(f"strides, paddings and dilations of {loaded_as}, with {said}")


@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize("large", [False, True])
def test_vgg16_cam_takes_all_convolutions_of_vgg16(large, norm, tmp_path):
    vgg = build("vgg", seed=1, norm=norm)
    torch.save(vgg.state_dict(), tmp_path / "vgg.pt")
    network = build("vgg16_cam", large_maps=large, norm=norm)
    load_weights(network, str(tmp_path / "vgg.pt"))
    theirs = [each for each in vgg.features if isinstance(each, torch.nn.Conv2d)]
    ours = [each for each in network.features if isinstance(each, torch.nn.Conv2d)]
    assert len(ours) == 13
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.equal(mine.weight, other.weight)


def test_torchvisions_weights_have_the_names(monkeypatch):
    """Names and shapes of the real networks of torchvision, at full width."""
    from torchvision import models

    from cam_repro.models import weights

    for name, made, taken, more in (
        ("vgg16_cam", models.vgg16, 13, {}),
        ("inception_v3_cam", models.inception_v3, 140, {"init_weights": False}),
        ("resnet50_cam", models.resnet50, 107, {}),
    ):
        with torch.device("meta"):
            state = made(weights=None, **more).state_dict()
        state = {key: torch.zeros(value.shape) for key, value in state.items()}
        monkeypatch.setattr(weights, "_torchvision_state", lambda *_, state=state: state)
        network = build(name, num_classes=1000, width=1.0, large_maps=True)
        assert len(load_weights(network, "torchvision").taken) == taken


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("large", [False, True])
def test_the_smallest_input_of_both_sizes(name, large):
    network = build(name, large_maps=large)
    side = network.minimum_input
    with torch.no_grad():
        assert network(torch.zeros(1, 3, side, side)).isfinite().all()
        if side > 1:
            with pytest.raises((RuntimeError, ValueError)):
                network.forward_head(network._extract(torch.zeros(1, 3, side - 1, side - 1)))


def test_cmwp_of_inception_needs_a_layer_before_its_last_maps():
    network = build("inception_v3_cam")
    assert build_saliency("cmwp").refusal(network) == (
        "c-MWP adds up to 0 at its last maps, the input of its class layer: name an earlier one"
    )
    method = ExcitationBackprop("Mixed_6e", contrastive=True)
    assert method.refusal(network) is None
    x_NCHW = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    _, maps_NRhw = method.explain(network, x_NCHW, lambda logits_NC: logits_NC.topk(2).indices)
    assert maps_NRhw.shape == (1, 2, 4, 4)
    assert maps_NRhw.isfinite().all()


@pytest.mark.parametrize("name", NETWORKS)
def test_large_maps_is_true_or_false(name):
    with pytest.raises(UserError, match=r"model\.large_maps=28: give true or false"):
        build(name, large_maps=28)
