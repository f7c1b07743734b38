"""docs/architecture.md names files and functions that are there, and the rooms in their order."""

import ast
import re

import pytest
from pages import ROOT

TEXT = (ROOT / "docs" / "architecture.md").read_text("utf-8")
PLACES = sorted(set(re.findall(r"`((?:cam_repro|configs|tests|scripts|results)/[\w./]*)`", TEXT)))
NAMED = re.findall(r"`(cam_repro/\S+\.py)` \| `([\w.]+)` \|$", TEXT, re.M)
RECORDS = re.findall(r"^\| ((?:`\w+`,? ?)+) \(`(cam_repro/\S+)`\)", TEXT, re.M)


def names_in(place):
    """Functions and classes of a module or of a folder's, methods as ``Class.method``."""
    path = ROOT / place
    if path.is_dir():
        return set().union(*(names_in(each) for each in path.glob("*.py")))
    found = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{n.name}" for n in node.body if isinstance(n, ast.FunctionDef)}
    return found


@pytest.mark.parametrize("place", PLACES)
def test_a_place_is_there(place):
    assert (ROOT / place).exists()


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_a_step_of_the_walk_is_there(file, name):
    assert name in names_in(file)


@pytest.mark.parametrize(("records", "file"), RECORDS)
def test_a_record_is_there(records, file):
    assert set(re.findall(r"\w+", records)) <= names_in(file)


def test_the_walk_goes_from_the_command_line_to_the_table():
    assert len(NAMED) > 20
    assert NAMED[0][0] == "cam_repro/cli/app.py"
    assert NAMED[-1][0] == "cam_repro/tables/sheet.py"
    assert len(RECORDS) > 8


def test_the_rooms_stand_in_their_order():
    source = (ROOT / "tests" / "test_rooms.py").read_text("utf-8")
    rooms = re.findall(r'"(\w+)"', re.search(r"ROOMS = \[(.*?)\]", source, re.S)[1])
    listed = re.findall(r"^\| `(\w+)(?:/|\.py)` \|", TEXT, re.M)
    assert ["ground", *listed] == rooms
