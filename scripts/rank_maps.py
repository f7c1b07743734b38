"""Rank runs by every protocol of maps that they can be scored by, side by side.

    python scripts/rank_maps.py 'runs/ilsvrc/squeezenet/eval/*' --output ranking.csv

Runs are named as for ``cam-score submission=``: folders of ``cam-eval save_maps=true
quality=[insertion,deletion,average_drop,sanity_check]`` over the same images. For each number the
table has its value, its 95 % interval and its rank, 1 for the best; a cell is empty where a run
lacks what the protocol needs. Runs are sorted by the localization of their boxes.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from cam_repro.engine.saved_maps import score_maps
from cam_repro.errors import UserError
from cam_repro.files import write_columns
from cam_repro.metrics.average_drop import AverageDrop
from cam_repro.metrics.energy_in_box import EnergyInBox
from cam_repro.metrics.localization import Localization
from cam_repro.metrics.pointing_game import PointingGame
from cam_repro.metrics.probability_curves import Deletion, Insertion
from cam_repro.metrics.protocol import Needs, Protocol
from cam_repro.metrics.sanity_check import SanityCheck
from cam_repro.runs.answers import read_answers
from cam_repro.runs.folders import find_run_folders
from cam_repro.runs.predictions import Predictions, read_predictions
from cam_repro.runs.saved_maps import maps_folder

NUMBERS: dict[str, tuple[Protocol, str, str, int]] = {
    "localization": (Localization(), "gt_known", "0.5", 1),
    "pointing_game": (PointingGame(), "pointing_game", "all", 1),
    "energy_in_box": (EnergyInBox(), "energy_in_box", "", 1),
    "insertion": (Insertion(), "insertion", "", 1),
    "deletion": (Deletion(), "deletion", "", -1),
    "average_drop": (AverageDrop(), "average_drop", "", -1),
    "increase": (AverageDrop(), "increase", "", 1),
    "sanity_check": (SanityCheck(), "rank_correlation", "last", 0),
}
"""Of each column its protocol, the key of its number, the part of it, and whether more is better
(1), less (-1) or neither (0). The last rank correlation is that with all layers random.
"""


def main() -> None:
    """Score all runs, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("runs", nargs="+")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    folders = list(find_run_folders(arguments.runs).values())
    runs = [read_predictions(folder) for folder in folders]
    columns: dict[str, list[Any]] = {
        "network": [run.manifest.row for run in runs],
        "saliency": [run.manifest.saliency for run in runs],
        "images": [len(run) for run in runs],
    }
    for name, (protocol, key, part, sign) in NUMBERS.items():
        scores = [scored(protocol, run, folder) for run, folder in zip(runs, folders, strict=True)]
        found = [number(each, key, part) for each in scores]
        values = [value for value, _, _ in found]
        columns |= {
            name: values,
            f"{name}_from": [low for _, low, _ in found],
            f"{name}_to": [high for _, _, high in found],
            f"{name}_images": [each.get("n_asked", each.get("n_images")) for each in scores],
            f"{name}_rank": ranks(values, sign),
        }
    order = sorted(range(len(runs)), key=lambda row: -(columns["localization"][row] or 0))
    table = {name: [values[row] for row in order] for name, values in columns.items()}
    write_columns(arguments.output, table)


def scored(protocol: Protocol, run: Predictions, folder: Path) -> dict[str, Any]:
    """Give the JSON of a run by a protocol; empty where the run lacks what it needs."""
    try:
        if protocol.needs is Needs.ANSWERS:
            return protocol.score(run, read_answers(folder, protocol.name)).as_json()
        return score_maps(protocol, run, maps_folder(run, folder), run).as_json()
    except UserError as error:
        print(f"left out: {error}")
        return {}


def number(result: dict[str, Any], key: str, part: str) -> tuple[float | None, ...]:
    """Give a number of a result and the ends of its interval, rounded; None where there is none."""
    if key not in result:
        return None, None, None
    value, ends = result[key], result[f"{key}_95"]
    if part:
        chosen = list(value)[-1] if part == "last" else part
        value, ends = value[chosen], ends[chosen]
    return tuple(round(each, 3) for each in (value, *ends))


def ranks(values: list[float | None], sign: int) -> list[int | None]:
    """Rank values, 1 for the best; equal ones share the better rank. sign: as in ``NUMBERS``."""
    if not sign:
        return [None] * len(values)
    known = [sign * value for value in values if value is not None]
    return [
        None if value is None else 1 + sum(other > sign * value for other in known)
        for value in values
    ]


if __name__ == "__main__":
    main()
