"""Caffe's layers by hand: normalisation, pooling, groups, colours."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from caffe_files import layers_of, randomise, write
from model_helpers import build
from torch import nn

from cam_repro.models import load_weights
from cam_repro.models.layers import caffe_lrn, ceil_max_pool


def test_local_response_normalisation_of_a_literal_vector():
    """alpha / 5 = 2e-5. Three channels of 500: 1 + 2e-5 * 750,000 = 16, and 16^0.75 = 8.

    The sixth, alone in its window: 1 + 2e-5 * 250,000 = 6, and 6^0.75 = 3.8336586.
    """
    x_NCHW = torch.tensor([500.0, 500, 500, 0, 0, 500, 0, 0]).view(1, 8, 1, 1)
    y_C = caffe_lrn()(x_NCHW).flatten()
    expected = [62.5, 62.5, 62.5, 0, 0, 500 / 3.8336586, 0, 0]
    assert y_C.tolist() == pytest.approx(expected, rel=1e-6)


def test_local_response_normalisation_sees_two_channels_on_each_side():
    """x = 1000 in the first channel: the third sees it (1 + 20 = 21), the fourth does not."""
    x_NCHW = torch.tensor([1000.0, 0, 1, 1]).view(1, 4, 1, 1)
    y_C = caffe_lrn()(x_NCHW).flatten().tolist()
    assert y_C[2] == pytest.approx(21.00004**-0.75, rel=1e-6)
    assert y_C[3] == pytest.approx(1.00004**-0.75, rel=1e-6)


def test_ceil_pooling_of_a_literal_map():
    """4x4, 3x3 stride 2: Caffe has ceil((4 - 3) / 2) + 1 = 2 windows a side, the last cut short."""
    x_NCHW = torch.arange(16.0).view(1, 1, 4, 4)
    assert ceil_max_pool()(x_NCHW).tolist() == [[[[10.0, 11.0], [14.0, 15.0]]]]
    vgg_pool = build("vgg", variant="caffe").pool5
    assert vgg_pool(torch.arange(9.0).view(1, 1, 3, 3)).tolist() == [[[[4.0, 5.0], [7.0, 8.0]]]]
    pool4 = build("googlenet", variant="caffe").maxpool4
    assert pool4(x_NCHW).tolist() == [[[[10.0, 11.0], [14.0, 15.0]]]]


def test_no_window_begins_beyond_the_map():
    """Caffe's sizes of 3x3 stride 2 pools on 2 to 9 pixels: ceil((n - 3) / 2) + 1."""
    sizes = [ceil_max_pool()(torch.zeros(1, 1, n, n)).shape[-1] for n in range(2, 10)]
    assert sizes == [1, 1, 2, 2, 3, 3, 4, 4]


def test_a_grouped_convolution_by_hand():
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


def test_a_pure_red_pixel(tmp_path):
    """Caffe: 1 (0 - 103.939) + 10 (0 - 116.779) + 100 (255 - 123.68) of blue, green, red."""
    network = build("vgg", variant="caffe")
    layers = layers_of(network)
    weight = np.zeros((8, 3, 3, 3), np.float32)
    weight[0, :, 1, 1] = 1, 10, 100
    weight[1, :, 0, 0] = 1, 10, 100  # the upper left neighbour, outside at the corner
    layers["conv1_1"] = [weight, np.zeros(8, np.float32)]
    load_weights(network, write(tmp_path / "w.caffemodel", layers), name="vgg", strict=True)
    red_N3HW = torch.tensor([255, 0, 0], dtype=torch.uint8).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    with torch.no_grad():
        y_NCHW = network.features[0](network.normalize(red_N3HW))
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
def test_normalize_gives_what_caffe_saw(name, bgr, tmp_path):
    network = randomise(build(name, variant="caffe"))
    load_weights(
        network, write(tmp_path / "w.caffemodel", layers_of(network)), name=name, strict=True
    )
    values = torch.arange(256, dtype=torch.uint8)
    images_N3HW = torch.stack([values, values.flip(0), values // 2]).view(1, 3, 16, 16)
    seen_N3HW = network.normalize(images_N3HW).flip(1)
    expected_N3HW = images_N3HW.flip(1).float() - torch.tensor(bgr).view(3, 1, 1)
    torch.testing.assert_close(seen_N3HW, expected_N3HW, rtol=0, atol=3e-5)
