"""Build an objective from its settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cam_repro.config import build_named
from cam_repro.errors import UserError
from cam_repro.models.base import CamNetwork
from cam_repro.objectives.base import Objective


def objective_of(settings: Mapping[str, Any], label_smoothing: float) -> Objective:
    """Build the objective that the keys of a ``configs/train/NAME.yaml`` describe.

    label_smoothing: ``optim.label_smoothing``.
    Raises UserError where they state no name, a class that is no ``Objective``, or a setting that
    the class refuses.
    """
    name, objective = build_named(
        Objective,  # type: ignore[type-abstract]
        "train",
        settings,
        label_smoothing=label_smoothing,
    )
    objective.name = name
    return objective


def refuse_unfit(objective: Objective, network: CamNetwork, name: str) -> None:
    """Raise UserError where a network cannot be trained by an objective.

    name: the network's name in messages.
    """
    reason = objective.refusal(network)
    if reason is not None:
        raise UserError(f"train={objective.name} does not work on model={name}: {reason}")
