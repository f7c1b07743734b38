"""A small tree in the Kaggle layout; the folder ``layouts`` beside this one has the others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def root(make_tree: Callable[..., Path], tmp_path: Path) -> Path:
    return make_tree(tmp_path / "small", train=2)
