"""The methods beside CAM: literal maps, what their papers say of them, and captum's answers."""

from __future__ import annotations

import captum.attr
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from cam_repro.config import choices
from cam_repro.errors import UserError
from cam_repro.models.adapted import ModuleNetwork
from cam_repro.models.base import CamNetwork, PooledNetwork
from cam_repro.models.squeezenet import SqueezeNet
from cam_repro.models.vgg import Vgg
from cam_repro.saliency.backprop import smooth
from cam_repro.saliency.base import gradients_of_classes
from cam_repro.saliency.build import build_saliency
from cam_repro.saliency.cam import Cam
from cam_repro.saliency.eigencam import EigenCam
from cam_repro.saliency.excitation_backprop import ExcitationBackprop
from cam_repro.saliency.gradcam import GradCam
from cam_repro.saliency.gradcam_pp import GradCamPlusPlus
from cam_repro.saliency.guided_backprop import GuidedBackprop
from cam_repro.saliency.guided_gradcam import GuidedGradCam
from cam_repro.saliency.hirescam import HiResCam
from cam_repro.saliency.layercam import LayerCam
from cam_repro.saliency.masking import weighted_sum
from cam_repro.saliency.minmax_cam import MinMaxCam
from cam_repro.saliency.occlusion import Occlusion
from cam_repro.saliency.rise import Rise
from cam_repro.saliency.scorecam import ScoreCam
from cam_repro.saliency.xgradcam import XGradCam

FAMILY = ["gradcam", "gradcam_pp", "hirescam", "layercam", "xgradcam"]
CLASSES_NR = torch.tensor([[0, 3, 3], [4, 1, 0]])


class Hand(PooledNetwork):
    """A = x, three maps; two classes with the weights given."""

    minimum_input = 1
    class_layer_name = "fc"

    def __init__(self) -> None:
        super().__init__(2, 1.0, "none", 0.0)
        self.fc = nn.Linear(3, 2, bias=False)
        with torch.no_grad():
            self.fc.weight.copy_(torch.tensor([[1.0, 2, -1], [0, -1, 3]]))

    def _extract(self, x_NCHW: Tensor) -> Tensor:
        return x_NCHW


A_1KHW = torch.tensor([[[[1.0, 0], [2, 1]], [[0, 1], [1, 0]], [[1, 1], [0, 2]]]])
CAM = torch.tensor([[0.0, 1], [4, -1]])
"""Of class 0: A_0 + 2 A_1 - A_2."""


def of_class_0(method):
    return method(Hand().eval(), A_1KHW, torch.tensor([[0]]))[0, 0]


def seeded(build=lambda: SqueezeNet(num_classes=5, width=0.25, norm="batch")) -> CamNetwork:
    torch.manual_seed(0)
    return build().eval()


def inputs(n: int = 2, size: int = 64) -> Tensor:
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(1))


# --- the Grad-CAM family -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (GradCam(), CAM.relu() / 4),
        (HiResCam(), CAM / 4),
        (XGradCam(), CAM.relu() / 4),
        # Gradients are w_k / 4 everywhere; only those over 0 count: A_0 / 4 + A_1 / 2.
        (LayerCam(), torch.tensor([[1.0, 2], [4, 1]]) / 4),
        # w_0 = 4 x 0.25 / (2 + 0.25 x 4), w_1 = 4 x 0.5 / (2 + 0.5 x 2), w_2 = 0.
        (GradCamPlusPlus(), torch.tensor([[1.0, 2], [4, 1]]) / 3),
    ],
    ids=lambda value: type(value).__name__,
)
def test_literal_maps(method, expected):
    torch.testing.assert_close(of_class_0(method), expected)


def test_on_a_pooled_head_hirescam_is_cam_and_xgradcam_keeps_the_score():
    network, x_NCHW = seeded(), inputs()
    cam_NRhw = Cam()(network, x_NCHW, CLASSES_NR)
    places = cam_NRhw[0, 0].numel()
    torch.testing.assert_close(HiResCam()(network, x_NCHW, CLASSES_NR), cam_NRhw / places)
    with torch.no_grad():
        scores_NR = network(x_NCHW).gather(1, CLASSES_NR)
    maps_NRhw = XGradCam()(network, x_NCHW, CLASSES_NR)
    torch.testing.assert_close(maps_NRhw.sum((2, 3)), scores_NR)


def test_eigencam_of_maps_of_one_form_is_that_form():
    """A_k = a_k M has one direction, a / |a|: the projection is |a| M, whatever the class."""
    M, a_K = torch.tensor([[1.0, 0], [3, 2]]), torch.tensor([2.0, 1, 2])
    maps = EigenCam()(Hand().eval(), (a_K[:, None, None] * M)[None], torch.tensor([[0, 1]]))
    torch.testing.assert_close(maps, (3 * M).expand(1, 2, 2, 2))


def test_minmax_cam_reaches_from_0_to_1():
    torch.testing.assert_close(of_class_0(MinMaxCam()), (CAM + 1) / 5)
    same = MinMaxCam()(Hand().eval(), torch.ones(1, 3, 2, 2), torch.tensor([[0, 1]]))
    assert same.tolist() == [[[[0, 0], [0, 0]]] * 2]


class InPlace(PooledNetwork):
    """Three convolutions whose ReLUs work in place."""

    minimum_input = 8
    class_layer_name = "fc"

    def __init__(self) -> None:
        super().__init__(5, 1.0, "none", 0.0)
        self.body = nn.Sequential(
            *(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2)),
            *(nn.Conv2d(6, 7, 3, padding=1), nn.BatchNorm2d(7), nn.ReLU(inplace=True)),
        )
        self.fc = nn.Linear(7, 5)

    def _extract(self, x_NCHW: Tensor) -> Tensor:
        return self.body(x_NCHW)


@pytest.mark.parametrize("name", FAMILY)
@pytest.mark.parametrize("layer", ["body.0", "body.3", "body.4", "body.5"])
def test_any_layer_also_before_a_relu_that_works_in_place(name, layer):
    """Against the same equation on a network cut in two by hand."""
    network, x_NCHW = seeded(InPlace), inputs(size=16)
    method = build_saliency(name)
    place = int(layer[-1]) + 1
    with torch.no_grad():
        A_NKhw = network.body[:place](x_NCHW.clone()).clone()
    gradients = []
    for r in range(3):
        A = A_NKhw.clone().requires_grad_()
        pooled = network.body[place:](A.clone()).mean((2, 3))
        score = network.fc(pooled).gather(1, CLASSES_NR[:, r : r + 1]).sum()
        gradients.append(torch.autograd.grad(score, A)[0])
    expected_NRhw = method.combine(A_NKhw, torch.stack(gradients, 1))
    method.layer = layer
    torch.testing.assert_close(method(network, x_NCHW, CLASSES_NR), expected_NRhw)
    assert not any(module._forward_hooks for module in network.modules())


def test_a_layer_that_is_not_there_is_named():
    network = seeded(InPlace)
    said = GradCam("body.9").refusal(network)
    assert said.startswith("it has no layer body.9; did you mean body.")
    assert ExcitationBackprop("no").refusal(network).startswith("it has no layer no")
    assert GradCam("body.3").refusal(network) is None


def test_a_layer_whose_output_is_no_maps_is_refused():
    network, x_NCHW = seeded(lambda: Vgg(num_classes=5, width=0.125)), inputs()
    network.spare = nn.Conv2d(1, 1, 1)
    for method in (GradCam("classifier.0"), ExcitationBackprop("classifier.0")):
        assert method.refusal(network) is None
        with pytest.raises(UserError, match=r"^saliency\.layer=classifier\.0: its output of shape"):
            method(network, x_NCHW, CLASSES_NR)
    with pytest.raises(UserError, match="spare: the network does not run it"):
        GradCam("spare")(network, x_NCHW, CLASSES_NR)


def test_gradients_all_at_once_are_those_of_each_class_alone():
    network = seeded(lambda: Vgg(num_classes=5, width=0.125))
    with torch.no_grad():
        A_NKhw = network.forward_features(inputs())
    A_NKhw.requires_grad_()
    logits_NC = network.forward_head(A_NKhw)
    each = gradients_of_classes(logits_NC, CLASSES_NR, A_NKhw)
    at_once = gradients_of_classes(network.forward_head(A_NKhw), CLASSES_NR, A_NKhw, at_once=True)
    torch.testing.assert_close(at_once, each)
    assert each.abs().sum((2, 3, 4)).all()


def test_eigencam_of_activations_that_are_nan_is_nan():
    A_2KHW = torch.cat([A_1KHW, A_1KHW])
    A_2KHW[1, 2, 0, 1] = torch.nan
    maps = EigenCam()(Hand().eval(), A_2KHW, torch.tensor([[0], [1]]))
    torch.testing.assert_close(maps[0, 0], of_class_0(EigenCam()))
    assert maps[1].isnan().all()


# --- guided backprop -----------------------------------------------------------------------------


def test_guided_backprop_literal():
    """S = ReLU(x_0) - ReLU(-x_1) + 3 ReLU(x_2): the second ReLU gets a gradient under 0."""

    class Three(CamNetwork):
        minimum_input = 1
        class_layer_name = ""

        def __init__(self) -> None:
            super().__init__(1, 1.0, "none", 0.0)
            self.relu = nn.ReLU()

        def _extract(self, x_NCHW: Tensor) -> Tensor:
            return self.relu(x_NCHW * torch.tensor([1.0, -1, 1])[:, None, None])

        def forward_head(self, A_NKhw: Tensor) -> Tensor:
            return (A_NKhw * torch.tensor([1.0, -1, 3])[:, None, None]).sum((1, 2, 3))[:, None]

        def class_weights(self) -> None:
            return None

    x_1CHW = torch.tensor([[[[1.0, -2, 1, 0]], [[-1, -1, 1, -4]], [[-1, 5, 1, 0]]]])
    maps = GuidedBackprop(blur=0)(Three().eval(), x_1CHW, torch.tensor([[0]]))
    assert maps.tolist() == [[[[1, 3, 3, 0]]]]


@pytest.mark.filterwarnings("ignore:Setting backward hooks")
@pytest.mark.filterwarnings("ignore:Setting forward, backward hooks")
@pytest.mark.parametrize("build", [None, InPlace])
def test_guided_methods_equal_captums(build):
    network = seeded(build) if build else seeded()
    x_NCHW = inputs()
    last = network.classifier[2] if build is None else network.body[5]

    def in_full(captums, **settings):
        maps = []
        for n in range(2):
            row = []
            for c in CLASSES_NR[n].tolist():
                for module in network.modules():  # captum cannot do with ReLUs in place
                    if isinstance(module, nn.ReLU):
                        module.inplace = False
                x = x_NCHW[n : n + 1].clone().requires_grad_()
                row.append(captums.attribute(x, c, **settings)[0].detach().abs().amax(0))
            maps.append(torch.stack(row))
        return torch.stack(maps)

    ours = GuidedBackprop(blur=0)(network, x_NCHW, CLASSES_NR)
    theirs = in_full(captum.attr.GuidedBackprop(network))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    ours = GuidedGradCam(blur=0)(network, x_NCHW, CLASSES_NR)
    theirs = in_full(captum.attr.GuidedGradCam(network, last), interpolate_mode="bilinear")
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_guided_maps_are_smoothed_as_backprops():
    network, x_NCHW = seeded(), inputs()
    for method in (GuidedBackprop, GuidedGradCam):
        maps = method(blur=0.1)(network, x_NCHW, CLASSES_NR)
        raw = method(blur=0)(network, x_NCHW, CLASSES_NR)
        torch.testing.assert_close(maps, smooth(raw, 0.1))
        assert maps.amax() < raw.amax()


# --- excitation backprop -------------------------------------------------------------------------


def test_excitation_backprop_literal():
    # Class 0: w+ = (1, 2, 0), F = (1, 0.5, 1): the units get 0.5, 0.5, 0, each by its map's shares.
    expected = torch.tensor([[0.125, 0.25], [0.5, 0.125]])
    torch.testing.assert_close(of_class_0(ExcitationBackprop()), expected)
    # Its opposite, w+ = (0, 0, 1): unit 2 gets all, of which its places take 1/4, 1/4, 0, 1/2.
    contrastive = of_class_0(build_saliency("cmwp"))
    torch.testing.assert_close(contrastive, torch.tensor([[0.0, 0], [0.5, 0]]))


def positive(module: nn.Module) -> None:
    """Make all weights positive, so that every unit is excited."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.uniform_(layer.weight, 0.01, 1)


@pytest.mark.parametrize(
    "layer", [None, "features.1", "features.4", "features.9", "features.16", "features.23"]
)
def test_a_probability_of_one_goes_from_layer_to_layer(layer):
    network = seeded(lambda: Vgg(num_classes=5, width=0.125))
    positive(network)
    maps = ExcitationBackprop(layer)(network, inputs().abs(), CLASSES_NR)
    torch.testing.assert_close(maps.sum((2, 3)), torch.ones(2, 3))


@pytest.mark.parametrize("name", ["resnet18", "googlenet", "squeezenet", "alexnet_gap", "nin"])
def test_no_probability_is_made(name, compose_config):
    from cam_repro.models import build_network

    config = compose_config("train", f"model={name}", "model.width=0.125").model
    torch.manual_seed(0)
    network = build_network(config, 5).eval()
    x_NCHW = inputs(size=max(64, network.minimum_input))
    total_NR = ExcitationBackprop()(network, x_NCHW, CLASSES_NR).sum((2, 3))
    assert (total_NR <= 1 + 1e-5).all()
    assert (total_NR > 0.5).any()


def test_what_excites_a_class_as_much_as_its_opposite_cancels():
    """Two units that are equal everywhere, of weights 1 and -1: the contrast is 0."""
    network = Hand().eval()
    with torch.no_grad():
        network.fc.weight.copy_(torch.tensor([[1.0, -1, 0], [0, 0, 1]]))
    A_1KHW = torch.tensor([[[[1.0, 3], [0, 2]], [[1, 3], [0, 2]], [[5, 0], [0, 1]]]])
    maps = build_saliency("cmwp")(network, A_1KHW, torch.tensor([[0, 1]]))
    assert maps[0, 0].tolist() == [[0, 0], [0, 0]]
    assert maps[0, 1].tolist() == [[pytest.approx(5 / 6), 0], [0, pytest.approx(1 / 6)]]


def test_cmwp_goes_below_a_class_layer_that_makes_the_maps():
    """Of SqueezeNet A is the class maps: a place of what they are made of adds up to 0."""
    network, x_NCHW = seeded(), inputs()
    maps = build_saliency("cmwp")(network, x_NCHW, CLASSES_NR)
    at_last_pool = ExcitationBackprop("features.11", contrastive=True)
    torch.testing.assert_close(maps, at_last_pool(network, x_NCHW, CLASSES_NR))
    mwp = ExcitationBackprop("features.11")(network, x_NCHW, CLASSES_NR)
    assert (maps.amax((2, 3)) > 0.01 * mwp.amax((2, 3))).all()
    for layer, said in (
        ("classifier.2", "c-MWP begins at its class layer, classifier.1 (Conv2d), and classif"),
        ("classifier.0", "c-MWP adds up to 0 at classifier.0, the input of its class layer"),
        ("features.12", "c-MWP adds up to 0 at features.12"),
    ):
        assert ExcitationBackprop(layer, contrastive=True).refusal(network).startswith(said)
        assert ExcitationBackprop(layer).refusal(network) is None


def test_cmwp_finds_the_class_layer_of_any_module():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    module.append(nn.Linear(4, 5))
    torch.manual_seed(0)
    positive(module)
    network = ModuleNetwork(module.eval(), "1", input_size=16)
    with torch.no_grad():  # no weight of class 0 is below 0: nothing excites its opposite
        module[4].weight[1] = torch.tensor([1.0, 0, 0, -1])
    x_NCHW, classes_N1 = inputs(size=16).abs(), torch.tensor([[0], [1]])
    maps = build_saliency("cmwp")(network, x_NCHW, classes_N1)
    mwp = ExcitationBackprop()(network, x_NCHW, classes_N1)
    torch.testing.assert_close(maps[0], mwp[0])
    assert maps[1].sum() < mwp[1].sum()


def test_a_layer_without_a_rule_is_named():
    class Smooth(InPlace):
        def __init__(self) -> None:
            super().__init__()
            self.body[5] = nn.SiLU()

        def forward_head(self, A_NKhw: Tensor) -> Tensor:
            return super().forward_head(nn.functional.silu(A_NKhw))

    network = seeded(Smooth)
    assert ExcitationBackprop().refusal(network) == "there is no rule for its layer silu"
    assert ExcitationBackprop("body.3").refusal(network) == "there is no rule for its layer silu"
    assert GuidedBackprop().refusal(network) == "its layer body.5 (SiLU) is no ReLU"


# --- hiding parts --------------------------------------------------------------------------------


def test_scorecam_follows_its_equation():
    network, x_NCHW = seeded(), inputs()
    maps_NRhw = ScoreCam(at_a_time=3)(network, x_NCHW, CLASSES_NR)
    with torch.no_grad():
        for n in range(2):
            A_Khw = network.forward_features(x_NCHW[n : n + 1])[0]
            scores = []
            for A_hw in A_Khw:
                mask = interpolate(A_hw[None, None], x_NCHW.shape[2:], mode="bilinear")
                span = mask.max() - mask.min()
                mask = (mask - mask.min()) / span if span > 0 else torch.zeros_like(mask)
                scores.append(network(x_NCHW[n : n + 1] * mask)[0])
            for r, c in enumerate(CLASSES_NR[n].tolist()):
                alpha = torch.stack(scores)[:, c].softmax(0)
                expected = sum(a * A_hw for a, A_hw in zip(alpha, A_Khw, strict=True)).relu()
                torch.testing.assert_close(maps_NRhw[n, r], expected)


def test_occlusion_equals_captums():
    network, x_NCHW = seeded(), inputs(size=60)
    maps_NRHW = Occlusion(square=0.25, step=0.2, at_a_time=7)(network, x_NCHW, CLASSES_NR)
    occlusion = captum.attr.Occlusion(lambda x: network(x).softmax(1))
    for r in range(3):
        with torch.no_grad():
            theirs = occlusion.attribute(x_NCHW, (3, 15, 15), (3, 12, 12), 0, CLASSES_NR[:, r])
        torch.testing.assert_close(maps_NRHW[:, r], theirs[:, 0], rtol=1e-5, atol=1e-6)


def test_rise_of_masks_that_hide_nothing_is_the_probability():
    network, x_NCHW = seeded(), inputs()
    maps_NRHW = Rise(masks=5, keep=1.0, at_a_time=2)(network, x_NCHW, CLASSES_NR)
    with torch.no_grad():
        expected_NR = network(x_NCHW).softmax(1).gather(1, CLASSES_NR)
    torch.testing.assert_close(maps_NRHW, expected_NR[:, :, None, None].expand(2, 3, 64, 64))


class Decided(CamNetwork):
    """Two classes of scores s and -s, s = gain x (mean of one part of the red channel) + offset."""

    minimum_input = 1
    class_layer_name = ""

    def __init__(self, part: tuple[slice, slice], gain: float, offset: float = 0.0) -> None:
        super().__init__(2, 1.0, "none", 0.0)
        self.part, self.gain, self.offset = part, gain, offset

    def _extract(self, x_NCHW: Tensor) -> Tensor:
        return x_NCHW

    def forward_head(self, A_NKhw: Tensor) -> Tensor:
        seen_N = self.gain * A_NKhw[:, 0, *self.part].mean((1, 2)) + self.offset
        return torch.stack([seen_N, -seen_N], 1)

    def class_weights(self) -> None:
        return None


def test_rise_finds_the_part_that_a_class_is_decided_by():
    """P is from nearly 0 to nearly 1, the more of the upper left quarter is seen."""

    quarter = Decided((slice(14), slice(14)), gain=8, offset=-4).eval()
    x_1CHW = torch.ones(1, 3, 28, 28)
    rise = Rise(masks=600, cells=4)
    maps_12HW = rise(quarter, x_1CHW, torch.tensor([[0, 1]]))[0]
    inside, outside = maps_12HW[0, :14, :14].mean(), maps_12HW[0, 18:, 18:].mean()
    assert inside > 1.2 * outside
    assert torch.equal(maps_12HW, rise(quarter, x_1CHW, torch.tensor([[0, 1]]))[0])


def test_lime_finds_the_square_that_a_class_is_decided_by():
    corner = Decided((slice(8), slice(8, 16)), gain=4).eval()
    lime = build_saliency("lime")
    lime.cells, lime.samples = 4, 200
    maps_1RHW = lime(corner, torch.ones(1, 3, 32, 32), torch.tensor([[0, 1]]))[0]
    assert (maps_1RHW[0] == maps_1RHW[0].max()).nonzero().amin(0).tolist() == [0, 8]
    assert maps_1RHW[0, 0, 8] > 0.3
    assert maps_1RHW[1, 0, 8] < -0.3
    assert torch.count_nonzero(maps_1RHW[0]) == 64  # the lasso leaves out the other squares


@pytest.mark.parametrize(
    ("method", "settings", "message"),
    [
        (Occlusion, {"square": 0}, "saliency.square=0: must be over 0, at most 1"),
        (Occlusion, {"step": 1.5}, "saliency.step=1.5: must be over 0, at most 1"),
        (Rise, {"masks": 0}, "saliency.masks=0: must be a whole number, 1 or more"),
        (Rise, {"keep": True}, "saliency.keep=True: must be over 0"),
        (ScoreCam, {"at_a_time": 2.5}, "saliency.at_a_time=2.5: must be a whole number"),
    ],
)
def test_impossible_settings_are_refused(method, settings, message):
    with pytest.raises(UserError) as caught:
        method(**settings)
    assert str(caught.value).startswith(message)


# --- what holds for every method -----------------------------------------------------------------


@pytest.mark.parametrize("name", choices("saliency"))
def test_an_image_does_not_depend_on_its_batch_nor_a_class_on_the_others(name):
    network, x_NCHW, method = seeded(), inputs(), build_saliency(name)
    for key, few in (("masks", 8), ("samples", 8), ("step", 0.5), ("square", 0.5)):
        if hasattr(method, key):
            setattr(method, key, few)
    logits_NC, maps_NRhw = method.explain(network, x_NCHW, lambda _: CLASSES_NR)
    with torch.no_grad():
        torch.testing.assert_close(logits_NC, network(x_NCHW))
    assert maps_NRhw.dtype == torch.float32
    assert not maps_NRhw.requires_grad
    for n in range(2):
        alone = method(network, x_NCHW[n : n + 1], CLASSES_NR[n : n + 1, 1:2])
        torch.testing.assert_close(maps_NRhw[n, 1], alone[0, 0], rtol=1e-4, atol=1e-6)
    assert not any(module._forward_hooks or module._backward_hooks for module in network.modules())
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize("name", [*FAMILY, "eigencam", "excitation_backprop", "cmwp"])
def test_maps_stay_in_float32_under_mixed_precision(name):
    """The gradients of Hand are exact in bfloat16; 1 + 1/256 in its maps needs 9 bits."""
    network, method = Hand().eval(), build_saliency(name)
    x_NCHW, classes_NR = 1 + inputs(size=8).round().abs() / 256, torch.tensor([[0, 1], [1, 0]])
    expected_NRhw = method(network, x_NCHW, classes_NR)
    with torch.autocast("cpu", torch.bfloat16):
        maps_NRhw = method(network, x_NCHW, classes_NR)
    assert maps_NRhw.dtype == torch.float32
    torch.testing.assert_close(maps_NRhw, expected_NRhw)


def test_sums_of_masks_stay_in_float32_under_mixed_precision():
    masks_BHW = torch.tensor([[[1 + 1 / 256, 0]], [[1, 1]]])
    with torch.autocast("cpu", torch.bfloat16):
        maps_RHW = weighted_sum(torch.tensor([[1.0, 0], [1 / 512, 2]]), masks_BHW)
    assert maps_RHW.tolist() == [[[1 + 1 / 256 + 1 / 512, 1 / 512]], [[2, 2]]]
