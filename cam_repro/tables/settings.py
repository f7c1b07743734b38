"""List the settings of a run that are not the defaults, to be named in its row."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from omegaconf import OmegaConf

from cam_repro.config import config_dir
from cam_repro.runs.manifest import EvalManifest


def changed_settings(manifest: EvalManifest, rule: str) -> list[str]:
    """List the settings of saliency method, view and box rule that differ from those of configs/.

    As words of a command line: ``["box.threshold.threshold=0.3"]``.

    manifest: of the run. rule: one of its box rules; the settings of others are not listed. Nor are
    those of a method, view or rule that configs/ does not have.
    """
    used = {
        ("saliency", manifest.saliency): manifest.saliency_settings,
        ("view", manifest.view): manifest.view_settings,
        ("box", rule): (manifest.box_settings or {}).get(rule),
    }
    return [
        f"{group}.{name}.{key}={_word(value)}"
        if group == "box"
        else f"{group}.{key}={_word(value)}"
        for (group, name), values in used.items()
        for key, value in (values or {}).items()
        if value != _defaults(group, name).get(key, value)
    ]


def _word(value: Any) -> str:
    """Write a value as one would type it on a command line."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


@cache
def _defaults(group: str, name: str) -> dict[str, Any]:
    """Read the settings of ``configs/<group>/<name>.yaml``; none where there is no such file."""
    path = config_dir() / group / f"{name}.yaml"
    if not path.is_file():
        return {}
    values: Any = OmegaConf.to_container(OmegaConf.load(path))
    return values
