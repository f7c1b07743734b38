"""An archive, a folder for the tree, and an interruption."""

from __future__ import annotations

import io
import shutil

import pytest
from archives import CONTENT, VAL, tar

from cam_repro.data.ilsvrc import unpack as module


@pytest.fixture
def tars(tmp_path):
    folder = tmp_path / "tars"
    folder.mkdir()
    return folder


@pytest.fixture
def output(tmp_path):
    return tmp_path / "tree"


@pytest.fixture
def val(tars):
    path = tars / VAL
    path.write_bytes(tar(*CONTENT.items()))
    return path


@pytest.fixture
def interrupt(monkeypatch):
    """Makes the copying of the n-th file stop half-way, as Ctrl-C would; 0 mends it."""
    copy = shutil.copyfileobj

    def arm(number: int) -> None:
        left = number

        def copy_some(source: io.BytesIO, target: io.BytesIO, length: int = 0) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                target.write(source.read(100))
                raise KeyboardInterrupt
            copy(source, target, length)

        monkeypatch.setattr(module.shutil, "copyfileobj", copy_some)

    return arm
