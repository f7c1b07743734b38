"""List the settings of a run that are not the defaults, to be named in its row."""

from __future__ import annotations

from cam_repro.config import changed_of
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
