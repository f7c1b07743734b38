"""A run that was stopped goes on as if it never had been; another run is not touched."""

import json
import os
import signal
import time

import pandas as pd
import pytest
import torch

from cam_repro.data.loading import TrainImages
from cam_repro.engine import train as train_module
from cam_repro.engine.optim import learning_rate
from cam_repro.errors import Stopped, UserError

TIME_COLUMNS = ["images_per_second"]


def records(folder):
    return pd.read_csv(folder / "log.csv")


def tensors(folder):
    return torch.load(folder / "last.pt", weights_only=True)


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


GAIN = ["train=gain", "train.masks=boxes"]


@pytest.fixture
def straight(train_once, tiny_run, tmp_path):
    """A run that nothing stopped."""
    return train_once(tmp_path / "straight", *tiny_run, *LIVELY)


@pytest.mark.parametrize("words", [LIVELY, [*LIVELY, *GAIN]], ids=["classification", "gain"])
def test_a_resumed_run_equals_one_that_never_stopped(start, monkeypatch, words):
    straight = start("straight", *words)
    # 3 iterations an epoch: the checkpoint of iteration 4 lies inside the second. The cut comes
    # later, so that iteration 5 is done twice.
    at_iteration(monkeypatch, 5, power_cut)
    with pytest.raises(PowerCut):
        start("cut", *words, "checkpoint_every=4")
    monkeypatch.undo()
    folder = straight.parent / "cut"
    assert tensors(folder)["progress"]["iteration"] == 4
    assert not (folder / "manifest.json").exists()
    assert records(folder)["iteration"].tolist() == [3]

    # What does not change the result may change: loading by other processes, checkpoints.
    start("cut", *words, "checkpoint_every=5", "loader.preload=no", "loader.workers=1")
    assert records(folder)["iteration"].tolist() == [3, 6, 7]
    assert_same_run(straight, folder)
    assert (folder / "manifest.json").is_file()


def test_how_often_is_validated_changes_no_weight_and_no_checkpoint(start, straight, monkeypatch):
    seldom = start("seldom", *LIVELY, "validate_every=2")
    assert records(seldom)["iteration"].tolist() == [6, 7]
    assert records(straight)["iteration"].tolist() == [3, 6, 7]
    for name in ("val_loss", "val_top1_error", "lr"):
        assert records(seldom)[name].tolist() == records(straight)[name].tolist()[1:]
    # Of the six iterations since the beginning, not of the last three.
    means = records(straight)["train_loss"]
    assert records(seldom)["train_loss"][0] == pytest.approx(means[:2].mean(), abs=1e-5)
    for name, tensor in tensors(straight)["model"].items():
        assert torch.equal(tensor, tensors(seldom)["model"][name])
    at_iteration(monkeypatch, 5, power_cut)
    with pytest.raises(PowerCut):
        start("cut", *LIVELY, "validate_every=2")
    folder = straight.parent / "cut"
    assert tensors(folder)["progress"]["iteration"] == 3  # the epoch's, which was not validated
    assert not (folder / "log.csv").exists()


def test_the_objective_is_part_of_a_run(start):
    folder = start("run", *LIVELY)
    with pytest.raises(UserError, match=r"other settings \(train\._target_: .*Gain now\)"):
        start("run", *LIVELY, "train=gain")
    start("gain", *LIVELY, "train=gain")
    with pytest.raises(UserError, match=r"other settings \(train\.sigma: 0\.5 there, 0\.25 now\)"):
        start("gain", *LIVELY, "train=gain", "train.sigma=0.25")
    # Checkpoints of earlier versions do not say what was minimised: it was one thing.
    checkpoint = tensors(folder)
    identity = json.loads(checkpoint["identity"])
    del identity["train"]
    torch.save({**checkpoint, "identity": json.dumps(identity)}, folder / "last.pt")
    start("run", *LIVELY)
    with pytest.raises(UserError, match=r"other settings \(train\._target_: "):
        start("run", *LIVELY, "train=multi_label")


def test_another_seed_is_another_run(start):
    one, two = start("one", *LIVELY), start("two", *LIVELY, "seed=1")
    with pytest.raises(AssertionError):
        assert_same_run(one, two)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_a_checkpoint_to_go_on_from(start, straight, monkeypatch, number):
    handlers = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    at_iteration(monkeypatch, 1, lambda: os.kill(os.getpid(), number))
    with pytest.raises(Stopped) as stopped:
        start("stopped", *LIVELY)
    kept = straight.parent / "stopped" / "last.pt"
    said = f"the checkpoint of iteration 2 of 7 (epoch 0.7 of 2.3) is kept in {kept}"
    assert str(stopped.value) == said
    monkeypatch.undo()
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == handlers
    folder = straight.parent / "stopped"
    assert tensors(folder)["progress"]["iteration"] == 2  # the iteration it came in was finished
    assert {path.name for path in folder.iterdir()} - {"train.log"} == {"last.pt"}
    start("stopped", *LIVELY)
    assert_same_run(straight, folder)


def test_a_signal_in_validation_keeps_the_last_iteration_and_validates_again(
    start, straight, monkeypatch
):
    folder = straight.parent / "stopped"
    validate = train_module.classification_errors
    batches_seen = []

    def signalled(network, batches, *rest):
        def some():
            for batch in batches:
                batches_seen.append(len(batch.labels_N))
                if len(batches_seen) == 3:  # of the second epoch, whose six images are two batches
                    os.kill(os.getpid(), signal.SIGTERM)
                yield batch

        return validate(network, some(), *rest)

    monkeypatch.setattr(train_module, "classification_errors", signalled)
    with pytest.raises(Stopped, match=r"the checkpoint of iteration 6 of 7 "):
        start("stopped", *LIVELY)
    assert batches_seen == [4, 2, 4]  # the last one was not waited for
    assert records(folder)["iteration"].tolist() == [3]
    assert tensors(folder)["progress"]["iteration"] == 6
    monkeypatch.undo()
    start("stopped", *LIVELY)
    assert records(folder)["iteration"].tolist() == [3, 6, 7]
    assert_same_run(straight, folder)


def test_a_signal_while_the_last_checkpoint_is_written_stops_what_comes_after(
    start, straight, monkeypatch
):
    """Else the next training of an experiment would begin."""
    save = train_module.Training.save

    def signalled(training, name):
        save(training, name)
        if training.is_over:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(train_module.Training, "save", signalled)
    with pytest.raises(Stopped, match=r"the checkpoint of iteration 7 of 7 "):
        start("stopped", *LIVELY)
    folder = straight.parent / "stopped"
    assert not (folder / "manifest.json").exists()
    monkeypatch.undo()
    start("stopped", *LIVELY)
    assert_same_run(straight, folder)


def test_a_signal_is_heard_while_the_loop_waits_for_a_batch(start, straight, monkeypatch):
    give = TrainImages.__getitem__

    def stuck(images, key):
        if key[0] == 1:  # in the second epoch the disk hangs
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        return give(images, key)

    monkeypatch.setattr(TrainImages, "__getitem__", stuck)
    started = time.monotonic()
    with pytest.raises(Stopped, match=r"the checkpoint of iteration 3 of 7 "):
        start("stopped", *LIVELY)
    assert time.monotonic() - started < 30
    monkeypatch.undo()
    start("stopped", *LIVELY)
    assert_same_run(straight, straight.parent / "stopped")


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


def test_a_start_that_overwrites_goes_on_when_it_was_stopped(start, monkeypatch, caplog):
    """As SLURM starts a job again that it put back into the queue: by the same command."""
    start("straight", *LIVELY)
    folder = start("run", *LIVELY)
    words = [*LIVELY, "overwrite=true", "checkpoint_every=2"]
    at_iteration(monkeypatch, 5, power_cut)
    with pytest.raises(PowerCut):
        start("run", *words)
    monkeypatch.undo()
    assert tensors(folder)["progress"]["iteration"] == 4
    with caplog.at_level("INFO"):
        start("run", *words)
    assert f"goes on from iteration 4 of 7 in {folder}" in caplog.messages
    assert "  (overwrite=true began this run; to begin it anew remove last.pt)" in caplog.messages
    assert_same_run(folder.parent / "straight", folder)
    # It ended: the next one that overwrites begins anew.
    caplog.clear()
    with caplog.at_level("INFO"):
        start("run", *words)
    assert "goes on" not in caplog.text


def test_a_start_that_overwrites_does_not_go_on_from_one_that_did_not(start, monkeypatch, caplog):
    at_iteration(monkeypatch, 5, power_cut)
    with pytest.raises(PowerCut):
        start("run", *LIVELY, "checkpoint_every=4")
    monkeypatch.undo()
    with caplog.at_level("INFO"):
        start("run", *LIVELY, "overwrite=true")
    assert "goes on" not in caplog.text


@pytest.mark.parametrize("killed_at", ["best.pt", "log.csv"])
def test_files_that_a_kill_left_behind_the_checkpoint_are_made_right(
    start, straight, monkeypatch, killed_at
):
    """Epochs end at 3, 6 and 7; the run is killed after last.pt of the second or the third."""
    errors = records(straight)["val_top1_error"].tolist()
    best = records(straight)["iteration"][errors.index(min(errors))]
    folder = straight.parent / "killed"

    def kill(path):
        saved = folder / "last.pt"
        if path == folder / killed_at and tensors(folder)["progress"]["iteration"] == best:
            assert saved.exists()
            raise PowerCut
        return real(path)

    real = train_module.atomic_path
    monkeypatch.setattr(train_module, "atomic_path", kill)
    save = train_module.save_checkpoint

    def save_or_die(path, state):
        if path.name == killed_at == "best.pt" and state["progress"]["iteration"] == best:
            raise PowerCut
        save(path, state)

    monkeypatch.setattr(train_module, "save_checkpoint", save_or_die)
    with pytest.raises(PowerCut):
        start("killed", *LIVELY)
    monkeypatch.undo()
    assert tensors(folder)["progress"]["iteration"] == best
    start("killed", *LIVELY)
    for name in ("best.pt", "last.pt"):
        states = [torch.load(run / name, weights_only=True) for run in (straight, folder)]
        assert states[0]["progress"]["iteration"] == states[1]["progress"]["iteration"]
        for key, value in states[0]["model"].items():
            assert torch.equal(value, states[1]["model"][key]), (name, key)
    assert_same_run(straight, folder)


def test_the_log_of_a_run_that_is_replaced_goes_with_it(start, monkeypatch):
    folder = start("run", *LIVELY)
    at_iteration(monkeypatch, 1, power_cut)
    with pytest.raises(PowerCut):
        start("run", *LIVELY, "overwrite=true")
    assert not {"log.csv", "last.pt", "best.pt", "manifest.json"} & {
        path.name for path in folder.iterdir()
    }


def test_two_trainings_do_not_write_one_folder_at_once(start, monkeypatch):
    refused = []

    def second():
        with pytest.raises(UserError) as error:
            start("run", *LIVELY, "seed=7")
        refused.append(str(error.value))

    at_iteration(monkeypatch, 2, second)
    folder = start("run", *LIVELY)
    (said,) = refused
    assert said.startswith(f"{folder}: process {os.getpid()} on ")
    assert "is writing to it, since 20" in said
    assert json.loads((folder / "manifest.json").read_text())["config"]["seed"] == 0


def test_a_checkpoint_that_lacks_a_tensor_is_answered_in_one_line(start):
    folder = start("run", "optim.iterations=3")
    state = tensors(folder)
    del state["model"]["cam_fc.weight"]
    torch.save(state, folder / "last.pt")
    (folder / "manifest.json").unlink()
    with pytest.raises(
        UserError, match=r"last\.pt: does not hold the network, optimizer and"
    ) as no:
        start("run", "optim.iterations=3")
    assert "\n" not in str(no.value)


def test_a_stated_normalisation_is_part_of_a_run_and_none_is_as_before(start):
    folder = start("run", "optim.iterations=3")
    model = json.loads(tensors(folder)["identity"])["model"]
    assert not {"pixel_mean", "pixel_std"} & model.keys()
    with pytest.raises(UserError, match=r"model\.pixel_mean: None there, \[0\.5, 0\.5, 0\.5\] now"):
        start("run", "optim.iterations=3", "model.pixel_mean=[0.5,0.5,0.5]")


def test_a_run_whose_last_checkpoint_is_gone_is_not_lost(start):
    folder = start("run")
    (folder / "last.pt").unlink()
    with pytest.raises(
        UserError, match=r"without its last\.pt, but with manifest\.json and best\.pt"
    ):
        start("run")
    (folder / "manifest.json").unlink()
    best = (folder / "best.pt").read_bytes()
    with pytest.raises(UserError, match=r"but with best\.pt: .* overwrite=true"):
        start("run")
    assert (folder / "best.pt").read_bytes() == best


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("log.csv", b"iteration,epoch", "log.csv is not as it was written: its SHA-256 is not"),
        ("manifest.json", b'{"model": ', "manifest.json cannot be read"),
        ("manifest.json", b"[]", "manifest.json is not a manifest"),
        ("last.pt", b"PK\3\4", "last.pt: cannot be read as a torch file"),
    ],
)
def test_a_finished_run_that_is_damaged_says_what_helps_and_that_helps(start, name, content, said):
    folder = start("run", "optim.iterations=1")
    (folder / name).write_bytes(content)
    with pytest.raises(UserError) as error:
        start("run", "optim.iterations=1")
    assert said in str(error.value)
    assert str(error.value).endswith("overwrite=true")
    assert (folder / name).read_bytes() == content
    start("run", "optim.iterations=1", "overwrite=true")
    assert start("run", "optim.iterations=1") == folder


def test_stopped_after_the_last_iteration_it_says_what_is_kept(start, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("cam_repro.commands.train.write_curves", stop)
    with pytest.raises(
        Stopped, match=r"the training is done, its last checkpoint is .*run/last\.pt"
    ):
        start("run")
