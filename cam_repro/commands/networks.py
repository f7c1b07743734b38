"""Load the one network that a command line names, with its weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from cam_repro.api import LoadedNetwork, load_network
from cam_repro.commands.evaluate import describe_weights
from cam_repro.errors import UserError
from cam_repro.runs.folders import run_name, train_folder
from cam_repro.runs.manifest import Checkpoint


class NamesNetwork(Protocol):
    """The settings by which a command names its network."""

    model: dict[str, Any]
    checkpoint: str
    device: str
    precision: str
    runs: str


def load_named(
    settings: NamesNetwork, data: str, overrides: Sequence[str]
) -> tuple[LoadedNetwork, Checkpoint]:
    """Load the network: with the weights that are named, or trained on ``data``, or pretrained.

    A checkpoint of ours contains the settings of its network; of those of ``model=NAME`` only the
    ones that the user gave, in ``overrides``, replace them.
    """
    model = settings.model
    words = [word.lstrip("+").partition("=")[0] for word in overrides]
    keys = [word.removeprefix("model.") for word in words if word.startswith("model.")]
    given = {key: model[key] for key in keys if key in model and key != "weights"}
    weights = model.get("weights")
    trained = train_folder(settings.runs, data, run_name(model)) / f"{settings.checkpoint}.pt"
    if weights is None and trained.is_file():
        weights = str(trained)
    before = describe_weights(weights)
    loaded = load_network(
        model["name"],
        weights=weights,
        device=settings.device,
        precision=settings.precision,
        **given,
    )
    after = describe_weights(weights or loaded.settings.get("pretrained"))
    assert after is not None, "a network without weights is refused"
    if before is not None and before != after:
        raise UserError(f"{weights}: was replaced while it was read: run the command again")
    return loaded, after
