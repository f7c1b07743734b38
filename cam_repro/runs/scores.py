"""Keep with a run what a protocol made of it (``cam-score keep=true``): ``score_PROTOCOL.json``."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from cam_repro.errors import UserError
from cam_repro.files import (
    CHECKSUM,
    check_writable,
    checksum_holds,
    with_checksum,
    write_json,
)
from cam_repro.locks import sole_writer
from cam_repro.runs.manifest import MANIFEST, EvalManifest, read_eval_manifest

log = logging.getLogger(__name__)

PREFIX = "score_"


def scores_file(folder: Path | str, protocol: str) -> Path:
    """Name the file of a protocol's result in a run folder."""
    return Path(folder) / f"{PREFIX}{protocol}.json"


def write_scores(
    folder: Path | str, protocol: str, scores: dict[str, Any], of: EvalManifest | None = None
) -> None:
    """Write the JSON of a protocol to a run folder, whole or not at all.

    of: the manifest that the run had when it was read; None: it is not compared.
    Raises UserError where the run has another one by now.
    """
    check_writable(folder)
    with sole_writer(Path(folder)):
        if of is not None and _manifest_of(folder) != of:
            raise UserError(
                f"{folder}: was scored anew while {protocol} was computed, so this is not kept: "
                "run cam-score again"
            )
        write_json(scores_file(folder, protocol), with_checksum(scores))


def _manifest_of(folder: Path | str) -> EvalManifest | None:
    """Read a run's manifest; None where it is gone."""
    return read_eval_manifest(folder) if (Path(folder) / MANIFEST).exists() else None


def read_scores(folder: Path | str) -> dict[str, dict[str, Any]]:
    """Read what is kept with a run, by protocol; damaged files are left out with a warning."""
    found = {}
    for path in sorted(scores_file(folder, "").parent.glob(scores_file("", "*").name)):
        try:
            found[path.stem.removeprefix(PREFIX)] = read_json_object(path)
        except UserError as error:
            log.warning("left out: %s", error)
    return found


def read_json_object(path: Path) -> dict[str, Any]:
    """Read a JSON object, without its checksum.

    Raises UserError, naming the file, where it holds no such thing, or was changed since.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError):
        raise UserError(f"{path}: is no JSON: write it again with cam-score") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: holds no scores: give the JSON that cam-score wrote")
    if not checksum_holds(values):
        raise UserError(f"{path}: is not as it was written, by its checksum: write it again")
    return {key: value for key, value in values.items() if key != CHECKSUM}
