"""Disturb the commands in every way that clusters and disks do, and count what is lost or wrong.

    python scripts/faults CAMPAIGN --times N

Each campaign prints how often each outcome came, and writes all faults to results/faults/ as a CSV,
with the machine and the command beside it. Outcomes marked <-- are faults of the program. Without
CAMPAIGN all are done.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

import flips
import full_disk
import fuzz
import kills
import pairs
import signals
import torch
from trial import Campaign, Row, make_inputs

from cam_repro.engine.hardware import processor_name
from cam_repro.engine.processes import cpus
from cam_repro.files import write_columns, write_json
from cam_repro.runs.provenance import provenance

RESULTS = Path(__file__).resolve().parents[2] / "results" / "faults"

CAMPAIGNS = {module.__name__: module for module in (kills, signals, full_disk, flips, pairs, fuzz)}


def arguments() -> argparse.Namespace:
    """Read the command line."""
    each = [
        f"  {name:10} {(module.__doc__ or '').splitlines()[0]} --times: {module.TIMES}, "
        f"{module.USUAL}; quick {module.QUICK}."
        for name, module in CAMPAIGNS.items()
    ]
    parser = argparse.ArgumentParser(
        prog="python scripts/faults",
        description=(__doc__ or "").splitlines()[0],
        epilog="\n".join(["campaigns:", *each]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("campaign", nargs="*", metavar="CAMPAIGN", help="default: all")
    add("--quick", action="store_true", help="the short form, as in the tests")
    add("--times", type=int, help="how many faults; see below")
    add("--only", nargs="+", default=(), metavar="NAME", help="some of the jobs, kinds, readers")
    add("--output", type=Path, help="folder of the CSVs; default: results/faults, quick: none")
    options = parser.parse_args()
    if options.output is None and not options.quick:
        options.output = RESULTS
    for name in options.campaign:
        if name not in CAMPAIGNS:
            parser.error(f"{name}: choose from {', '.join(CAMPAIGNS)}")
    return options


def main() -> None:
    """Run the campaigns; exit with status 1 if one found a fault of the program."""
    options = arguments()
    torch.set_num_threads(1)  # a forked process has only the thread that forked
    base = Path(tempfile.mkdtemp(prefix="faults-"))  # not deleted by each forked process at its end
    bad = 0
    try:
        make_inputs(base)
        for name in options.campaign or CAMPAIGNS:
            module = CAMPAIGNS[name]
            times = options.times or (module.QUICK if options.quick else module.USUAL)
            rows = list(module.run(Campaign(base, times, options.quick, options.only)))
            bad += report(name, rows, module.GOOD, options.output)
    finally:
        shutil.rmtree(base)
    raise SystemExit(bool(bad))


def report(name: str, rows: Sequence[Row], good: Sequence[str], folder: Path | None) -> int:
    """Print a campaign's outcomes, and write its rows if there is a folder; count the bad ones.

    good: the outcomes that are no fault of the program.
    """
    if folder is not None:
        write_columns(
            folder / f"{name}.csv",
            {each.name: [getattr(row, each.name) for row in rows] for each in fields(Row)},
        )
        machine = f"{processor_name()}, {cpus()} processors"
        write_json(folder / f"{name}.json", {"machine": machine, **asdict(provenance())})
    counts = Counter((row.what, row.outcome) for row in rows)
    print(f"\n{name}{f': {folder / name}.csv' if folder else ''}")
    for (what, outcome), count in sorted(counts.items()):
        print(f"  {what:20} {count:6}  {outcome}{'' if outcome in good else '   <--'}")
    bad = [row for row in rows if row.outcome not in good]
    for row in bad[:20]:
        print(f"  {row.what}, {row.fault}: {row.outcome}, {row.detail}")
    return len(bad)


if __name__ == "__main__":
    main()
