"""Keep with a run what a protocol made of it (``cam-score keep=true``): ``score_PROTOCOL.json``."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from cam_repro.errors import UserError
from cam_repro.files import (
    CHECKSUM,
    checksum_holds,
    with_checksum,
    write_json,
)

log = logging.getLogger(__name__)

PREFIX = "score_"


def scores_file(folder: Path | str, protocol: str) -> Path:
    """Name the file of a protocol's result in a run folder."""
    return Path(folder) / f"{PREFIX}{protocol}.json"


def write_scores(folder: Path | str, protocol: str, scores: dict[str, Any]) -> None:
    """Write the JSON of a protocol to a run folder, whole or not at all.

    Whoever calls this holds the folder (``sole_writer``) since before the run was read: otherwise
    the run might be another by now.
    """
    write_json(scores_file(folder, protocol), with_checksum(scores))


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
