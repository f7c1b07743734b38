"""A small tree in the Kaggle layout; the folder ``layouts`` beside this one has the others."""

from __future__ import annotations

import pytest


@pytest.fixture
def root(make_tree, tmp_path):
    return make_tree(tmp_path / "small", train=2)
