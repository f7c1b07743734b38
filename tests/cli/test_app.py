"""What all commands share: the version, Ctrl-C, log lines above bars, suggestions of one's own."""

import errno
import io
import logging
import os
import re
import signal
import subprocess
import sys
from importlib.metadata import version

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl

from cam_repro.cli.app import _AboveBars
from cam_repro.cli.messages import how_stopped, one_line
from cam_repro.config import config_dir
from cam_repro.progress import Bar
from cam_repro.signals import SIGNALS

COMMANDS = ["train", "eval", "score", "tables", "data", "reproduce"]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_version(command, name):
    done = command(name, "--version")
    assert (done.status, done.err) == (0, "")
    known = rf"cam_repro {re.escape(version('cam_repro'))}(, revision [0-9a-f]{{10}}(-dirty)?)?"
    assert re.fullmatch(
        rf"cam-{name}, {known}, torch {re.escape(version('torch'))}, Python 3\.\d+\.\d+\n", done.out
    )


KEPT = {
    "train": ("no checkpoint of this start yet; those of earlier starts are kept", "model=nin"),
    "eval": ("what was scored before is kept, the pass under way is not", "model=nin"),
    "reproduce": ("steps that are done are kept, and skipped", "experiment=demo"),
    "make": ("nothing of the new data set is kept", "data=demo"),
    "check": ("nothing was written", "data=demo"),
    "unpack": ("what was unpacked is kept, and not unpacked again", "tars=a"),
    "pack": ("nothing of the new data set is kept", "output=o"),
    "score": ("nothing was written", "submission=s"),
    "tables": ("tables that are written are whole", "runs=r"),
}

WHERE = {
    "train": "commands.train.open_data",
    "eval": "commands.evaluate.open_data",
    "reproduce": "commands.reproduce.open_data",
    "make": "commands.data.open_source",
    "check": "commands.data.open_source",
    "unpack": "commands.data._unpack",
    "pack": "commands.data._pack",
    "score": "commands.score._submitted",
    "tables": "commands.tables.find_runs",
}


def pressed(*arguments, **options):
    raise KeyboardInterrupt


@pytest.mark.parametrize("name", KEPT)
def test_ctrl_c_says_what_is_kept_and_how_to_go_on(command, tmp_path, monkeypatch, name):
    monkeypatch.setattr(f"cam_repro.{WHERE[name]}", pressed)
    kept, word = KEPT[name]
    words = [name, word] if WHERE[name].startswith("commands.data.") else [word]
    if name == "score":
        words.append("ground_truth=g")
    done = command("data" if len(words) > 1 and words[0] == name else name, *words)
    assert done.status == 130
    typed = f"cam-{'data ' if words[0] == name else name + ' '}{' '.join(words)}"
    assert done.err.splitlines()[-1] == f"stopped: {kept}. To go on: {typed}"
    assert "error" not in done.err
    assert "Traceback" not in done.err


def test_ctrl_c_before_any_work(command, monkeypatch):
    monkeypatch.setattr("cam_repro.cli.app._check_flags", pressed)
    done = command("tables", "runs=a b")
    assert done.status == 130
    assert done.err == "stopped: nothing was done yet. To go on: cam-tables 'runs=a b'\n"


@pytest.mark.parametrize("number", SIGNALS)
def test_any_signal_is_answered_as_ctrl_c_and_the_next_changes_nothing(
    command, monkeypatch, number
):
    monkeypatch.setattr("cam_repro.cli.app._check_flags", lambda _: os.kill(os.getpid(), number))
    again = signal.SIGTERM if number == signal.SIGUSR1 else number

    def told(stopped):
        os.kill(os.getpid(), again)
        return how_stopped(stopped)

    monkeypatch.setattr("cam_repro.cli.messages.how_stopped", told)
    done = command("tables")
    assert done.status == 130
    assert done.err == "stopped: nothing was done yet. To go on: cam-tables\n"


def test_of_several_processes_one_says_that_they_are_stopped(command, monkeypatch):
    monkeypatch.setattr("cam_repro.cli.app._check_flags", pressed)
    monkeypatch.setenv("RANK", "1")
    done = command("tables")
    assert (done.status, done.err) == (130, "")


def test_waiting_for_jobs_that_slurm_runs_is_not_stopping_them(command, monkeypatch):
    monkeypatch.setattr("cam_repro.cli.app._check_flags", pressed)
    done = command("train", "-m", "hydra/launcher=submitit_slurm", "model=nin")
    assert done.status == 130
    assert done.err.startswith("no longer waiting; the jobs go on: squeue --me lists them")


# Hydra looks for hydra.mode first, where there may be one.
@pytest.mark.parametrize(("words", "times"), [(["runs=a"], 1), (["runs=a", "hydra.mode=RUN"], 2)])
def test_the_settings_are_composed_no_more_often_than_needed(command, monkeypatch, words, times):
    counted = []

    def load(*arguments, **options):
        counted.append(options)
        return before(*arguments, **options)

    before = ConfigLoaderImpl.load_configuration
    monkeypatch.setattr(ConfigLoaderImpl, "load_configuration", load)
    done = command("tables", *words)
    assert "no scored runs under a" in done.errors[0]
    assert len(counted) == times


def test_a_log_line_is_written_above_a_bar(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    handler = _AboveBars(terminal)
    with Bar(2, "stage", leave=False) as bar:
        bar.update()
        handler.emit(logging.LogRecord("a", logging.INFO, "f", 1, "a line", None, None))
    line = terminal.getvalue().split("\n")[0]
    assert line.split("\r")[-1] == "a line", "the bar was wiped from the line before"
    assert "stage:  50%" in terminal.getvalue().split("\n")[1], "and drawn again below"


def test_choices_of_ones_own_are_suggested_too(command, tmp_path):
    folder = tmp_path / "mine" / "model"
    folder.mkdir(parents=True)
    text = (config_dir() / "model" / "nin.yaml").read_text()
    (folder / "mynet.yaml").write_text(text + "depth_of_mine: 3\n")
    own = ["--config-dir", str(folder.parent)]
    done = command("train", *own, "model=mynett")
    assert done.errors[0].endswith("; did you mean mynet?")
    done = command("train", *own, "mynet")
    assert done.errors[0].endswith("; did you mean model=mynet?")
    done = command("train", *own, "model=mynet", "model.dept_of_mine=3")
    assert done.errors[0].endswith("'model.dept_of_mine'; did you mean model.depth_of_mine?")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_completes_words_in_bash(command, monkeypatch, name):
    monkeypatch.setenv("COMP_LINE", f"cam-{name} run")
    done = command(name, "-sc", "query=bash")
    assert done.status == 0, done.err
    assert "runs=" in done.out.split()


def test_a_full_disk_is_one_line_where_no_file_is_known():
    said = "the disk is full: free some space and run the command again"
    assert one_line(OSError(errno.ENOSPC, "No space left on device")) == said
    assert one_line(OSError(errno.EIO, "Input/output error")) is None


@pytest.mark.parametrize(("more", "times"), [([], 1), (["hydra.mode=RUN"], 2)])
def test_settings_are_composed_once(command, tmp_path, monkeypatch, more, times):
    composed = []
    load = ConfigLoaderImpl.load_configuration
    monkeypatch.setattr(
        ConfigLoaderImpl,
        "load_configuration",
        lambda *args, **options: composed.append(args) or load(*args, **options),
    )
    done = command("tables", f"runs={tmp_path}", *more)
    assert done.status == 1
    assert f"no scored runs under {tmp_path}" in done.err
    assert len(composed) == times


def test_the_mode_of_a_sweep_may_be_a_setting(command, tmp_path):
    done = command("tables", f"runs={tmp_path}", "hydra.mode=MULTIRUN")
    assert "Launching 1 jobs locally" in done.err


class Imported(Exception):
    """Torch would be imported now."""


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("concept", ["positives=a", "negatives=b"]),
        *((name, []) for name in ("eval", "features", "train", "units")),
        ("reproduce", ["experiment=demo"]),
        ("show", ["image=cat.jpg"]),
    ],
)
def test_commands_import_torch_by_the_function_for_it(command, monkeypatch, name, words):
    def imported():
        raise Imported

    monkeypatch.setattr(f"cam_repro.cli.{name}.import_torch", imported)
    (error,) = command(name, *words).errors
    assert "in imported: Imported (" in error


def test_what_torch_makes_on_import_is_not_looked_at_again():
    code = (
        "import gc, sys; from cam_repro.cli.app import import_torch; import_torch(); "
        "first = gc.get_freeze_count(); import_torch(); "
        "sys.exit(not ('torch' in sys.modules and gc.get_freeze_count() == first > 100_000))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
