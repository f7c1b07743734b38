"""What the tests of ``cam-data check`` share."""

from __future__ import annotations

from pathlib import Path

from cam_repro.data.check import TreeReport
from cam_repro.data.ilsvrc.check import check_tree
from cam_repro.data.ilsvrc.layouts import Places, find_layout

IMAGES = "ILSVRC/Data/CLS-LOC"
ANNOTATIONS = "ILSVRC/Annotations/CLS-LOC"
LISTS = "ILSVRC/ImageSets/CLS-LOC"
VAL = "ILSVRC2012_val_0000000"
A, B, C = "n00001000", "n00001010", "n00001020"


def report_on(root: Path, places: Places | None = None, **options: object) -> TreeReport:
    return check_tree(find_layout(root, places), **options)


def findings(report: TreeReport) -> dict[str, dict[str, list[str]]]:
    """Faults and notes by split, where there are any."""
    found = {name: {**split.faults, **split.notes} for name, split in report.splits.items()}
    return {name: kinds for name, kinds in found.items() if kinds}


def edit_xml(root: Path, image: str, old: str, new: str) -> None:
    path = root / ANNOTATIONS / f"{image}.xml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def _object(wnid: str) -> str:
    corners = "".join(f"<{tag}>1</{tag}>" for tag in ("xmin", "ymin", "xmax", "ymax"))
    return f"<object><name>{wnid}</name><bndbox>{corners}</bndbox></object>"
