"""The schedule of learning rates and the optimizer: values worked out by hand."""

import pytest
from torch import nn

from cam_repro.engine.optim import learning_rate, make_optimizer, set_learning_rate
from cam_repro.engine.settings import OptimSettings


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        # The authors' steps: x 0.1 every `step` iterations.
        ({"schedule": "step", "step": 3, "gamma": 0.1}, [0.4] * 3 + [0.04] * 3 + [0.004] * 2),
        ({"schedule": "constant"}, [0.4] * 8),
        # Half a cosine over 8 iterations: 0.2 * (1 + cos(pi * i / 8)).
        (
            {"schedule": "cosine"},
            [0.4, 0.38477591, 0.34142136, 0.27653669, 0.2, 0.12346331, 0.05857864, 0.01522409],
        ),
        # Three iterations of rise: a quarter, a half, three quarters, then all of it.
        ({"schedule": "constant", "warmup": 3}, [0.1, 0.2, 0.3, 0.4, 0.4, 0.4, 0.4, 0.4]),
        (
            {"schedule": "step", "step": 2, "gamma": 0.5, "warmup": 3},
            [0.1, 0.2, 0.15, 0.2, 0.1, 0.1, 0.05, 0.05],
        ),
    ],
)
def test_learning_rate(settings, expected):
    optim = OptimSettings(lr=0.4, **settings)
    assert [learning_rate(optim, i, 8) for i in range(8)] == pytest.approx(expected, abs=1e-8)


def test_the_default_schedule_is_the_authors():
    optim = OptimSettings()
    rates = [learning_rate(optim, i, 160_000) for i in (0, 39_999, 40_000, 119_999, 120_000)]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-4, 1e-5, 1e-6], rel=1e-12)


def test_biases_learn_twice_as_fast_and_only_weights_decay():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Linear(4, 2, bias=False))
    optim = OptimSettings(lr=0.1, momentum=0.8, weight_decay=0.3, bias_lr=2.0)
    weights, scales, biases = make_optimizer(network, optim).param_groups

    assert [id(p) for p in weights["params"]] == [id(network[0].weight), id(network[2].weight)]
    assert [id(p) for p in scales["params"]] == [id(network[1].weight)]
    assert [id(p) for p in biases["params"]] == [id(network[0].bias), id(network[1].bias)]
    assert [g["scale"] for g in (weights, scales, biases)] == [1.0, 1.0, 2.0]
    assert [g["weight_decay"] for g in (weights, scales, biases)] == [0.3, 0.0, 0.0]
    assert {g["momentum"] for g in (weights, scales, biases)} == {0.8}


def test_each_group_gets_its_rate():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    optimizer = make_optimizer(network, OptimSettings(lr=0.1, bias_lr=3.0))
    set_learning_rate(optimizer, 0.02)
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([0.02, 0.02, 0.06])
