"""Build box rules from their settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cam_repro.boxes.base import BoxRule
from cam_repro.config import build
from cam_repro.errors import UserError


def build_rules(settings: Mapping[str, Any]) -> dict[str, BoxRule]:
    """Build the rules of ``box=[NAME,...]`` by name, from the keys of their YAML files.

    Raises UserError for a value that is no rule's settings, or a class that is no ``BoxRule``.
    """
    rules = {}
    for name, rule in settings.items():
        if not isinstance(rule, Mapping):
            raise UserError(f"box.{name}={rule}: a setting of a box rule is box.{name}.KEY=VALUE")
        try:
            rules[name] = build(BoxRule, f"box.{name}", rule)  # type: ignore[type-abstract]
        except UserError as error:  # a rule names its own key: it does not know what it is called
            known = str(error).startswith("box.")
            raise UserError(f"{'' if known else f'box.{name}.'}{error}") from None
    return rules
