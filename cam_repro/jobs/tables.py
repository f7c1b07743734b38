"""Tables: what ``cam-tables`` does. Needs neither torch nor the images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cam_repro.tables import build_tables, find_runs, markdown, write_tables


@dataclass
class TablesSettings:
    """configs/tables.yaml"""

    runs: str = "runs"
    data: str | None = None
    view: str = "squash"
    output: str | None = None


def run_tables(settings: TablesSettings) -> None:
    """Write table1.csv, table2.csv, table3.csv and tables.md of each data set, and print them."""
    runs_dir, view = Path(settings.runs), settings.view
    groups = find_runs(runs_dir, view, settings.data)
    for data, runs in groups.items():
        if settings.output is None:
            folder = runs_dir / data / "tables"
        else:
            folder = Path(settings.output) / (data if len(groups) > 1 else "")
        print(f"data set: {data} ({len(runs)} scored runs under {runs_dir}, view {view})\n")
        tables = build_tables(runs)
        write_tables(tables, folder)
        print(markdown(tables))
        print(f"written to {folder}: table1.csv table2.csv table3.csv tables.md\n")
