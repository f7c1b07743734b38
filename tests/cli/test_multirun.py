"""Sweeps (``-m``): one job after another here, and by submitit on this machine and on SLURM."""

import json
import operator
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

BIN = Path(sys.executable).parent
LAUNCHERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_", "SLURM_", "SUBMITIT_")


@pytest.fixture(scope="module", autouse=True)
def _needs_plugin():
    """Installed with the extras ``slurm`` and ``dev``."""
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")


@pytest.fixture
def words(tiny_run):
    """``tiny_run`` without its network; quiet, so that the number of processes does not matter."""
    assert tiny_run[0] == "model=alexnet_gap"
    return [*tiny_run[1:], "model.dropout=0"]


@pytest.fixture
def console(tmp_path):
    """Runs an installed command in a process of its own, in ``tmp_path``."""

    def console(name, *arguments, path=""):
        clean = {k: v for k, v in os.environ.items() if not k.startswith(LAUNCHERS)}
        return subprocess.run(
            [BIN / f"cam-{name}", *arguments],
            cwd=tmp_path,
            env={**clean, "OMP_NUM_THREADS": "1", "PATH": f"{path}{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=120,
        )

    return console


def errors(text):
    return [line for line in text.splitlines() if line.startswith("error:")]


def tensors(folder):
    return torch.load(folder / "last.pt", weights_only=True)["model"]


def assert_same_network(one, two, tolerance=0.0):
    a, b = tensors(one), tensors(two)
    assert a.keys() == b.keys()
    for key, value in a.items():
        assert torch.allclose(value, b[key], rtol=0, atol=tolerance), key


def manifest(folder):
    return json.loads((folder / "manifest.json").read_text())


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# --- one after another


def test_jobs_of_a_sweep_are_those_of_single_commands(command, words, tmp_path):
    # Batch norm and dropout: a generator or a mode left over from the first job would show.
    lively = [*words, "model.norm=batch", "model.dropout=0.5"]
    done = command("train", "-m", "model=alexnet_gap,nin", *lively)
    assert done.status == 0, done.err
    assert names(tmp_path) == ["runs"]
    assert names(tmp_path / "runs") == [".sweep", "tiny"]
    assert names(tmp_path / "runs" / ".sweep") == ["multirun.yaml"]

    trained = {m: tmp_path / "runs" / "tiny" / m / "train" for m in ("alexnet_gap", "nin")}
    assert manifest(trained["nin"])["command"].startswith("cam-train model=nin model.width=0.05 ")
    said = [line.strip() for line in done.err.splitlines()]
    first, second = (
        next(n for n, line in enumerate(said) if line.startswith(f"#{k} : model={model} "))
        for k, model in enumerate(trained)
    )
    assert first < said.index("runs/tiny/alexnet_gap/train/last.pt") < second
    assert second < said.index("runs/tiny/nin/train/last.pt")
    assert sum(line.startswith("data set tiny: ") for line in said) == 2

    for model, folder in trained.items():
        done = command("train", f"model={model}", *lively, f"output=alone/{model}")
        assert done.status == 0, done.err
        assert_same_network(folder, tmp_path / "alone" / model)

    data = [word for word in words if word.startswith("data")]
    done = command("eval", "-m", "model=alexnet_gap,nin", *data, "device=cpu")
    assert done.status == 0, done.err
    for model in trained:
        done = command("eval", f"model={model}", *data, "device=cpu", f"output=alone/{model}/eval")
        assert done.status == 0, done.err
        assert (
            tmp_path / "runs" / "tiny" / model / "eval/val-cam/predictions.parquet"
        ).read_bytes() == (tmp_path / "alone" / model / "eval" / "predictions.parquet").read_bytes()


def test_the_other_jobs_run_when_one_fails(command, words, tmp_path):
    words = [word for word in words if not word.startswith("optim.lr")]
    swept = ["optim.lr=1e9,0.02", "output=out/${optim.lr}", "runs=elsewhere"]
    done = command("train", "-m", "model=alexnet_gap", *words, *swept)
    assert done.status == 1
    reason = "the loss is no longer a number at iteration 3: lower optim.lr (now 1000000000.0)"
    assert len(done.errors) == 1
    assert done.err.splitlines()[-1] == done.errors[0]
    assert done.errors[0].startswith(f"error: {reason}")
    assert "Traceback" not in done.err
    said = done.err.splitlines()
    failed = next(n for n, line in enumerate(said) if line.startswith(f"failed: {reason}"))
    assert any(line.startswith("\t#1 : model=alexnet_gap") for line in said[failed:])
    assert names(tmp_path) == ["elsewhere", "out"]
    assert manifest(tmp_path / "out" / "0.02")["final"]["iteration"] == 6
    assert not (tmp_path / "out" / "1000000000.0" / "manifest.json").exists()


def test_a_defect_in_a_job_shows_its_traceback(command, words, monkeypatch):
    monkeypatch.setattr("cam_repro.commands.train.build_network", operator.truediv)
    done = command("train", "-m", "model=alexnet_gap", *words)
    assert done.status == 1
    (error,) = done.errors
    assert error.startswith("error: TypeError: unsupported operand type(s) for /: ")
    assert done.err.count("Traceback (most recent call last)") == 1
    assert "commands/train.py" in done.err


def test_ctrl_c_ends_the_whole_sweep(command, words, monkeypatch, tmp_path):
    def pressed(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("cam_repro.commands.train.build_network", pressed)
    done = command("train", "-m", "model=alexnet_gap,nin", *words)
    assert done.status == 130
    assert done.errors == []
    last = done.err.splitlines()[-1]
    kept = "no checkpoint of this start yet; those of earlier starts are kept"
    assert last.startswith(f"stopped: {kept}. To go on: cam-train -m model=alexnet_gap,nin ")
    assert "#1 :" not in done.err


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["-m", "model=alexnet_gap,nin", "model.widht=0.5"], "there is no setting 'model.widht'"),
        (["-m", "model=alexnet_gap,nine"], "model=nine: choose one of"),
        (["model=alexnet_gap,nin"], "for a job with each of these values add -m"),
        (["hydra/launcher=submitit_slurm", "model=nin"], "hydra/launcher=submitit_slurm needs -m"),
        (["-m", "hydra.launcher.partition=gpu", "model=nin"], "come with hydra/launcher=submitit"),
        (["-m", "hydra/launcher=submitit_slurm", "model=nin"], "no srun here"),
        (
            ["-m", "hydra/launcher=submitit_local", "model=nin", "seed=0,1"],
            "differ in seed would write to one folder at the same time: give each its own, as in "
            "'output=sweep/${seed}'",
        ),
        (
            ["-m", "hydra/launcher=submitit_local", "model=nin,alexnet", "output=here"],
            "differ in model would write to one folder",
        ),
        (["-m", "model=nin", "--cfg", "job"], "--info and -sc only one can be given"),
    ],
)
def test_mistakes_are_one_line(command, monkeypatch, tmp_path, arguments, line):
    monkeypatch.setenv("PATH", str(tmp_path))
    done = command("train", *arguments, "data=ilsvrc", "data.root=nowhere")
    assert done.status == 1
    assert len(done.errors) == 1
    assert line in done.errors[0]
    assert done.err.splitlines()[-1] == done.errors[0]
    assert "Traceback" not in done.err
    assert not list(tmp_path.glob("runs/[!.]*"))


def test_without_the_plugin_the_extra_is_named(tmp_path):
    code = (
        "import sys; sys.modules['hydra_plugins'] = None\n"  # as if nothing were installed there
        "sys.argv = ['cam-train', '-m', 'hydra/launcher=submitit_local', 'model=nin']\n"
        "from cam_repro.cli.train import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 1
    line = "error: hydra/launcher=submitit_local is not installed: pip install '.[slurm]'"
    assert done.stderr.splitlines() == [line]


# --- by submitit


LOCAL = ["-m", "hydra/launcher=submitit_local"]
TWO = "hydra.launcher.tasks_per_node=2"


def logs(tmp_path, stream="err"):
    return sorted((tmp_path / "runs" / ".sweep" / ".submitit").glob(f"[0-9]*/*_log.{stream}"))


def assert_same_training(one, two, processes):
    for column in ("iteration", "lr", "train_loss", "train_top1_error", "val_loss"):
        a, b = (pd.read_csv(folder / "log.csv")[column].tolist() for folder in (one, two))
        assert a == pytest.approx(b, abs=1e-5), column
    assert_same_network(one, two, tolerance=1e-6)
    assert [manifest(folder)["processes"] for folder in (one, two)] == [1, processes]


def test_two_tasks_train_as_one_process(console, command, words, tmp_path):
    network = ["model=alexnet_gap", "model.norm=none", *words]
    done = console("train", *LOCAL, TWO, *network, "output=two")
    assert done.returncode == 0, done.stderr
    assert names(tmp_path) == ["runs", "two"]
    main, other = (log.read_text() for log in logs(tmp_path))
    assert main.startswith("cam-train model=alexnet_gap model.norm=none ")
    assert "  two/last.pt" in main.splitlines()
    assert "data set" not in other  # one process says what all do
    assert command("train", *network, "output=one").status == 0
    assert_same_training(tmp_path / "one", tmp_path / "two", 2)
    written = manifest(tmp_path / "two")["command"]
    assert written.startswith("cam-train model=alexnet_gap model.norm=none ")
    assert "hydra" not in written


def test_two_tasks_evaluate_as_one_process(console, command, words, train_once, tmp_path):
    train_once(tmp_path / "net", "model=alexnet_gap", "model.norm=none", *words)
    data = [word for word in words if word.startswith("data")]
    network = ["model=alexnet_gap", "model.weights=net/last.pt", *data, "device=cpu"]
    done = console("eval", *LOCAL, TWO, *network, "output=two")
    assert done.returncode == 0, done.stderr
    assert command("eval", *network, "output=one").status == 0
    one, two = tmp_path / "one", tmp_path / "two"
    assert (one / "predictions.parquet").read_bytes() == (two / "predictions.parquet").read_bytes()
    assert (one / "scores.json").read_bytes() == (two / "scores.json").read_bytes()
    assert [manifest(folder)["processes"] for folder in (one, two)] == [1, 2]


def test_a_failed_job_is_one_line_with_its_log(console, tmp_path):
    done = console("tables", *LOCAL, "data=unheard_of")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1:] == errors(done.stderr)
    reason = "no scored runs under runs: run cam-reproduce or cam-eval first"
    (log,) = logs(tmp_path)
    assert errors(done.stderr)[0].startswith(f"error: {reason}")
    assert errors(done.stderr)[0].endswith(f"(log in {log.parent})")
    said = log.read_text().splitlines()
    assert said[0] == "cam-tables data=unheard_of"
    assert said[1].startswith(f"failed: {reason}")
    assert len(said) == 2


# What submitit calls, standing in for SLURM: runs the batch script here, and its srun line twice.
SLURM = {
    "sbatch": """
        cp "$1" batch.sh
        export SLURM_JOB_ID=$$ SLURM_NTASKS=2 SLURM_PROCID=0 SLURM_LOCALID=0
        export SLURM_JOB_NODELIST=localhost
        bash batch.sh </dev/null >batch.log 2>&1 &
        echo "Submitted batch job $$"
    """,
    "srun": """
        out=${3//%j/$SLURM_JOB_ID} err=${5//%j/$SLURM_JOB_ID}
        shift 5  # --unbuffered --output FILE --error FILE
        mkdir -p "$(dirname "$out")"
        export SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=2 SLURM_STEP_NODELIST=localhost
        for rank in 0 1; do
          export SLURM_PROCID=$rank SLURM_LOCALID=$rank
          "$@" >"${out//%t/$rank}" 2>"${err//%t/$rank}" &
        done
        wait
    """,
    "sacct": """
        printf 'JobID|State|NodeList\\n%s|RUNNING|localhost\\n' "$5"
    """,
}


def test_a_job_of_slurm_with_two_tasks(console, command, words, tmp_path):
    place = tmp_path / "bin"
    place.mkdir()
    for name, script in SLURM.items():
        (place / name).write_text(f"#!/usr/bin/env bash\n{script}")
        (place / name).chmod(0o755)
    network = ["model=alexnet_gap", "model.norm=none", *words]
    launcher = ["hydra/launcher=submitit_slurm", "hydra.launcher.partition=fast", TWO]
    launcher += ["hydra.launcher.gpus_per_node=2", "hydra.launcher.cpus_per_task=12"]
    launcher += ["hydra.launcher.timeout_min=2880", "hydra.launcher.max_num_timeout=10"]
    done = console("train", "-m", *launcher, *network, "output=two", path=f"{place}:")
    assert done.returncode == 0, done.stderr
    wanted = {
        *("job-name=cam-train", "partition=fast", "ntasks-per-node=2", "gpus-per-node=2"),
        *("cpus-per-task=12", "time=2880", "nodes=1", "signal=USR2@120"),
    }
    batch = (tmp_path / "batch.sh").read_text()
    assert wanted <= {line.removeprefix("#SBATCH --") for line in batch.splitlines()}
    assert command("train", *network, "output=one").status == 0
    assert_same_training(tmp_path / "one", tmp_path / "two", 2)
