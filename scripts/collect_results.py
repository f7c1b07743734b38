#!/usr/bin/env python3
"""Copy tables, scores, manifests and curves of a data set's runs to results/.

usage: python scripts/collect_results.py RUNS/DATA results/NAME [MODEL/eval/RUN ...]

Contact sheets are copied only of the runs that are named, such as alexnet_gap/eval/val-cam.
"""

import shutil
import sys
from pathlib import Path


def collect(source: Path, target: Path, pictured: list[str]) -> None:
    """Copy tables, and the small files of each run; replace ``target`` if it exists.

    pictured: runs, as paths below ``source``, whose contact sheets are copied too.
    """
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
