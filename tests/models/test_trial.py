"""What a user's own network promises is tried; and names of its layers cannot change its head."""

import pytest
import torch
from colour_net import ColourNet
from model_helpers import NAMES, build
from torch import nn

from cam_repro.api import load_network
from cam_repro.errors import UserError
from cam_repro.models.base import CamNetwork, PooledNetwork
from cam_repro.models.build import build_network
from cam_repro.models.layers import ConvBlock
from cam_repro.models.trial import check_promises


class NoMinimum(PooledNetwork):
    class_layer_name = "fc"

    def __init__(self, *, num_classes, width=1.0, norm="none", dropout=0.0):
        super().__init__(num_classes, width, norm, dropout)
        self.body = nn.Sequential(ConvBlock(3, 8, 3, stride=2), ConvBlock(8, 8, 3, stride=2))
        self.fc = nn.Linear(8, num_classes)
        self.own_layers()
        self._initialise()

    def own_layers(self):
        """Add what a subclass adds."""

    def _extract(self, x_NCHW):
        return self.body(x_NCHW)


class TinyGap(NoMinimum):
    """The example of docs/extending.md."""

    minimum_input = 8


class ManyNames(TinyGap):
    def own_layers(self):
        self.pool = nn.MaxPool2d(2)
        self.add_module("norm", nn.BatchNorm2d(8))
        self.dropout = nn.Dropout2d(0.9)
        self.variant = "b0"

    def _extract(self, x_NCHW):
        return self.norm(self.pool(self.body(x_NCHW))).relu()


class Normalize(TinyGap):
    def own_layers(self):
        self.normalize = nn.BatchNorm2d(3)


class PixelMean(TinyGap):
    def own_layers(self):
        self.add_module("pixel_mean", nn.BatchNorm2d(3))


class ClassLayer(TinyGap):
    def own_layers(self):
        self.class_layer = nn.Linear(3, 3)


class NumClasses(TinyGap):
    def own_layers(self):
        self.num_classes = nn.Parameter(torch.ones(3))


class NormalizeFlag(TinyGap):
    def own_layers(self):
        self.normalize = False


class NormalizeBuffer(TinyGap):
    def own_layers(self):
        self.register_buffer("normalize", torch.ones(3))


class ClassWeights(TinyGap):
    def own_layers(self):
        self.register_parameter("class_weights", nn.Parameter(torch.ones(5, 8)))


class NoCamFlag(TinyGap):
    def own_layers(self):
        self.no_cam = None


class OtherName(TinyGap):
    class_layer_name = "classifier"


class NoName(NoMinimum):
    minimum_input = 8
    class_layer_name = None


class WrongLayer(TinyGap):
    class_layer_name = "body"


class TextMinimum(TinyGap):
    minimum_input = "8"


class OwnNormalize(TinyGap):
    def normalize(self, images_N3HW):
        return images_N3HW.float()


class FeatureNorm(TinyGap):
    def normalize(self, F_NK):
        return nn.functional.normalize(F_NK, dim=1)


class SharedLayer(TinyGap):
    """One layer of two names, of which torch lists the first alone."""

    class_layer_name = "classifier"

    def own_layers(self):
        self.classifier = self.fc


class Prototypes(CamNetwork):
    """A head whose weights are no layer."""

    minimum_input = 8
    class_layer_name = "prototypes"

    def __init__(self, *, num_classes, width=1.0, norm="none", dropout=0.0):
        super().__init__(num_classes, width, norm, dropout)
        self.body = ConvBlock(3, 8, 3, stride=2)
        self.prototypes = nn.Parameter(torch.randn(num_classes, 8))

    def _extract(self, x_NCHW):
        return self.body(x_NCHW)

    def forward_head(self, A_NKhw):
        return -torch.cdist(A_NKhw.mean((2, 3)), self.prototypes)

    def class_weights(self):
        return None


class OwnReason(TinyGap):
    """A property of the base class that is a plain value here."""

    no_cam = None

    def own_layers(self):
        self.no_cam = None


class TupleHead(TinyGap):
    def forward_head(self, A_NKhw):
        return super().forward_head(A_NKhw), A_NKhw


class TupleMaps(TinyGap):
    def _extract(self, x_NCHW):
        return [self.body(x_NCHW)]

    def forward_head(self, A_NKhw):
        return super().forward_head(A_NKhw[0])


class Probabilities(TinyGap):
    def forward_head(self, A_NKhw):
        return super().forward_head(A_NKhw).softmax(1)

    def class_weights(self):
        return None


class SoftmaxHead(TinyGap):
    def forward_head(self, A_NKhw):
        return super().forward_head(A_NKhw).log_softmax(1)


class MaxHead(TinyGap):
    def forward_head(self, A_NKhw):
        return self.fc(A_NKhw.amax((2, 3)))


class NormedHead(TinyGap):
    """A norm that changes nothing before it is trained."""

    def own_layers(self):
        self.head_norm = nn.BatchNorm1d(8)

    def forward_head(self, A_NKhw):
        return self.fc(self.head_norm(A_NKhw.mean((2, 3))))


class OtherForward(TinyGap):
    def forward(self, x_NCHW):
        return 2 * super().forward(x_NCHW)


class FixedHead(TinyGap):
    """A head for maps of 14x14 places, of 56 pixels, alone."""

    def forward_head(self, A_NKhw):
        return self.fc(nn.functional.avg_pool2d(A_NKhw, 14)[:, :, 0, 0].reshape(len(A_NKhw), 8))


class NoCam(SoftmaxHead):
    def class_weights(self):
        return None


class Sigmoid(TinyGap):
    def forward_head(self, A_NKhw):
        return super().forward_head(A_NKhw).sigmoid()

    def class_weights(self):
        return None


def built(kind, n_classes=5, **settings):
    torch.manual_seed(0)
    target = f"{__name__}.{kind.__name__}"
    return build_network({"_target_": target, "input_size": 56, **settings}, n_classes).eval()


def test_layers_named_as_settings_are_only_layers():
    network = built(ManyNames)
    assert network.torchvision_name is None
    A_NKhw = torch.rand(2, 8, 4, 4, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected_NC = A_NKhw.mean((2, 3)) @ network.fc.weight.T + network.fc.bias
        torch.testing.assert_close(network.forward_head(A_NKhw), expected_NC)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (Normalize, "normalize"),
        (PixelMean, "pixel_mean"),
        (ClassLayer, "class_layer"),
        (NumClasses, "num_classes"),
        (NormalizeFlag, "normalize"),
        (NormalizeBuffer, "normalize"),
        (ClassWeights, "class_weights"),
        (NoCamFlag, "no_cam"),
    ],
)
def test_a_layer_with_a_name_in_use_is_refused(kind, name):
    with pytest.raises(
        UserError, match=rf"^{kind.__name__} has a layer or value named {name}, which"
    ):
        built(kind)


@pytest.mark.parametrize("kind", [SoftmaxHead, MaxHead, NormedHead])
def test_class_weights_that_do_not_explain_the_scores_are_refused(kind):
    with pytest.raises(UserError, match=rf"^{kind.__name__}: its class scores are not the mean"):
        built(kind)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (OtherName, "OtherName has no layer classifier, which its class_layer_name should name; it "
         "has head_dropout, body, fc, and layers within these (such as NAME.0)"),
        (NoMinimum, "NoMinimum has no minimum_input: a whole number, the smallest side that it "
         "takes, in pixels"),
        (TextMinimum, "TextMinimum has no minimum_input: a whole number, the smallest side that it "
         "takes, in pixels"),
        (NoName, "NoName has no layer None, which its class_layer_name should name; it has "
         "head_dropout, body, fc, and layers within these (such as NAME.0)"),
        (WrongLayer, "WrongLayer: its class_layer_name is body, which is no layer with one output "
         "a class (docs/extending.md)"),
        (OwnNormalize, "OwnNormalize: its normalize does not subtract pixel_mean and divide by "
         "pixel_std: give a method of another purpose another name (docs/extending.md)"),
        (FeatureNorm, "FeatureNorm: its normalize does not subtract pixel_mean and divide by "
         "pixel_std: give a method of another purpose another name (docs/extending.md)"),
        (TupleHead, "TupleHead: its forward_head gives tuple, not class scores N,5 "
         "(docs/extending.md)"),
        (TupleMaps, "TupleMaps: its forward_features does not give one tensor of maps N,K,h,w "
         "(docs/extending.md)"),
        (Probabilities, "Probabilities: its forward_head gives probabilities, as after a softmax: "
         "leave that out, it is taken of the scores (docs/extending.md)"),
    ],
)  # fmt: skip
def test_what_a_network_lacks_or_gives_otherwise_is_said(kind, message):
    with pytest.raises(UserError) as refused:
        built(kind)
    assert str(refused.value) == message


def test_a_network_without_a_smallest_input_is_not_loaded_either():
    with pytest.raises(UserError, match=r"^NoMinimum has no minimum_input: a whole number"):
        load_network(NoMinimum(num_classes=5), input_size=56)


def test_a_sigmoid_is_told_by_ten_scores():
    with pytest.raises(
        UserError, match="forward_head gives values of 0 to 1 alone, as after a sig"
    ):
        built(Sigmoid, 10)
    assert built(Sigmoid, 9).class_weights() is None  # fewer may be so by chance


def test_a_forward_of_its_own_is_refused():
    with pytest.raises(UserError, match="OtherForward: its forward does not give what"):
        built(OtherForward)


@pytest.mark.parametrize("kind", [TinyGap, NoCam, FixedHead, SharedLayer, Prototypes, OwnReason])
def test_what_is_right_is_taken_and_left_as_it_was(kind):
    torch.manual_seed(0)
    alone = kind(num_classes=5)
    drawn = torch.rand(1)
    network = built(kind)
    assert torch.equal(torch.rand(1), drawn)
    for key, tensor in alone.state_dict().items():
        assert torch.equal(network.state_dict()[key], tensor), key
    assert all(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_the_networks_here_do_what_they_promise(name):
    check_promises(build(name, seed=3), 227)
    assert issubclass(type(build(name)), CamNetwork)


def test_a_trained_bias_in_the_maps_is_no_fault():
    check_promises(ColourNet(), 64)
