"""The campaigns of faults in their short form, and how they compare what is left."""

from __future__ import annotations

import csv
import json
import os
import random
import runpy
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = ROOT / "scripts" / "faults"


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPTS), *options, "--output", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def outcomes(folder: Path, campaign: str) -> Counter[tuple[str, str]]:
    """How often each outcome came to each job, kind or reader."""
    with (folder / f"{campaign}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["what", "fault", "outcome", "detail"]
    return Counter((row["what"], row["outcome"]) for row in rows)


@pytest.fixture(scope="module")
def disturbed(tmp_path_factory):
    """Everything in its short form."""
    folder = tmp_path_factory.mktemp("faults")
    done = run(folder, "--quick")
    assert "Traceback" not in done.stderr, done.stderr
    return folder, done


def test_every_campaign_is_written_with_machine_and_command(disturbed):
    folder, done = disturbed
    names = {"kills", "signals", "full_disk", "flips", "pairs", "fuzz"}
    assert {path.stem for path in folder.glob("*.csv")} == names
    for name in names:
        facts = json.loads((folder / f"{name}.json").read_text())
        assert facts["machine"].endswith("processors")
        assert f"faults --quick --output {folder}" in facts["command"]
        assert f"\n{name}: {folder / name}.csv\n" in f"\n{done.stdout}"


def test_what_is_killed_goes_on(disturbed):
    found = outcomes(disturbed[0], "kills")
    # At one rename, before and after, and once at random.
    assert sum(found.values()) == 2 * 3
    assert set(found) <= {("train", "equal"), ("unpack", "equal")}


def test_signals_are_answered_and_leave_no_process(disturbed):
    found = outcomes(disturbed[0], "signals")
    assert sum(found.values()) == 2
    assert {outcome for _, outcome in found} <= {"equal", "ended before", "not begun"}


def test_a_full_disk_is_named(disturbed):
    found = outcomes(disturbed[0], "full_disk")
    assert set(found) <= {("train", "equal"), ("train", "not tried")}


def test_flips_are_noticed(disturbed):
    found = outcomes(disturbed[0], "flips")
    assert len({kind for kind, _ in found}) == 9
    assert sum(found.values()) == 9 * 5
    assert {outcome for _, outcome in found} <= {"noticed", "the same"}


def test_of_two_at_once_nothing_is_lost(disturbed):
    (outcome,) = outcomes(disturbed[0], "pairs")
    assert outcome in {("train", "one refused"), ("train", "both agree")}


def test_no_reader_fails_on_a_damaged_file(disturbed):
    found = outcomes(disturbed[0], "fuzz")
    assert len(found) == 25
    assert {outcome for _, outcome in found} == {"read or refused"}


# --- the parts -----------------------------------------------------------------------------------


@pytest.fixture
def trial(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import trial

    return trial


@pytest.mark.usefixtures("trial")
def test_a_campaign_that_does_not_exist(monkeypatch, capsys):
    program = runpy.run_path(str(SCRIPTS / "__main__.py"))
    monkeypatch.setattr(sys, "argv", ["faults", "floods"])
    with pytest.raises(SystemExit, match="2"):
        program["main"]()
    said = capsys.readouterr().err
    assert "floods: choose from kills, signals, full_disk, flips, pairs, fuzz" in said


def test_differences_are_named(trial):
    wanted = {"last.pt": "a", "log.csv": "b", "manifest.json": "c"}
    found = {"last.pt": "x", "log.csv": "b", ".last-1.pt": "d"}
    assert trial.difference(wanted, wanted) == ""
    assert trial.difference(wanted, found) == (
        "lacks manifest.json; orphan .last-1.pt; differs last.pt"
    )


def test_times_and_checksums_make_no_difference(trial, tmp_path):
    def digest(**values):
        path = tmp_path / "manifest.json"
        path.write_text(json.dumps({"final": {"loss": 1.5}, **values}))
        return trial._digest(path)

    usual = digest(seconds=1, checkpoint={"sha256": "0" * 64})
    assert digest(seconds=2, checkpoint={"sha256": "1" * 64}) == usual
    assert digest(seconds=1, checkpoint={"sha256": None}) != usual
    assert digest(seconds=1, final={"loss": 2.5}, checkpoint={"sha256": "0" * 64}) != usual
    (tmp_path / "manifest.json").write_text('{"final"')
    assert trial._digest(tmp_path / "manifest.json") == "unreadable: JSONDecodeError"


def test_what_becomes_of_a_forked_process_is_told(trial):
    assert trial.in_child(lambda: [1, 2]) == [1, 2]
    assert trial.in_child(lambda: 1 / 0) == "ZeroDivisionError: division by zero"
    assert trial.in_child(lambda: os.kill(os.getpid(), 9)) == "ended by SIGKILL"


def test_damage_is_the_same_each_time_and_there_is_some(trial, monkeypatch):
    import fuzz

    good = bytes(range(256)) * 8
    inputs = [fuzz.mutated(good, random.Random(f"map {number}")) for number in range(200)]
    assert inputs == [fuzz.mutated(good, random.Random(f"map {number}")) for number in range(200)]
    assert sum(bad != good for bad in inputs) > 190
    assert len({len(bad) for bad in inputs}) > 50
