"""Compiled networks: the same answer, one compilation a pass, the network left as it was."""

import numpy as np
import pytest
import torch
from torch import nn

from cam_repro.engine.compiling import compiled, pad_batch
from cam_repro.errors import UserError
from cam_repro.models.base import PooledNetwork


class Blocks(PooledNetwork):
    """One convolution of literal weights and batch norm: A is 3 x the sum of the colours + 1."""

    minimum_input = 1
    class_layer_name = "fc"

    def __init__(self):
        super().__init__(2, 1.0, "none", 0.0)
        self.conv = nn.Conv2d(3, 2, 1, bias=False)
        self.norm = nn.BatchNorm2d(2, eps=1e-12)  # torch 2.11 refuses to compile 0
        self.fc = nn.Linear(2, 2, bias=False)
        with torch.no_grad():
            self.conv.weight.fill_(1)
            self.norm.weight.fill_(3)
            self.norm.bias.fill_(1)
            self.fc.weight.copy_(torch.eye(2))

    def _extract(self, x_NCHW):
        return self.norm(self.conv(x_NCHW)).relu()


@pytest.fixture
def network():
    torch.compiler.reset()
    yield Blocks().eval()
    torch.compiler.reset()


def test_the_compiled_network_computes_the_same_for_full_and_short_batches(network):
    x_NCHW = torch.rand(4, 3, 5, 5, generator=torch.Generator().manual_seed(0)) - 0.3
    expected = (3 * x_NCHW.sum(1, keepdim=True) + 1).relu().expand(-1, 2, -1, -1)
    plain = network._extract
    with (
        torch._dynamo.config.patch(error_on_recompile=True),
        torch.no_grad(),
        compiled(network.requires_grad_(False), gradients=False),
    ):
        assert network._extract != plain
        for count in (4, 3, 1):
            A_NKhw = network.forward_features(pad_batch(x_NCHW[:count], 4))[:count]
            torch.testing.assert_close(A_NKhw, expected[:count], rtol=0, atol=1e-5)
    assert network._extract == plain
    assert "_extract" not in vars(network)


def test_gradients_pass_through_the_compiled_network(network):
    x_NCHW = torch.ones(2, 3, 2, 2, requires_grad=True)
    with compiled(network, gradients=True):
        network(x_NCHW)[:, 0].sum().backward()
    # The score of class 0 is the mean over 4 places of 3 x the sum of the colours, plus 1.
    np.testing.assert_allclose(x_NCHW.grad, 0.75, atol=1e-6)
    # Weights get theirs too: 3 x the mean of each colour, which is 1, of two images.
    np.testing.assert_allclose(network.conv.weight.grad[0].ravel(), 6, atol=1e-5)
    np.testing.assert_allclose(network.conv.weight.grad[1].ravel(), 0, atol=1e-5)


def test_without_a_compiler_there_is_one_line(network):
    nothing = {"cpp.cxx": (None, "no-such-compiler"), "fx_graph_cache": False}
    with (
        torch._inductor.config.patch(nothing),
        torch.no_grad(),
        pytest.raises(UserError, match=r"compile=true: .*no-such-compiler.*compile=false"),
        compiled(network, gradients=False),
    ):
        network(torch.ones(1, 3, 7, 7))
    assert "_extract" not in vars(network)


def test_a_short_batch_is_filled_with_zeros():
    x_N1 = torch.tensor([[1.0], [2.0]])
    assert pad_batch(x_N1, 4).tolist() == [[1], [2], [0], [0]]
    assert pad_batch(x_N1, 2) is x_N1
    assert pad_batch(x_N1, 1) is x_N1
