"""Each method's equation on a network with known maps and weights, and the identities."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from cam_repro.errors import UserError
from cam_repro.models.base import CamNetwork, PooledNetwork
from cam_repro.models.modes import frozen
from cam_repro.saliency.backprop import Backprop
from cam_repro.saliency.cam import Cam, class_activation_maps
from cam_repro.saliency.gradcam import GradCam

METHODS = [Cam(), GradCam(), Backprop(blur=0.0), Backprop(blur=0.1)]
IDS = ["cam", "gradcam", "backprop", "backprop-blur"]


class Identity(PooledNetwork):
    """The input is the last convolutional map: A = x, K = 3, with the weights given."""

    minimum_input = 1
    class_layer_name = "fc"

    def __init__(self, w_CK: list[list[float]], pool: str = "avg") -> None:
        super().__init__(len(w_CK), 1.0, "none", 0.0, pool)
        self.fc = nn.Linear(3, len(w_CK), bias=False)
        with torch.no_grad():
            self.fc.weight.copy_(torch.tensor(w_CK))

    def _extract(self, x_NCHW: Tensor) -> Tensor:
        return x_NCHW


class Small(PooledNetwork):
    """Two convolutions and a pooled head, weights drawn from a seed."""

    minimum_input = 4
    class_layer_name = "fc"

    def __init__(self, pool: str = "avg") -> None:
        super().__init__(5, 1.0, "none", 0.0, pool)
        self.conv1 = nn.Conv2d(3, 6, 3, padding=1)
        self.conv2 = nn.Conv2d(6, 7, 3, stride=2, padding=1)
        self.fc = nn.Linear(7, 5)

    def _extract(self, x_NCHW: Tensor) -> Tensor:
        return self.conv2(self.conv1(x_NCHW).relu()).relu()


class FullyConnected(CamNetwork):
    """A head that is not linear in the pooled maps."""

    minimum_input = 8
    class_layer_name = "fc2"

    def __init__(self) -> None:
        super().__init__(5, 1.0, "none", 0.0)
        self.conv = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.fc1 = nn.Linear(4 * 4 * 4, 10)
        self.fc2 = nn.Linear(10, 5)

    def _extract(self, x_NCHW: Tensor) -> Tensor:
        return self.conv(x_NCHW).relu()

    def forward_head(self, A_NKhw: Tensor) -> Tensor:
        return self.fc2(self.fc1(A_NKhw.flatten(1)).relu())

    def class_weights(self) -> None:
        return None


class Linear(CamNetwork):
    """S_c = sum of V_c * x: its gradient is V_c wherever it is taken."""

    minimum_input = 1
    class_layer_name = ""

    def __init__(self, V_CCHW: Tensor) -> None:
        super().__init__(len(V_CCHW), 1.0, "none", 0.0)
        self.V_CCHW = nn.Parameter(V_CCHW)

    def _extract(self, x_NCHW: Tensor) -> Tensor:
        return x_NCHW

    def forward_head(self, A_NKhw: Tensor) -> Tensor:
        return torch.einsum("nkhw,ckhw->nc", A_NKhw, self.V_CCHW)

    def class_weights(self) -> None:
        return None


def seeded(build: Callable[[], CamNetwork]) -> CamNetwork:
    torch.manual_seed(0)
    return build().eval()


def inputs(n: int = 3, size: int = 8) -> Tensor:
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(1))


CLASSES_NR = torch.tensor([[0, 3, 3], [4, 1, 0], [2, 2, 2]])

# Two images, three maps of 2 x 2.
A_NKHW = torch.tensor(
    [
        [[[1.0, 0], [2, 1]], [[0, 1], [1, 0]], [[1, 1], [0, 2]]],
        [[[4.0, 0], [0, 0]], [[0, 0], [0, 2]], [[0, 4], [0, 0]]],
    ]
)
W_CK = [[1.0, 2, -1], [0, -1, 3]]
# By hand: M_c = w_c0 A_0 + w_c1 A_1 + w_c2 A_2.
CAM_00 = [[0, 1], [4, -1]]
CAM_01 = [[3, 2], [-1, 6]]
CAM_10 = [[4, -4], [0, 4]]
CAM_11 = [[0, 12], [0, -2]]


# --- CAM -----------------------------------------------------------------------------------------


def test_cam_literal():
    logits_NC, maps_NRhw = Cam().explain(
        Identity(W_CK), A_NKHW, lambda logits_NC: torch.tensor([[0, 1], [1, 0]])
    )
    assert maps_NRhw.tolist() == [[CAM_00, CAM_01], [CAM_11, CAM_10]]
    # The means of the maps: 4/4, 10/4; 4/4, 10/4.
    assert logits_NC.tolist() == [[1, 2.5], [1, 2.5]]


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        ([[1], [0]], [[CAM_01], [CAM_10]]),
        ([[1, 1, 0, 1], [0, 0, 0, 1]], [[CAM_01] * 2 + [CAM_00, CAM_01], [CAM_10] * 3 + [CAM_11]]),
    ],
)
def test_cam_of_any_number_of_classes(classes, expected):
    assert Cam()(Identity(W_CK), A_NKHW, torch.tensor(classes)).tolist() == expected


def test_cam_takes_maps_of_any_layout_and_precision():
    classes_NR = torch.tensor([[0, 1], [0, 1]])
    w_CK = torch.tensor(W_CK)
    for A_NKhw in (A_NKHW.to(memory_format=torch.channels_last), A_NKHW.bfloat16()):
        maps_NRhw = class_activation_maps(A_NKhw, w_CK, classes_NR)
        assert maps_NRhw.dtype == torch.float32
        assert maps_NRhw.tolist() == [[CAM_00, CAM_01], [CAM_10, CAM_11]]


def test_mean_of_cam_is_the_logit_less_the_bias():
    network, classes_NR = seeded(Small), torch.arange(5).expand(3, 5)
    logits_NC, maps_NRhw = Cam().explain(network, inputs(), lambda _: classes_NR)
    assert maps_NRhw.shape == (3, 5, 4, 4)
    torch.testing.assert_close(maps_NRhw.mean((2, 3)) + network.fc.bias, logits_NC)


def test_cam_refuses_a_network_without_class_weights():
    network = seeded(FullyConnected)
    assert Cam().refusal(network) == "it has no linear layer over pooled maps"
    assert Cam().refusal(seeded(Small)) is None
    assert GradCam().refusal(network) is None
    assert Backprop(blur=0.0).refusal(network) is None
    with pytest.raises(UserError) as caught:
        Cam()(network, inputs(), CLASSES_NR)
    assert "FullyConnected" in str(caught.value)
    assert "saliency=backprop" in str(caught.value)
    assert "\n" not in str(caught.value)


# --- Grad-CAM ------------------------------------------------------------------------------------


def test_gradcam_literal_on_pooled_maps():
    maps_NRhw = GradCam()(Identity(W_CK), A_NKHW, torch.tensor([[0, 1], [1, 1]]))
    # ReLU(CAM) / 4.
    assert maps_NRhw.tolist() == [
        [[[0, 0.25], [1, 0]], [[0.75, 0.5], [0, 1.5]]],
        [[[0, 3], [0, 0]]] * 2,
    ]


def test_gradcam_literal_on_max_pooling():
    # The gradient of S_0 is w_0k at one pixel of map k, so alpha = w / 4 again; of image 1.
    maps_NRhw = GradCam()(Identity(W_CK, pool="max"), A_NKHW[1:], torch.tensor([[0]]))
    assert maps_NRhw.tolist() == [[[[1, 0], [0, 1]]]]


def test_gradcam_is_rectified_cam_on_a_pooled_network():
    network, x_NCHW = seeded(Small), inputs()
    cam_NRhw = Cam()(network, x_NCHW, CLASSES_NR)
    assert (cam_NRhw < 0).any()
    assert (cam_NRhw > 0).any()
    torch.testing.assert_close(
        GradCam()(network, x_NCHW, CLASSES_NR), cam_NRhw.relu() / (4 * 4), rtol=1e-5, atol=1e-6
    )


def test_gradcam_of_a_fully_connected_head_follows_its_equation():
    network, x_NCHW = seeded(FullyConnected), inputs()
    maps_NRhw = GradCam()(network, x_NCHW, CLASSES_NR)
    assert (maps_NRhw > 0).any()
    for n in range(3):
        for r, c in enumerate(CLASSES_NR[n].tolist()):
            A_Khw = network.forward_features(x_NCHW[n : n + 1]).detach()[0]
            gradient_Khw = torch.func.grad(lambda A, c=c: network.forward_head(A[None])[0, c])(
                A_Khw
            )
            weighted = [gradient_Khw[k].mean() * A_Khw[k] for k in range(4)]
            torch.testing.assert_close(maps_NRhw[n, r], sum(weighted).clamp(min=0))


# --- Backprop ------------------------------------------------------------------------------------


def test_backprop_literal_on_a_linear_network():
    V_CCHW = torch.zeros(2, 3, 2, 2)
    V_CCHW[0, :, 0, 0] = torch.tensor([1.0, -5, 2])  # the strongest is negative
    V_CCHW[0, 2, 1, 0] = 3
    V_CCHW[1, :, 0, 1] = torch.tensor([-1.0, -1, 0.5])
    maps_NRhw = Backprop(blur=0.0)(Linear(V_CCHW), inputs(2, 2), torch.tensor([[0, 1], [1, 1]]))
    first, second = [[5, 0], [3, 0]], [[0, 1], [0, 0]]
    assert maps_NRhw.tolist() == [[first, second], [second, second]]


@pytest.mark.parametrize("build", [Small, lambda: Small("max"), FullyConnected])
def test_backprop_is_autograd_of_each_class_alone(build):
    network, x_NCHW = seeded(build), inputs()
    maps_NRhw = Backprop(blur=0)(network, x_NCHW, CLASSES_NR)
    assert maps_NRhw.shape == (3, 3, 8, 8)
    for n in range(3):
        for r, c in enumerate(CLASSES_NR[n].tolist()):
            gradient = torch.func.grad(lambda x, c=c: network(x[None])[0, c])(x_NCHW[n])
            torch.testing.assert_close(maps_NRhw[n, r], gradient.abs().max(0).values)
            assert gradient.any()


def impulse(size: int, y: int, x: int) -> Tensor:
    V_CCHW = torch.zeros(1, 3, size, size)
    V_CCHW[0, 1, y, x] = 1
    return V_CCHW


def test_blur_is_a_gaussian_of_a_share_of_the_side():
    # The standard deviation is 0.1 x 20 = 2 pixels, cut at three of them.
    plain = torch.zeros(20, 20)
    plain[9, 10] = 1
    blurred = Backprop(blur=0.1)(Linear(impulse(20, 9, 10)), inputs(1, 20), torch.tensor([[0]]))
    expected = gaussian_filter(plain.numpy(), 2, mode="mirror", truncate=3)
    np.testing.assert_allclose(blurred[0, 0].numpy(), expected, atol=1e-7)
    assert blurred.sum().item() == pytest.approx(1, abs=1e-5)
    assert blurred[0, 0, 9, 10].item() < 0.05
    torch.testing.assert_close(blurred[0, 0, 9 - 3, 10], blurred[0, 0, 9 + 3, 10])


@pytest.mark.parametrize("size", [8, 9])
@pytest.mark.parametrize("blur", [0.0, 0.02, 0.1, 0.34, 0.49])
def test_blur_keeps_a_constant_map(blur, size):
    V_CCHW = torch.full((1, 3, size, size), -0.5)
    maps_NRhw = Backprop(blur=blur)(Linear(V_CCHW), inputs(1, size), torch.tensor([[0]]))
    torch.testing.assert_close(maps_NRhw, torch.full((1, 1, size, size), 0.5))


@pytest.mark.parametrize("blur", [-0.1, 0.5, float("nan")])
def test_impossible_blur_is_refused(blur):
    with pytest.raises(UserError, match=rf"saliency\.blur={blur}"):
        Backprop(blur=blur)


# --- what holds for every method -----------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS, ids=IDS)
def test_explain_chooses_classes_from_the_networks_logits(method):
    network, x_NCHW, asked = seeded(Small), inputs(), []

    def best_two(logits_NC):
        assert not logits_NC.requires_grad
        asked.append(logits_NC.clone())
        return logits_NC.topk(2).indices

    logits_NC, maps_NRhw = method.explain(network, x_NCHW, best_two)
    with torch.no_grad():
        expected_NC = network(x_NCHW)
    assert len(asked) == 1
    torch.testing.assert_close(asked[0], expected_NC)
    torch.testing.assert_close(logits_NC, expected_NC)
    assert torch.equal(maps_NRhw, method(network, x_NCHW, expected_NC.topk(2).indices))


@pytest.mark.parametrize("method", METHODS, ids=IDS)
def test_an_image_does_not_depend_on_its_batch_nor_a_class_on_the_others(method):
    network, x_NCHW = seeded(Small), inputs()
    maps_NRhw = method(network, x_NCHW, CLASSES_NR)
    for n in range(3):
        for r in range(3):
            alone = method(network, x_NCHW[n : n + 1], CLASSES_NR[n : n + 1, r : r + 1])
            torch.testing.assert_close(maps_NRhw[n, r], alone[0, 0])


@pytest.mark.parametrize("method", METHODS, ids=IDS)
def test_nothing_of_the_gradients_stays(method):
    network, x_NCHW = seeded(Small), inputs()
    network.conv2.weight.requires_grad_(False)
    flags = [parameter.requires_grad for parameter in network.parameters()]
    assert flags.count(False) == 1

    free = method.explain(network, x_NCHW, lambda _: CLASSES_NR)
    with frozen(network):
        assert not any(parameter.requires_grad for parameter in network.parameters())
        in_frozen = method.explain(network, x_NCHW, lambda _: CLASSES_NR)
    with torch.no_grad():
        without_grad = method.explain(network, x_NCHW, lambda _: CLASSES_NR)
        assert not torch.is_grad_enabled()
    assert torch.is_grad_enabled()

    assert [parameter.requires_grad for parameter in network.parameters()] == flags
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not x_NCHW.requires_grad
    assert x_NCHW.grad is None
    for logits_NC, maps_NRhw in (free, in_frozen, without_grad):
        assert not logits_NC.requires_grad
        assert not maps_NRhw.requires_grad
        torch.testing.assert_close(maps_NRhw, free[1])
    assert not any(module._forward_hooks or module._backward_hooks for module in network.modules())


def test_frozen_restores_after_an_error():
    network = seeded(Small)
    network.fc.bias.requires_grad_(False)
    before = [parameter.requires_grad for parameter in network.parameters()]
    with pytest.raises(RuntimeError), frozen(network):
        raise RuntimeError
    assert [parameter.requires_grad for parameter in network.parameters()] == before


@pytest.mark.parametrize("method", METHODS, ids=IDS)
def test_maps_stay_in_float32_under_mixed_precision(method):
    # Identity's gradients are exact in bfloat16, its maps are not: 1 + 1/256 needs 9 bits.
    x_NCHW = 1 + inputs(2, 8).round().abs() / 256
    network, classes_NR = Identity(W_CK), torch.tensor([[0, 1], [1, 0]])
    expected = method(network, x_NCHW, classes_NR)
    with torch.autocast("cpu", torch.bfloat16):
        logits_NC, maps_NRhw = method.explain(network, x_NCHW, lambda _: classes_NR)
    assert maps_NRhw.dtype == logits_NC.dtype == torch.float32
    torch.testing.assert_close(maps_NRhw, expected)


def test_blur_stays_in_float32_under_mixed_precision():
    network, method = Linear(impulse(20, 9, 10)), Backprop(blur=0.1)
    arguments = network, inputs(1, 20), torch.tensor([[0]])
    expected = method(*arguments)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(method(*arguments), expected)
