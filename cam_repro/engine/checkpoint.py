"""Write and read checkpoints: all that training needs to go on as if it had never stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from cam_repro.config import TARGET
from cam_repro.errors import UserError
from cam_repro.files import atomic_path
from cam_repro.models.weight_files import OURS, load_torch

SCHEMA = 1

CONTENT = {
    "model": dict,
    "optimizer": dict,
    "progress": dict,
    "identity": str,
    "model_config": dict,
    "classes": list,
}
"""What a checkpoint holds beside its schema, and of which type."""


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write ``state``, tensors and plain values, to a file; an interrupted write leaves no file."""
    # An open file: to a path torch writes by itself, and does not say why it could not.
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        torch.save({"schema": SCHEMA, **state}, file)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint that ``save_checkpoint`` wrote, without running code in it.

    Raises UserError for a file that is missing or damaged, that another program or version wrote,
    or that lacks something.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint; train first, or give another one")
    return _checked(path, load_torch(path))


def load_if_ours(weights: Path | str | None) -> dict[str, Any] | None:
    """Read a checkpoint of ``cam-train``, told by what it holds; None for all other weights.

    Raises UserError for a checkpoint as ``load_checkpoint`` does.
    """
    if weights is None or not Path(weights).is_file():
        return None
    try:
        state = load_torch(Path(weights))
    except UserError:  # of another kind, or damaged, as whoever reads the weights says
        return None
    is_ours = isinstance(state, dict) and {OURS, "model"} <= state.keys()
    return _checked(Path(weights), state) if is_ours else None


def _checked(path: Path, state: Any) -> dict[str, Any]:
    """Give the content of a file if it is a whole checkpoint; raises UserError where it is not."""
    if not isinstance(state, dict) or state.get("schema") != SCHEMA:
        found = state.get("schema") if isinstance(state, dict) else None
        raise UserError(
            f"{path}: not a training checkpoint of this version (schema {found}, "
            f"expected {SCHEMA}); train again, or use it as model.weights={path}"
        )
    lacking = [key for key, kind in CONTENT.items() if not isinstance(state.get(key), kind)]
    if not lacking and not all(isinstance(wnid, str) for wnid in state["classes"]):
        lacking = ["classes"]
    named = [state["model_config"].get(key) for key in ("name", TARGET)] if not lacking else []
    if not lacking:
        named.append(state["model_config"].get("row", ""))  # of version 0.1.0 on
    if not all(isinstance(name, str) for name in named):
        lacking = ["model_config"]
    if lacking:
        raise UserError(
            f"{path}: is no whole checkpoint, its {lacking[0]} is missing or of another kind: take"
            " another one, or train again"
        )
    return state
