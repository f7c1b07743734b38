"""GAIN's losses worked out by hand, its gradients by finite differences, what it leaves alone."""

import copy
import math

import pytest
import torch
from scaled_net import W_CK, Scaled, image
from torch import nn

from cam_repro.data.loading import BatchTruth
from cam_repro.data.masks import UNKNOWN
from cam_repro.engine.compiling import compiled
from cam_repro.errors import UserError
from cam_repro.models.alexnet import AlexNet
from cam_repro.objectives.build import objective_of, refuse_unfit
from cam_repro.objectives.gain import Gain, mask_errors, normalised

LABEL = BatchTruth(torch.tensor([0]))
BOTH = BatchTruth(torch.tensor([0]), torch.tensor([[True, True]]))

SHARP = {"sigma": 0.5, "omega": 2 * math.log(3)}
"""With these T(1) = 3/4 and T(0) = 1/4."""


def losses(truth=LABEL, network=None, x_NCHW=None, **settings):
    found = Gain(**SHARP | settings).losses(
        network or Scaled(W_CK), image() if x_NCHW is None else x_NCHW, truth
    )
    return found.total.item(), {name: term.item() for name, term in found.terms.items()}


def softplus(x):
    return math.log(1 + math.exp(x))


# --- the losses, worked out by hand --------------------------------------------------------------


def test_the_share_that_is_hidden():
    attention_Phw = torch.tensor([[[0.0, 0.5], [1.0, 0.25]]])
    T = Gain(**SHARP).hidden_share(attention_Phw, torch.Size((2, 2)))
    by_hand = 1 / (1 + math.exp(-2 * math.log(3) * (0.25 - 0.5)))
    assert T[0, 0].flatten().tolist() == pytest.approx([0.25, 0.5, 0.75, by_hand])
    larger = Gain(**SHARP).hidden_share(torch.tensor([[[0.0, 1.0]]]), torch.Size((1, 4)))
    # Bilinear, pixel centres: 0, 1/4, 3/4, 1.
    expected = [1 / (1 + 3 ** (1 - 2 * A)) for A in (0, 0.25, 0.75, 1)]
    assert larger.flatten().tolist() == pytest.approx(expected)


def test_one_class_an_image():
    # A is 1 in the corner of the first map, else 0. I*: 4 x 1/4 = 1 there, 2 x 3/4 = 1.5 in the
    # second map, of which the means are 0.25 and 0.375.
    L_cl, p = softplus(-0.5), 1 / (1 + math.exp(0.125))
    total, terms = losses(alpha=2.0)
    assert terms == pytest.approx({"loss_cl": L_cl, "loss_am": p})
    assert total == pytest.approx(L_cl + 2 * p)
    assert losses(score="logit")[1]["loss_am"] == pytest.approx(0.25)


def test_two_classes_an_image():
    # Of class 1: 4 x 3/4 = 3 and 2 x 1/4 = 0.5, so that its score is 0.125; that of class 0 above.
    L_cl = (softplus(-1) + softplus(-0.5)) / 2
    total, terms = losses(BOTH)
    assert terms == pytest.approx({"loss_cl": L_cl, "loss_am": (0.25 + 0.125) / 2})
    assert total == pytest.approx(L_cl + (0.25 + 0.125) / 2)
    p = [1 / (1 + math.exp(-s)) for s in (0.25, 0.125)]
    assert losses(BOTH, score="probability")[1]["loss_am"] == pytest.approx(sum(p) / 2)


def test_every_image_counts_alike_however_many_classes_it_has():
    has_NC = torch.tensor([[True, True], [True, False]])
    truth = BatchTruth(torch.tensor([0, 0]), has_NC)
    two = torch.cat([image(), image()])
    assert losses(truth, x_NCHW=two)[1]["loss_am"] == pytest.approx(((0.25 + 0.125) / 2 + 0.25) / 2)


def test_the_multi_label_loss_of_one_class_an_image():
    found = losses(loss="multi_label")[1]
    assert found["loss_cl"] == pytest.approx((softplus(-1) + softplus(0.5)) / 2)
    assert found["loss_am"] == pytest.approx(0.25)


def test_the_distance_from_a_mask():
    mask_NHW = torch.tensor([[[1, 1], [0, 0]]])  # A is 1 at the first pixel alone
    total, terms = losses(LABEL._replace(masks_NHW=mask_NHW), masks="masks", alpha=0.0)
    assert terms["loss_e"] == pytest.approx(1 / 4)
    assert total == pytest.approx(softplus(-0.5) + 10 / 4)
    # Of pixels that are not known nothing is said.
    unknown = mask_NHW.masked_fill(mask_NHW == 0, UNKNOWN)
    assert losses(LABEL._replace(masks_NHW=unknown), masks="masks")[1]["loss_e"] == pytest.approx(
        1 / 2
    )
    # Of several classes each has its own; half of the images have none, and count as 0.
    masks = torch.tensor([[[1, 2], [0, 2]], [[UNKNOWN] * 2] * 2])
    truth = BatchTruth(torch.tensor([0, 0]), torch.tensor([[True, True]] * 2), masks)
    found = losses(truth, x_NCHW=torch.cat([image(), image()]), masks="masks")[1]
    assert found["loss_e"] == pytest.approx((0 + 1 / 4) / 2 / 2)


def test_a_mask_is_averaged_over_each_place():
    attention_Phw = torch.tensor([[[0.5, 0.0]]])
    masks_PHW = torch.tensor([[[3, 3, UNKNOWN, 3], [0, 3, UNKNOWN, UNKNOWN]]])
    # H is 3/4 and 1; of the second place a quarter is known.
    errors_P = mask_errors(attention_Phw, masks_PHW, torch.tensor([2]))
    assert errors_P.tolist() == pytest.approx([(0.25**2 + 0.25 * 1) / 1.25])


@pytest.mark.parametrize(
    ("how", "expected"),
    [("minmax", [[0, 0.25, 1, 0.5], [0, 0, 0, 0]]), ("max", [[0, 0, 1, 1 / 3], [0, 0, 0, 0]])],
)
def test_each_map_is_normalised_by_itself(how, expected):
    maps_Phw = torch.tensor([[[-2.0, 0.0], [6.0, 2.0]], [[-3.0, -3.0], [-3.0, -3.0]]])
    found = normalised(maps_Phw, how).flatten(1)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float32))


def test_the_attention_of_cam_keeps_what_speaks_against_the_class():
    w_CK = [[1.0, -1.0, 0.0], [0.0, 1.0, 0.0]]
    A_PKhw, class_P = image(), torch.tensor([0])  # CAM 4, -2, 0, 0
    by_cam, by_gradcam = (
        Gain(attention=attention).attention_maps(Scaled(w_CK), A_PKhw, class_P)
        for attention in ("cam", "gradcam")
    )
    assert by_cam.flatten().tolist() == pytest.approx([1, 0, 1 / 3, 1 / 3])
    assert by_gradcam.flatten().tolist() == pytest.approx([1, 0, 0, 0])


# --- gradients -----------------------------------------------------------------------------------


def random_case(seed=0):
    """A network in double precision whose maps are of no special values, and two images."""
    generator = torch.Generator().manual_seed(seed)
    network = Scaled([[1.0, -0.5, 0.3], [-0.2, 1.0, 0.4]]).double()
    with torch.no_grad():
        network.conv.weight.add_(0.3 * torch.rand(3, 3, 1, 1, generator=generator).double())
    x_NCHW = torch.rand(2, 3, 4, 4, generator=generator).double()
    masks_NHW = torch.randint(0, 3, (2, 4, 4), generator=generator)
    truth = BatchTruth(torch.tensor([0, 1]), torch.tensor([[True, True], [False, True]]), masks_NHW)
    return network, x_NCHW, truth


def by_differences(total, weight, step):
    """Central differences of ``total()`` by each number of ``weight``."""
    found = torch.zeros_like(weight)
    with torch.no_grad():
        for place in range(weight.numel()):
            flat = weight.view(-1)
            before = flat[place].item()
            values = []
            for value in (before + step, before - step):
                flat[place] = value
                values.append(total().item())
            flat[place] = before
            found.view(-1)[place] = (values[0] - values[1]) / (2 * step)
    return found


@pytest.mark.parametrize("attention", ["gradcam", "cam"])
@pytest.mark.parametrize("normalise", ["minmax", "max"])
def test_gradients_through_the_mask_are_those_of_the_losses(attention, normalise):
    network, x_NCHW, truth = random_case()
    objective = Gain(attention=attention, normalise=normalise, masks="masks", omega=4)
    objective.losses(network, x_NCHW, truth).total.backward()

    def total():
        with torch.enable_grad():  # Grad-CAM's own gradients
            return objective.losses(network, x_NCHW, truth).total

    step, tolerance = (1e-6, 1e-7) if attention == "gradcam" else (1e-3, 1e-3)  # CAMs are float32
    # The channel weights are numbers: a pooled head's do not depend on the convolution.
    expected = by_differences(total, network.conv.weight, step)
    assert expected.abs().max() > 0.01
    torch.testing.assert_close(network.conv.weight.grad, expected, rtol=0, atol=tolerance)


def test_gradients_past_the_mask_are_those_of_a_mask_that_stays(monkeypatch):
    network, x_NCHW, truth = random_case()
    truth = truth._replace(masks_NHW=None)
    grads = {}
    for through in (True, False):
        network.zero_grad()
        Gain(through_hiding=through, omega=4).losses(network, x_NCHW, truth).total.backward()
        grads[through] = network.conv.weight.grad.clone()
    assert (grads[True] - grads[False]).abs().max() > 1e-3
    objective, kept = Gain(omega=4), []
    compute = objective.attention_maps
    monkeypatch.setattr(
        objective, "attention_maps", lambda *a: kept[0] if kept else compute(*a).detach()
    )
    kept.append(
        objective.attention_maps(
            network, network.forward_features(x_NCHW)[[0, 0, 1]], torch.tensor([0, 1, 1])
        )
    )
    expected = by_differences(
        lambda: objective.losses(network, x_NCHW, truth).total, network.conv.weight, step=1e-6
    )
    torch.testing.assert_close(grads[False], expected, rtol=0, atol=1e-7)


def test_the_channel_weights_pass_no_gradient():
    network, x_NCHW, truth = random_case()
    maps = Gain().attention_maps(network, network.forward_features(x_NCHW), truth.labels_N)
    maps.sum().backward()
    assert network.fc.weight.grad is None
    assert network.conv.weight.grad.abs().max() > 0
    assert network.pixel_mean.grad is None


# --- what it leaves alone ------------------------------------------------------------------------


def statistics(network):
    return {k: v.clone() for k, v in network.norm.state_dict().items()}


@pytest.mark.parametrize("frozen", [True, False])
def test_frozen_norms_see_the_images_alone(frozen):
    network = Scaled(W_CK, norm="batch").train()
    plain = copy.deepcopy(network)
    x_NCHW = torch.randn(4, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    plain(x_NCHW)
    Gain(frozen_norm=frozen).losses(network, x_NCHW, BatchTruth(torch.tensor([0, 1, 0, 1])))
    same = [
        torch.equal(value, statistics(plain)[name]) for name, value in statistics(network).items()
    ]
    assert all(same) == frozen
    assert network.norm.num_batches_tracked == (1 if frozen else 2)
    assert all(module.training for module in network.modules())


def test_what_is_left_is_scored_as_in_evaluation():
    network = Scaled(W_CK, norm="batch", dropout=0.9).train()
    with torch.no_grad():
        network.norm.running_mean.fill_(-0.5)
        network.norm.running_var.fill_(4)
    plain = copy.deepcopy(network)
    objective = Gain(score="logit")
    found = objective.losses(network, image(), LABEL).terms["loss_am"].item()
    attention = objective.attention_maps(plain, plain.forward_features(image()), LABEL.labels_N)
    left = image() * (1 - objective.hidden_share(attention, torch.Size((2, 2))))
    # The first map of it, by the running statistics as the images have left them.
    mean, var = plain.norm.running_mean[0].item(), plain.norm.running_var[0].item()
    expected = ((left[0, 0] - mean) / math.sqrt(var + 1e-5)).relu().mean().item()
    assert found == pytest.approx(expected, rel=1e-5)


def test_what_dropout_draws_is_what_it_draws_without_gain():
    network = Scaled(W_CK, dropout=0.5).train()
    x_NCHW = torch.rand(8, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    truth = BatchTruth(torch.tensor([0, 1] * 4))
    torch.manual_seed(3)
    plain, state = network(x_NCHW), torch.get_rng_state()
    torch.manual_seed(3)
    assert torch.equal(Gain().losses(network, x_NCHW, truth).logits_NC, plain)
    assert torch.equal(torch.get_rng_state(), state)


def test_networks_without_cam_take_gradcam():
    network = AlexNet(num_classes=2, width=0.05)
    settings = {"_target_": "cam_repro.objectives.gain.Gain", "name": "gain", "attention": "cam"}
    objective = objective_of(settings, label_smoothing=0.0)
    with pytest.raises(UserError) as refused:
        refuse_unfit(objective, network, "alexnet")
    assert str(refused.value) == (
        "train=gain does not work on model=alexnet: it has no linear layer over pooled maps; use "
        "train.attention=gradcam"
    )
    assert Gain().refusal(network) is None
    x_NCHW = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    found = Gain().losses(network.train(), x_NCHW, LABEL)
    found.total.backward()
    assert found.total.isfinite()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_a_network_without_maps_is_refused():
    class Flat(nn.Module):
        no_maps = "it has none"

    assert Gain().refusal(Flat()) == "it has none"


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # torch's own, while it compiles
def test_a_compiled_network_has_the_same_losses():
    torch.compiler.reset()
    network = Scaled(W_CK, norm="batch").train()
    x_NCHW = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    truth = BatchTruth(torch.tensor([0, 1]))
    plain = copy.deepcopy(network)
    expected = Gain().losses(plain, x_NCHW, truth)
    expected.total.backward()
    with compiled(network, gradients=True):
        found = Gain().losses(network, x_NCHW, truth)
        found.total.backward()
    torch.compiler.reset()
    torch.testing.assert_close(found.total, expected.total)
    torch.testing.assert_close(network.conv.weight.grad, plain.conv.weight.grad)
    torch.testing.assert_close(network.norm.running_mean, plain.norm.running_mean)
