"""Fixtures of the tests of tables."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def amend() -> Callable[..., None]:
    """Changes keys of a run's manifest, and by ``data`` keys of its data set."""

    def change(folder: Path, data: dict[str, Any] | None = None, **keys: Any) -> None:
        path = folder / "manifest.json"
        manifest = json.loads(path.read_text())
        manifest |= {**keys, "data": {**manifest["data"], **(data or {})}}
        path.write_text(json.dumps(manifest))

    return change
