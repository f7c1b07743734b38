#!/usr/bin/env python3
"""Copy what is worth keeping of the runs of a data set to results/: tables, scores, manifests.

usage: python scripts/collect_results.py RUNS/DATA results/NAME [MODEL/eval/RUN ...]

Pictures are kept of the runs named, and the curves of every training run.
"""

import shutil
import sys
from pathlib import Path


def collect(source: Path, target: Path, pictured: list[str]) -> None:
    """Copy tables, and of each run what a reader needs to trust it."""
    kept = ["tables/*", "*/train/manifest.json", "*/train/log.csv", "*/train/curves.png"]
    kept += ["*/eval/*/manifest.json", "*/eval/*/scores.json"]
    kept += [f"{run}/contact_sheet.png" for run in pictured]
    files = [path for pattern in kept for path in sorted(source.glob(pattern))]
    if not files:
        raise SystemExit(f"error: no results in {source}: name the folder of one data set's runs")
    if target.exists():
        shutil.rmtree(target)
    for path in files:
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
    print(f"{len(files)} files in {target}")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        raise SystemExit(__doc__)
    collect(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
