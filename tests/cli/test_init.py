"""Tests of what every command does before it begins."""

from __future__ import annotations

import subprocess
import sys

EARLY = """
import cam_repro.cli
raise {error}
"""
"""Stands for a command whose libraries are still being imported."""


def ended_by(error: str) -> str:
    program = [sys.executable, "-c", EARLY.format(error=error)]
    return subprocess.run(program, capture_output=True, text=True, check=False).stderr


def test_ctrl_c_while_libraries_are_imported_prints_one_line():
    assert ended_by("KeyboardInterrupt") == "stopped: nothing was done yet\n"


def test_a_defect_keeps_its_traceback():
    assert ended_by("ValueError(3)").endswith("\nValueError: 3\n")
    assert ended_by("ValueError(3)").startswith("Traceback")
