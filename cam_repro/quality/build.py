"""Build measures from their settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cam_repro.config import build
from cam_repro.errors import UserError
from cam_repro.quality.base import Measure


def build_measures(settings: Mapping[str, Any]) -> dict[str, Measure]:
    """Build the measures of ``quality=[NAME,...]`` by name, from the keys of their YAML files.

    Raises UserError for a value that is no measure's settings, or a class that is no ``Measure``.
    """
    measures = {}
    for name, keys in settings.items():
        if not isinstance(keys, Mapping):
            raise UserError(
                f"quality.{name}={keys}: a setting of a measure is quality.{name}.KEY=VALUE"
            )
        try:
            measures[name] = build(Measure, f"quality.{name}", keys)  # type: ignore[type-abstract]
        except UserError as error:  # a measure names its own key: it does not know its name
            known = str(error).startswith("quality.")
            raise UserError(f"{'' if known else f'quality.{name}.'}{error}") from None
    return measures
