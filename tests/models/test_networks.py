"""The networks against the paper's construction: sizes, identities, literal maps."""

from __future__ import annotations

import pytest
import torch
from model_helpers import NAMES, build
from torch import nn

from cam_repro.errors import UserError
from cam_repro.models.alexnet import AlexNetGap, AlexNetStarGap
from cam_repro.models.base import IMAGENET_MEAN, IMAGENET_STD, ClassMapNetwork, PooledNetwork
from cam_repro.models.googlenet import GoogLeNetGap
from cam_repro.models.vgg import VggGap

WITHOUT_CAM = {"alexnet", "vgg"}
WITH_CAM = [name for name in NAMES if name not in WITHOUT_CAM]

# K at width 1 (None: one map a class); h = w at 224 and at 227 pixels.
MAPS = {
    "alexnet": (256, 13, 13),
    "alexnet_gap": (1024, 13, 13),
    "alexnet_star_gap": (512, 11, 11),
    "vgg": (512, 14, 14),
    "vgg_gap": (1024, 14, 14),
    "googlenet": (1024, 7, 7),
    "googlenet_gap": (1024, 14, 14),
    "googlenet_gmp": (1024, 14, 14),
    "nin": (None, 6, 6),
    "squeezenet": (None, 13, 13),
    "resnet18": (512, 7, 8),
    "resnet18b": (512, 28, 29),
    "resnet50": (2048, 7, 8),
    "resnet50_cam": (2048, 14, 15),
    "vgg16_cam": (1024, 14, 14),
    "inception_v3_cam": (1024, 14, 14),
}


def _input(side: int = 72, n: int = 2, seed: int = 1) -> torch.Tensor:
    return torch.randn(n, 3, side, side, generator=torch.Generator().manual_seed(seed))


def test_every_network_of_the_tables_has_a_config():
    assert set(MAPS) <= set(NAMES)


@pytest.mark.parametrize("name", MAPS)
def test_maps_have_the_sizes_of_the_paper(name):
    units, at_224, at_227 = MAPS[name]
    network = build(name, num_classes=3, width=0.125)
    channels = 3 if units is None else units // 8
    for side, size in ((224, at_224), (227, at_227)):
        with torch.no_grad():
            A_NKhw = network.forward_features(_input(side, n=1))
        assert A_NKhw.shape == (1, channels, size, size)


def test_resnet18b_makes_14x14_of_the_size_it_was_made_for():
    with torch.no_grad():
        assert build("resnet18b").forward_features(_input(112)).shape == (2, 64, 14, 14)


# The identity is average pooling's; a residual network always has batch norm.
AVERAGING = [
    (name, norm)
    for name in WITH_CAM
    for norm in ("none", "batch")
    if name != "googlenet_gmp" and not (norm == "none" and name.startswith("resnet"))
]


@pytest.mark.parametrize(("name", "norm"), AVERAGING)
def test_mean_of_cam_is_the_logit(name, norm):
    """Paper, section 2: the sum of M_c over (x,y) is S_c; here means, plus a bias."""
    network = build(name, norm=norm).double()
    class_layer = network.get_submodule(network.class_layer_name)
    bias_C = torch.zeros(5).double()
    if class_layer.bias is not None and isinstance(network, PooledNetwork):
        with torch.no_grad():
            bias_C = class_layer.bias.copy_(torch.arange(5.0))
    x_NCHW = _input().double()
    with torch.no_grad():
        A_NKhw = network.forward_features(x_NCHW)
        w_CK = network.class_weights()
        assert w_CK is not None
        cam_NChw = torch.einsum("ck,nkhw->nchw", w_CK, A_NKhw)
        logits_NC = network(x_NCHW)
        assert torch.equal(network.forward_head(A_NKhw), logits_NC)
    torch.testing.assert_close(cam_NChw.mean((2, 3)) + bias_C, logits_NC, rtol=1e-10, atol=1e-12)
    assert (A_NKhw >= 0).all()
    assert A_NKhw.any()


@pytest.mark.parametrize("name", sorted(WITHOUT_CAM))
def test_fully_connected_heads_have_no_class_weights(name):
    network = build(name)
    assert network.class_weights() is None
    assert network(_input()).shape == (2, 5)


@pytest.mark.parametrize(("pool", "expected"), [("avg", [2.0, -3.0]), ("max", [4.5, -7.0])])
def test_head_on_literal_maps(pool, expected):
    """Two 2x2 maps: means 2 and 1, maxima 5 and 3; 1.5 F_1 - F_2 and F_2 - 2 F_1."""
    network = build("googlenet_gap", num_classes=2, pool=pool, width=0.0001)
    maps = torch.tensor([[[0.0, 1], [2, 5]], [[0, 1], [0, 3]]])
    A_NKhw = torch.cat([maps, torch.zeros(6, 2, 2)])[None]
    w_CK = network.class_weights()
    assert w_CK is not None
    assert w_CK.shape == (2, 8)
    with torch.no_grad():
        w_CK.zero_()[:, :2] = torch.tensor([[1.5, -1.0], [-2.0, 1.0]])
        assert network.forward_head(A_NKhw).tolist() == [expected]


def test_class_activation_map_of_a_hand_made_vgg_gap():
    """All kernels pass the first channel on, so the map is a max-pooled image (literal values)."""
    network = VggGap(num_classes=2, width=0.0001).eval()
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.zero_()
                module.weight[0, 0, 1, 1] = 1.0
                assert module.bias is not None
                module.bias.zero_()
        network.cam_fc.weight.zero_()
        network.cam_fc.weight[:, 0] = torch.tensor([2.0, -1.0])
        image_1CHW = torch.zeros(1, 3, 32, 32)
        image_1CHW[0, 0, 3, 7] = 5.0  # upper left quarter
        image_1CHW[0, 0, 20, 31] = 3.0  # lower right
        image_1CHW[0, 0, 31, 0] = -4.0  # stopped by the first ReLU
        A_NKhw = network.forward_features(image_1CHW)
        cam_NChw = torch.einsum("ck,nkhw->nchw", network.class_weights(), A_NKhw)
        assert cam_NChw.tolist() == [[[[10.0, 0.0], [0.0, 6.0]], [[-5.0, 0.0], [0.0, -3.0]]]]
        assert network(image_1CHW).tolist() == [[4.0, -2.0]]


def test_normalize_is_that_of_the_weights():
    network = build("nin")
    images_N3HW = torch.tensor([0, 128, 255], dtype=torch.uint8).view(1, 3, 1, 1)
    values = [0.0, 128 / 255, 1.0]
    expected = [(v - m) / s for v, m, s in zip(values, IMAGENET_MEAN, IMAGENET_STD, strict=True)]
    x_NCHW = network.normalize(images_N3HW)
    assert x_NCHW.dtype == torch.float32
    assert x_NCHW.flatten().tolist() == pytest.approx(expected, rel=1e-6)
    assert {"pixel_mean", "pixel_std"} <= set(network.state_dict())


def test_groups_shape_the_added_convolutions_alone():
    full = VggGap(num_classes=2, width=0.25, groups=1)
    two = VggGap(num_classes=2, width=0.25, groups=2)
    assert full.cam_conv.conv.weight.shape == (256, 128, 3, 3)
    assert two.cam_conv.conv.weight.shape == (256, 64, 3, 3)
    assert two.features[26].weight.shape == full.features[26].weight.shape
    star = AlexNetStarGap(num_classes=2, width=0.25, groups=2)
    assert star.cam_conv6.conv.weight.shape == (128, 48, 3, 3)
    assert star.cam_conv7.conv.weight.shape == (128, 64, 3, 3)


def test_full_width_channels_are_the_papers():
    vgg = VggGap(num_classes=1000)
    assert vgg.cam_conv.conv.weight.shape == (1024, 512, 3, 3)
    assert vgg.cam_fc.weight.shape == (1000, 1024)
    assert vgg.cam_fc.bias is None
    assert AlexNetGap(num_classes=7).cam_conv.conv.weight.shape == (1024, 256, 3, 3)
    star = AlexNetStarGap(num_classes=7)
    assert star.features[10].weight.shape == (384, 256, 3, 3)
    assert star.cam_conv6.conv.weight.shape == (512, 384, 3, 3)
    assert star.cam_conv7.conv.weight.shape == (512, 512, 3, 3)
    assert GoogLeNetGap(num_classes=7).cam_conv.conv.weight.shape == (1024, 832, 3, 3)


def test_the_gmp_row_is_the_gap_row_with_another_pool():
    gap, gmp = build("googlenet_gap"), build("googlenet_gmp")
    x_NCHW = _input()
    with torch.no_grad():
        A_NKhw = gap.forward_features(x_NCHW)
        assert torch.equal(gmp.forward_features(x_NCHW), A_NKhw)
        w_CK = gmp.class_weights()
        assert w_CK is not None
        torch.testing.assert_close(gmp(x_NCHW), A_NKhw.amax((2, 3)) @ w_CK.T)
        assert not torch.equal(gmp(x_NCHW), gap(x_NCHW))


@pytest.mark.parametrize("name", NAMES)
def test_gradient_reaches_every_parameter(name):
    network = build(name, norm="batch", dropout=0.0).train()
    loss = nn.functional.cross_entropy(network(_input(96, n=4)), torch.tensor([0, 1, 2, 4]))
    loss.backward()
    without = [key for key, p in network.named_parameters() if p.grad is None]
    assert without == []
    dead = {
        key.rpartition(".")[0]
        for key, p in network.named_parameters()
        if key.endswith("weight") and p.grad is not None and not p.grad.any()
    }
    assert dead == set()


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_weights(name):
    one, two, other = build(name), build(name), build(name, seed=1)
    for key, tensor in one.state_dict().items():
        assert torch.equal(tensor, two.state_dict()[key]), key
    layer = f"{one.class_layer_name}.weight"
    assert not torch.equal(one.state_dict()[layer], other.state_dict()[layer])


@pytest.mark.parametrize("name", ["nin", "squeezenet"])
def test_class_maps_start_alive(name):
    """A map that is zero everywhere, behind the last ReLU, would never learn."""
    network = build(name, num_classes=20)
    assert isinstance(network, ClassMapNetwork)
    with torch.no_grad():
        A_NChw = network.forward_features(_input(128, n=4))
    assert (A_NChw > 0).float().mean() > 0.99


def test_initial_weights_are_those_documented():
    network = build("vgg_gap", width=0.5)
    state = network.state_dict()
    assert state["cam_conv.conv.weight"].std().item() == pytest.approx(0.01, rel=0.02)
    assert state["cam_fc.weight"].std().item() == pytest.approx(0.01, rel=0.05)
    he = (2 / (256 * 9)) ** 0.5
    assert state["features.28.weight"].std().item() == pytest.approx(he, rel=0.02)
    assert not any(tensor.any() for key, tensor in state.items() if key.endswith("bias"))


@pytest.mark.parametrize("name", NAMES)
def test_smallest_input_is_right_and_a_smaller_one_is_refused(name):
    network = build(name)
    smallest = network.minimum_input
    with torch.no_grad():
        assert network(_input(smallest, n=1)).shape == (1, 5)
        if smallest > 1:
            with pytest.raises(UserError, match=rf"too small.* {smallest}x{smallest} or more"):
                network(_input(smallest - 1))
            with pytest.raises((RuntimeError, ValueError)):
                network.forward_head(network._extract(_input(smallest - 1, n=1)))


@pytest.mark.parametrize("name", NAMES)
def test_held_maps_do_not_change_under_the_head(name):
    network = build(name)
    with torch.no_grad():
        A_NKhw = network.forward_features(_input())
        before_NKhw = A_NKhw.clone()
        network.forward_head(A_NKhw)
    assert torch.equal(A_NKhw, before_NKhw)


def test_not_square_and_channels_last_inputs_work():
    network = build("googlenet_gap")
    x_NCHW = _input(64)[:, :, :, :48]
    with torch.no_grad():
        plain_NC = network(x_NCHW)
        last_NC = network.to(memory_format=torch.channels_last)(
            x_NCHW.contiguous(memory_format=torch.channels_last)
        )
    torch.testing.assert_close(plain_NC, last_NC, rtol=1e-4, atol=1e-6)
