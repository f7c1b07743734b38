"""Decide how weights are updated: the optimizer, and its learning rate at each iteration."""

from __future__ import annotations

import math

import torch
from torch import nn

from cam_repro.engine.settings import OptimSettings


def learning_rate(optim: OptimSettings, iteration: int, iterations: int) -> float:
    """Compute the learning rate of an iteration (counted from 0; ``iterations`` in all).

    Schedule ``step``: multiplied by ``gamma`` every ``step`` iterations, as in the authors' solver.
    ``cosine``: falls to 0 along half a cosine. ``constant``: does not change. With all of them it
    rises linearly during the first ``warmup`` iterations.
    """
    rate = optim.lr
    if optim.schedule == "step":
        rate *= optim.gamma ** (iteration // optim.step)
    elif optim.schedule == "cosine":
        rate *= 0.5 * (1 + math.cos(math.pi * iteration / iterations))
    return rate * min(1.0, (iteration + 1) / (optim.warmup + 1))


def make_optimizer(network: nn.Module, optim: OptimSettings) -> torch.optim.SGD:
    """Make SGD as in the authors' solver: biases learn ``bias_lr`` times as fast, without decay.

    The scales of batch norms, which the authors' networks do not have, have no weight decay either.
    The learning rate of a parameter group is the schedule's times the group's ``scale``.
    """
    weights: list[nn.Parameter] = []
    scales: list[nn.Parameter] = []
    biases: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            biases.append(parameter)
        else:
            (scales if parameter.ndim == 1 else weights).append(parameter)
    groups = [
        {"params": weights, "weight_decay": optim.weight_decay, "scale": 1.0},
        {"params": scales, "weight_decay": 0.0, "scale": 1.0},
        {"params": biases, "weight_decay": 0.0, "scale": optim.bias_lr},
    ]
    return torch.optim.SGD(
        [group for group in groups if group["params"]],
        lr=optim.lr,
        momentum=optim.momentum,
        fused=True,  # one pass over each parameter instead of three
    )


def set_learning_rate(optimizer: torch.optim.SGD, rate: float) -> None:
    """Give every parameter group its rate: ``rate`` times the group's scale."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["scale"]
