"""List the settings of a run that are not the defaults, to be named in its row."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from omegaconf import OmegaConf

from cam_repro.config import config_dir
from cam_repro.runs.manifest import EvalManifest


def changed_settings(manifest: EvalManifest, rule: str | None) -> list[str]:
    """List the settings of saliency method, view and box rule that differ from those of configs/.

    As words of a command line: ``["box.threshold.threshold=0.3"]``.

    manifest: of the run. rule: one of its box rules; the settings of others are not listed, and
    those of none where it is None. Nor are those of a method, view or rule that configs/ does not
    have.
    """
    changed = [
        *changed_of("saliency", manifest.saliency, manifest.saliency_settings, "saliency"),
        *changed_of("view", manifest.view, manifest.view_settings, "view"),
    ]
    if rule is not None:
        of_rule = (manifest.box_settings or {}).get(rule)
        changed += changed_of("box", rule, of_rule, f"box.{rule}")
    return changed


def changed_of(group: str, name: str, settings: Mapping[str, Any] | None, prefix: str) -> list[str]:
    """List the settings of a choice that differ from those of ``configs/<group>/<name>.yaml``.

    prefix: what stands before their keys, as in ``box.threshold``.
    """
    return [
        f"{prefix}.{key}={_word(value)}"
        for key, value in (settings or {}).items()
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
