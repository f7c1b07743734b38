import contextlib
import json
import os
import signal
import subprocess
import sys

import pandas as pd
import pytest
import torch
from torch import nn

from cam_repro.commands.train import run_training
from cam_repro.engine import train as train_module
from cam_repro.engine.settings import OptimSettings
from cam_repro.engine.train import StopRequest, learning_rate, make_optimizer
from cam_repro.errors import UserError

torch.set_num_threads(1)

TIME_COLUMNS = ["images_per_second"]


# --- the schedule and the solver


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        # The authors' steps: x 0.1 every `step` iterations.
        ({"schedule": "step", "step": 3, "gamma": 0.1}, [0.4] * 3 + [0.04] * 3 + [0.004] * 2),
        ({"schedule": "constant"}, [0.4] * 8),
        # Half a cosine over 8 iterations: 0.2 * (1 + cos(pi * i / 8)).
        (
            {"schedule": "cosine"},
            [0.4, 0.38477591, 0.34142136, 0.27653669, 0.2, 0.12346331, 0.05857864, 0.01522409],
        ),
        # Three iterations of rise: a quarter, a half, three quarters, then all of it.
        ({"schedule": "constant", "warmup": 3}, [0.1, 0.2, 0.3, 0.4, 0.4, 0.4, 0.4, 0.4]),
        (
            {"schedule": "step", "step": 2, "gamma": 0.5, "warmup": 3},
            [0.1, 0.2, 0.15, 0.2, 0.1, 0.1, 0.05, 0.05],
        ),
    ],
)
def test_learning_rate(settings, expected):
    optim = OptimSettings(lr=0.4, **settings)
    assert [learning_rate(optim, i, 8) for i in range(8)] == pytest.approx(expected, abs=1e-8)


def test_the_default_schedule_is_the_authors():
    optim = OptimSettings()
    rates = [learning_rate(optim, i, 160_000) for i in (0, 39_999, 40_000, 119_999, 120_000)]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-4, 1e-5, 1e-6], rel=1e-12)


def test_biases_learn_twice_as_fast_and_only_weights_decay():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Linear(4, 2, bias=False))
    optim = OptimSettings(lr=0.1, momentum=0.8, weight_decay=0.3, bias_lr=2.0)
    weights, scales, biases = make_optimizer(model, optim).param_groups

    assert [id(p) for p in weights["params"]] == [id(model[0].weight), id(model[2].weight)]
    assert [id(p) for p in scales["params"]] == [id(model[1].weight)]
    assert [id(p) for p in biases["params"]] == [id(model[0].bias), id(model[1].bias)]
    assert [g["scale"] for g in (weights, scales, biases)] == [1.0, 1.0, 2.0]
    assert [g["weight_decay"] for g in (weights, scales, biases)] == [0.3, 0.0, 0.0]
    assert {g["momentum"] for g in (weights, scales, biases)} == {0.8}


def test_the_loop_gives_each_group_its_rate(tiny_run, compose_config, tmp_path, monkeypatch):
    optimizers = []

    def remember(model, optim):
        optimizers.append(make_optimizer(model, optim))
        return optimizers[-1]

    monkeypatch.setattr(train_module, "make_optimizer", remember)
    words = ["optim.schedule=step", "optim.step=4", "optim.gamma=0.5", "optim.lr=0.02"]
    run_training(compose_config("train", *tiny_run, *words, f"output={tmp_path}"))
    # Iterations 4 and 5, the last, lie after one fall of the rate.
    rates = {group["scale"]: group["lr"] for group in optimizers[0].param_groups}
    assert rates == pytest.approx({1.0: 0.01, 2.0: 0.02})


# --- whole runs


@pytest.fixture
def start(compose_config, tiny_run, tmp_path):
    """Trains into ``tmp_path / name`` with further words; returns the folder."""

    def start(name, *words):
        cfg = compose_config("train", *tiny_run, *words, f"output={tmp_path / name}")
        return run_training(cfg)

    return start


def records(folder):
    return pd.read_csv(folder / "log.csv")


def tensors(folder, name="last.pt"):
    return torch.load(folder / name, weights_only=True)


def assert_same_run(one, two):
    """Bit for bit: parameters, running statistics, momentum, and the log but for times."""
    a, b = tensors(one), tensors(two)
    assert a["model"].keys() == b["model"].keys()
    for key, value in a["model"].items():
        assert torch.equal(value, b["model"][key]), key
    for slot, state in a["optimizer"]["state"].items():
        assert torch.equal(
            state["momentum_buffer"], b["optimizer"]["state"][slot]["momentum_buffer"]
        )
    pd.testing.assert_frame_equal(
        records(one).drop(columns=TIME_COLUMNS),
        records(two).drop(columns=TIME_COLUMNS),
        check_exact=True,
    )


def at_iteration(monkeypatch, number, action):
    """Calls ``action`` when the loop comes to that iteration, counted from 0."""

    def hooked(optim, iteration, iterations):
        if iteration == number:
            action()
        return learning_rate(optim, iteration, iterations)

    monkeypatch.setattr(train_module, "learning_rate", hooked)


class PowerCut(Exception):
    pass


def power_cut():
    raise PowerCut


# Batch norm, dropout and a random crop and mirror: all that could differ after a restart.
LIVELY = ["model.norm=batch", "model.dropout=0.5", "optim.iterations=7", "optim.warmup=2"]


def test_a_resumed_run_equals_one_that_never_stopped(start, monkeypatch):
    straight = start("straight", *LIVELY)
    # 3 iterations an epoch: the checkpoint of iteration 4 lies inside the second. The cut comes
    # later, so that iteration 5 is done twice.
    at_iteration(monkeypatch, 5, power_cut)
    with pytest.raises(PowerCut):
        start("cut", *LIVELY, "checkpoint_every=4")
    monkeypatch.undo()
    folder = straight.parent / "cut"
    assert tensors(folder)["progress"]["iteration"] == 4
    assert not (folder / "manifest.json").exists()
    assert records(folder)["iteration"].tolist() == [3]

    # What does not change the result may change: loading by other processes, checkpoints.
    start("cut", *LIVELY, "checkpoint_every=5", "loader.preload=no", "loader.workers=1")
    assert records(folder)["iteration"].tolist() == [3, 6, 7]
    assert_same_run(straight, folder)
    assert (folder / "manifest.json").is_file()


def test_another_seed_is_another_run(start):
    one, two = start("one", *LIVELY), start("two", *LIVELY, "seed=1")
    with pytest.raises(AssertionError):
        assert_same_run(one, two)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_a_checkpoint_to_go_on_from(start, monkeypatch, number):
    straight = start("straight", *LIVELY)
    handlers = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    at_iteration(monkeypatch, 1, lambda: os.kill(os.getpid(), number))
    with pytest.raises(KeyboardInterrupt):
        start("stopped", *LIVELY)
    monkeypatch.undo()
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == handlers
    folder = straight.parent / "stopped"
    assert tensors(folder)["progress"]["iteration"] == 2  # the iteration it came in was finished
    assert {path.name for path in folder.iterdir()} - {"train.log"} == {"last.pt"}
    start("stopped", *LIVELY)
    assert_same_run(straight, folder)


def test_stop_request_is_a_flag_and_only_while_listening():
    with StopRequest().listening() as stop:
        assert not stop.made
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.made
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


def test_a_finished_run_is_left_as_it_is(start):
    folder = start("run")
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert start("run") == folder
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_other_settings_are_refused_until_overwrite(start):
    folder = start("run", "optim.iterations=3")
    before = tensors(folder)["model"]["cam_fc.weight"]
    refusals = {
        "optim.lr=0.02": r"optim\.lr: 0\.01 there, 0\.02 now",
        "seed=5": "seed: 0 there, 5 now",
        "model.width=0.1": r"model\.width: 0\.05 there, 0\.1 now",
        "augment=random_resized_crop": "augment: squash_crop there, random_resized_crop now",
    }
    for word, message in refusals.items():
        with pytest.raises(UserError, match=message) as error:
            start("run", "optim.iterations=3", word)
        assert "overwrite=true" in str(error.value)
        assert str(folder) in str(error.value)
    assert torch.equal(tensors(folder)["model"]["cam_fc.weight"], before)

    start("run", "optim.iterations=3", "seed=5", "overwrite=true")
    assert not torch.equal(tensors(folder)["model"]["cam_fc.weight"], before)
    assert json.loads((folder / "manifest.json").read_text())["config"]["seed"] == 5
    # That it was told to overwrite is no part of what it is.
    assert start("run", "optim.iterations=3", "seed=5") == folder


def test_accumulated_gradients_equal_those_of_the_whole_batch(start):
    plain = ["model.norm=none", "model.dropout=0.5", "optim.momentum=0.9"]
    whole = start("whole", *plain)
    parts = start("parts", *plain, "optim.accumulate=2")
    for key, value in tensors(whole)["model"].items():
        assert torch.allclose(value, tensors(parts)["model"][key], rtol=0, atol=1e-6), key
    losses = [records(folder)["train_loss"] for folder in (whole, parts)]
    assert losses[0].tolist() == pytest.approx(losses[1].tolist(), abs=1e-5)
    # The weights have moved by far more than the tolerance.
    fresh = start("fresh", *plain, "optim.lr=1e-12")
    moved = (
        tensors(whole)["model"]["features.0.weight"] - tensors(fresh)["model"]["features.0.weight"]
    )
    assert moved.abs().max() > 1e-4


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM])
def test_whoever_listened_before_is_told_when_the_loop_stops(number):
    told = []
    before = signal.signal(number, lambda signum, frame: told.append(signum))
    try:
        with contextlib.suppress(KeyboardInterrupt), StopRequest().listening() as stop:
            os.kill(os.getpid(), number)
            assert stop.made
            assert told == []  # submitit would end the process here, without a checkpoint
            raise KeyboardInterrupt
        assert told == [number]
        # A run that came to its end all the same has nothing to be put back into a queue.
        with StopRequest().listening() as stop:
            os.kill(os.getpid(), number)
        assert told == [number]
        os.kill(os.getpid(), number)
        assert told == [number, number]
    finally:
        signal.signal(number, before)


def test_best_is_the_checkpoint_of_the_lowest_validation_error(start, monkeypatch):
    errors = iter([50.0, 25.0, 75.0])

    def scripted(*arguments):
        return {"val_loss": 1.0, "val_top1_error": next(errors), "val_top5_error": 0.0}

    monkeypatch.setattr(train_module, "classification_errors", scripted)
    folder = start("run", "optim.iterations=9")
    assert records(folder)["val_top1_error"].tolist() == [50, 25, 75]
    assert tensors(folder, "best.pt")["progress"]["iteration"] == 6
    assert tensors(folder, "last.pt")["progress"]["iteration"] == 9


def test_a_run_learns_and_its_files_agree(start, tiny_tree):
    folder = start(
        "run", "model.norm=batch", "optim.iterations=45", "optim.lr=0.03", "optim.schedule=cosine"
    )
    log = records(folder)
    assert log["epoch"].tolist() == list(range(1, 16))
    assert log["train_loss"].iloc[-1] < 0.5 * log["train_loss"].iloc[0]
    assert log["val_top1_error"].iloc[-1] == 0
    manifest = json.loads((folder / "manifest.json").read_text())
    for key, value in log.iloc[-1].items():
        assert manifest["final"][key] == pytest.approx(value, abs=1e-5), key
    assert manifest["data"]["name"] == "tiny"
    assert [manifest["data"][k] for k in ("n_train", "n_val", "n_classes")] == [12, 6, 3]
    assert (manifest["iterations"], manifest["epochs"], manifest["skipped"]) == (45, 15, [])
    state = tensors(folder)["model"]
    buffers = ("running_mean", "running_var", "num_batches_tracked", "pixel_mean", "pixel_std")
    n_parameters = sum(v.numel() for k, v in state.items() if not k.endswith(buffers))
    assert manifest["parameters"] == n_parameters


def test_a_loss_that_is_no_number_ends_the_run(start, tmp_path):
    with pytest.raises(UserError, match=r"no longer a number at iteration 3: lower optim\.lr"):
        start("run", "optim.lr=1e9")
    assert {path.name for path in (tmp_path / "run").iterdir()} <= {"train.log"}


def test_a_batch_must_divide_into_its_parts(start):
    with pytest.raises(UserError, match=r"optim\.batch_size=4 must be divisible .* 1 x 3"):
        start("run", "optim.accumulate=3")


def test_two_processes_compute_what_one_does(start, tiny_run, tmp_path):
    plain = ["model.norm=none", "model.dropout=0.5"]
    words = [*tiny_run, *plain, f"output={tmp_path / 'two'}"]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [sys.executable, *torchrun, "-m", "cam_repro.cli.train", *words],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    one = start("one", *plain)
    two = tmp_path / "two"
    for column in ("iteration", "lr", "train_loss", "train_top1_error", "val_loss"):
        values = [records(folder)[column].tolist() for folder in (one, two)]
        assert values[0] == pytest.approx(values[1], abs=1e-5), column
    for key, value in tensors(one)["model"].items():
        assert torch.allclose(value, tensors(two)["model"][key], rtol=0, atol=1e-6), key
    manifests = [json.loads((f / "manifest.json").read_text())["processes"] for f in (one, two)]
    assert manifests == [1, 2]
