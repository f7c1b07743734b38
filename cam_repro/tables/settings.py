"""What a run was scored with other than the defaults, for its row to say."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from omegaconf import OmegaConf

from cam_repro.config import config_dir
from cam_repro.runs.folders import box_settings


def changed_settings(manifest: dict[str, Any], rule: str) -> list[str]:
    """List the settings of maps and boxes that differ from those of configs/.

    As words of a command line: ``["box.threshold.threshold=0.3"]``.

    manifest: of the run. rule: one of its box rules; the others do not count. Nothing
    is said of a method, a view or a rule that configs/ does not have.
    """
    config = manifest.get("config") or {}
    used = {
        ("saliency", manifest["saliency"]): config.get("saliency"),
        ("view", manifest["view"]): config.get("view"),
        ("box", rule): box_settings(config).get(rule),
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
    """As one would type it on a command line."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


@cache
def _defaults(group: str, name: str) -> dict[str, Any]:
    """The settings of ``configs/<group>/<name>.yaml``; none where there is no such file."""
    path = config_dir() / group / f"{name}.yaml"
    if not path.is_file():
        return {}
    values: Any = OmegaConf.to_container(OmegaConf.load(path))
    return values
