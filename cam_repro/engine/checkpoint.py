"""Write and read checkpoints: all that training needs to go on as if it had never stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from cam_repro.errors import UserError
from cam_repro.files import atomic_path

SCHEMA = 1


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write ``state``, tensors and plain values, to a file; an interrupted write leaves no file."""
    # An open file: to a path torch writes by itself, and does not say why it could not.
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        torch.save({"schema": SCHEMA, **state}, file)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint that ``save_checkpoint`` wrote, without running code in it.

    Raises UserError for a file that is missing or cut short, or that another program or version
    wrote.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint; train first, or give another one")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file raises anything, from EOFError to IndexError
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: not a readable checkpoint ({reason})") from None
    if not isinstance(state, dict) or state.get("schema") != SCHEMA:
        found = state.get("schema") if isinstance(state, dict) else None
        raise UserError(
            f"{path}: not a training checkpoint of this version (schema {found}, "
            f"expected {SCHEMA}); train again, or use it as model.weights={path}"
        )
    return state
