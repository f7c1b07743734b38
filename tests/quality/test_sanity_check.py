import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

from cam_repro.errors import UserError
from cam_repro.models import build_network
from cam_repro.models.base import PooledNetwork
from cam_repro.quality.base import ExplainedImages
from cam_repro.quality.sanity_check import (
    SanityCheck,
    _make_random,
    layers_from_the_top,
    rank_correlation,
)


class Small(PooledNetwork):
    """Three layers; the class layer is defined first."""

    minimum_input = 1
    class_layer_name = "fc"

    def __init__(self):
        super().__init__(3, 1.0, "none", 0.0)
        self.fc = nn.Linear(4, 3)
        self.one = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU())
        self.two = nn.Conv2d(4, 4, 1, bias=False)

    def _extract(self, x_NCHW):
        return self.two(self.one(x_NCHW))


def test_layers_from_the_top():
    assert layers_from_the_top(Small()) == [["fc"], ["two"], ["one.1", "one.0"]]


def test_every_weight_of_a_network_belongs_to_one_layer(compose_config):
    for name in ("alexnet_gap", "squeezenet", "resnet18", "efficientnet_lite0"):
        words = [] if name == "efficientnet_lite0" else ["model.norm=batch"]
        model = compose_config("train", f"model={name}", "data=ilsvrc", *words).model
        network = build_network(model, 5)
        layers = layers_from_the_top(network)
        names = [name for layer in layers for name in layer]
        of_layers = [
            f"{name}.{each}"
            for name in names
            for each, _ in network.get_submodule(name).named_parameters(recurse=False)
        ]
        assert sorted(of_layers) == sorted(name for name, _ in network.named_parameters())
        assert layers[0][-1] == network.class_layer_name


def batch_of(network, maps_by, n=2):
    rng = np.random.default_rng(0)
    return ExplainedImages(
        network=network,
        crops_NHW3=np.zeros((n, 4, 4, 3), np.uint8),
        classes_N=np.zeros(n, int),
        maps_Nhw=rng.normal(size=(n, 3, 3)).astype(np.float32),
        probabilities=lambda images, index: pytest.fail("not asked for"),
        maps_by=maps_by,
    )


def test_layers_are_made_random_one_after_another():
    network, seen = Small().eval(), []
    before = {name: value.clone() for name, value in network.state_dict().items()}

    def maps_by(changed):
        state = changed.state_dict()
        seen.append({name for name in state if not torch.equal(state[name], before[name])})
        return np.ones((2, 3, 3), np.float32)

    measure = SanityCheck(steps=8)
    answers = measure.answers(batch_of(network, maps_by))
    assert answers.tolist() == [[0, 0, 0]] * 2  # a constant map ranks nothing
    assert measure.labels(network) == ["fc", "two", "one.0"]
    fc, two = {"fc.weight", "fc.bias"}, {"two.weight"}
    assert seen == [fc, fc | two, fc | two | {"one.0.weight", "one.0.bias"}]
    assert SanityCheck(steps=2).labels(network) == ["fc", "one.0"]
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_the_same_seed_makes_the_same_weights():
    def weights(seed):
        found = []

        def maps_by(changed):
            found.append(changed.two.weight.clone())
            return np.zeros((2, 3, 3), np.float32)

        SanityCheck(steps=2, seed=seed).answers(batch_of(Small(), maps_by))
        return found[-1]

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))
    wide = nn.Conv2d(50, 400, 3)
    _make_random(wide, torch.Generator().manual_seed(0))
    assert wide.weight.std().item() == pytest.approx((2 / 450) ** 0.5, rel=0.01)
    assert not wide.bias.any()


def test_a_norm_no_longer_changes_anything():
    network = Small().eval()
    with torch.no_grad():
        network.one[1].weight.fill_(3)
        network.one[1].running_mean.fill_(2)
    norms = []

    def maps_by(changed):
        norms.append((changed.one[1].weight.tolist(), changed.one[1].running_mean.tolist()))
        return np.zeros((2, 3, 3), np.float32)

    SanityCheck(steps=3).answers(batch_of(network, maps_by))
    assert norms == [([3] * 4, [2] * 4)] * 2 + [([1] * 4, [0] * 4)]


def test_rank_correlation_literal():
    a = np.array([[[1, 2], [3, 4]]] * 4)
    b = np.array([[[10, 20], [30, 90]], [[4, 3], [2, 1]], [[5, 5], [5, 5]], [[2, 1], [4, 3]]])
    assert rank_correlation(a, b).tolist() == pytest.approx([1, -1, 0, 0.6])


def test_rank_correlation_agrees_with_scipys():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 6, (2, 2000, 3, 4))
    found = rank_correlation(a, b)
    expected = [spearmanr(x.ravel(), y.ravel()).statistic for x, y in zip(a, b, strict=True)]
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_map_of_no_numbers_ranks_nothing(value):
    a, b = np.array([[[1.0, 2, 3]]]), np.full((1, 1, 3), value)
    assert rank_correlation(a, b).tolist() == [0]


@pytest.mark.parametrize("key", ["steps", "seed", "images"])
def test_mistakes(key):
    with pytest.raises(UserError, match=rf"{key}=-1: must be a whole number"):
        SanityCheck(**{key: -1})
