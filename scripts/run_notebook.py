#!/usr/bin/env python3
"""Run docs/tour.ipynb from top to bottom, and keep in it what its cells show.

usage: python scripts/run_notebook.py

It runs in an empty folder, so that nothing is skipped as done already. Left out of what is kept:
progress bars and speeds, which differ each time. Pictures are reduced to the width of a page.
Needs the packages of '.[dev,pretrained]'.
"""

import base64
import io
import os
import re
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "docs" / "tour.ipynb"
WIDTH = 1000
"""Of pictures, in pixels at most."""

BAR = re.compile(r"\d%\|")
SPEED = re.compile(r"(; | \()[\d.]+ images/s\)?| in [\d.]+ s\b")


def execute(notebook: nbformat.NotebookNode, folder: Path) -> None:
    """Run all cells, in ``folder``, with this checkout and the commands beside this Python."""
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": str(ROOT),
        "CAM_REPRO_CACHE": "cache",  # in the folder: named in outputs without what is above it
    }
    resources = {"metadata": {"path": str(folder)}}
    client = NotebookClient(
        notebook, timeout=3600, record_timing=False, coalesce_streams=True, resources=resources
    )
    client.execute(env=environment)


def without_speeds(text: str) -> str:
    """Give the lines that a command wrote, without its bars and without speeds."""
    lines = text.replace("\r", "").split("\n")
    return "\n".join(SPEED.sub("", line) for line in lines if not BAR.search(line))


def reduced(png: str) -> str:
    """Give a PNG (base64) that is at most ``WIDTH`` pixels wide."""
    picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    if picture.width > WIDTH:
        height = round(picture.height * WIDTH / picture.width)
        picture = picture.resize((WIDTH, height), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def tidy(notebook: nbformat.NotebookNode) -> None:
    """Leave in the outputs what is the same each time, and pictures as large as they are shown."""
    notebook.metadata.language_info = {"name": "python"}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "stream":
                output.text = without_speeds(output.text)
            elif "image/png" in output.get("data", {}):
                output.data["image/png"] = reduced(output.data["image/png"])


if __name__ == "__main__":
    if len(sys.argv) > 1:
        raise SystemExit(__doc__)
    tour = nbformat.read(NOTEBOOK, as_version=4)
    with tempfile.TemporaryDirectory() as empty:
        execute(tour, Path(empty))
    tidy(tour)
    nbformat.write(tour, NOTEBOOK)
    print(f"{NOTEBOOK.relative_to(ROOT)}: {NOTEBOOK.stat().st_size / 1e6:.1f} MB")
