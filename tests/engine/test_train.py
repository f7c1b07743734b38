"""Whole runs of training: the loop, its log, its checkpoints, its processes."""

import dataclasses
import json
import logging
import math
import os
import re
import subprocess
import sys

import pandas as pd
import pytest
import torch

from cam_repro.commands import train as train_command
from cam_repro.engine import train as train_module
from cam_repro.engine.settings import OptimSettings
from cam_repro.engine.train import Length, _check_schedule
from cam_repro.errors import UserError
from cam_repro.progress import Bar
from cam_repro.truth import LabelSets


def records(folder):
    return pd.read_csv(folder / "log.csv")


def tensors(folder, name="last.pt"):
    return torch.load(folder / name, weights_only=True)


@pytest.mark.parametrize(
    ("settings", "length"),
    [
        ({"batch_size": 4, "iterations": 7}, Length(4, 2, 7)),
        # Ten images are two batches of four; the rest is left out.
        ({"batch_size": 4, "iterations": None, "epochs": 3.5}, Length(4, 2, 7)),
        ({"batch_size": 4, "iterations": None, "epochs": 0.1}, Length(4, 2, 1)),
        ({"batch_size": 64, "iterations": 2}, Length(10, 1, 2)),
    ],
)
def test_how_long_a_run_on_ten_images_is(settings, length):
    assert Length.of(OptimSettings(**settings), n_images=10, n_processes=2) == length


def test_the_loop_gives_each_group_its_rate(start):
    words = ["optim.schedule=step", "optim.step=4", "optim.gamma=0.5", "optim.lr=0.02"]
    folder = start("run", *words)
    # Iterations 4 and 5, the last, lie after one fall of the rate.
    groups = tensors(folder)["optimizer"]["param_groups"]
    assert {g["scale"]: g["lr"] for g in groups} == pytest.approx({1.0: 0.01, 2.0: 0.02})
    assert records(folder)["lr"].tolist() == [0.02, 0.01]


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


def test_weights_that_are_no_numbers_are_not_written(start, tmp_path):
    # The loss of the only iteration is a number: it is computed before the weights are changed.
    with pytest.raises(UserError) as caught:
        start("run", "optim.lr=1e30", "optim.iterations=1")
    assert str(caught.value) == (
        "the validation loss is no longer a number at iteration 1: lower optim.lr (now 1e+30) or "
        "add optim.warmup; no checkpoint is kept"
    )
    assert {path.name for path in (tmp_path / "run").iterdir()} <= {"train.log"}


def test_running_statistics_count_as_weights(start, monkeypatch):
    def spoil(network, *_):
        state = network.state_dict()
        next(state[key] for key in state if key.endswith("running_var")).fill_(math.inf)

    monkeypatch.setattr(train_module, "place_in_batch", spoil)
    with pytest.raises(UserError, match="a weight is no longer a number at iteration 3: lower "):
        start("run", "model.norm=batch")


def test_the_last_good_checkpoint_is_named_and_left(start, tmp_path, monkeypatch):
    def spoil(optim, iteration, iterations):
        return math.inf if iteration == 4 else 0.01

    monkeypatch.setattr(train_module, "learning_rate", spoil)
    last = tmp_path / "run" / "last.pt"
    with pytest.raises(UserError) as caught:
        start("run", "checkpoint_every=5", "optim.momentum=0.9")
    assert str(caught.value).startswith("a weight is no longer a number at iteration 5: lower ")
    assert str(caught.value).endswith(f"; the last good checkpoint is {last}")
    assert tensors(tmp_path / "run")["progress"]["iteration"] == 3


def test_one_image_that_batch_norm_cannot_normalise_is_said_in_one_line(start):
    words = ["model=resnet18", "model.width=0.125", "model.input_size=32", "model.resize_size=32"]
    with pytest.raises(UserError) as caught:
        start("run", *words, "optim.batch_size=4", "optim.accumulate=4")
    assert str(caught.value) == (
        "optim.batch_size=4: batch norm cannot normalise 1 image of which a map has one pixel: a "
        "batch must have 2 images or more for each of 1 processes x 4 parts (optim.accumulate), "
        "so raise optim.batch_size or model.input_size"
    )


def test_a_warmup_that_never_ends_is_refused_and_what_has_no_effect_is_said(caplog):
    def check(n_images=100, **settings):
        optim = OptimSettings(**settings)
        caplog.clear()
        with caplog.at_level(logging.INFO):
            _check_schedule(optim, Length.of(optim, n_images, 1), n_images)
        return caplog.messages

    assert check(schedule="cosine", warmup=9, iterations=10) == []
    with pytest.raises(UserError) as refused:
        check(schedule="cosine", warmup=10, iterations=10)
    assert str(refused.value) == (
        "optim.warmup=10: the run is over before, after 10 iterations (optim.iterations=10): "
        "lower optim.warmup or raise optim.iterations"
    )
    with pytest.raises(UserError, match=r"after 3 iterations \(optim\.epochs=3\): lower"):
        check(warmup=3, epochs=3, iterations=None, batch_size=100)
    assert check(step=10, iterations=11) == []
    assert check(step=10, iterations=10) == [
        "optim.step=10: the run has 10 iterations, so the learning rate never falls"
    ]
    assert check(n_images=5, schedule="constant", iterations=10, batch_size=8) == [
        "optim.batch_size=8: the training set has 5 images, so a batch has as many"
    ]


def test_each_epoch_says_its_errors_and_on_which_view(start, caplog):
    with caplog.at_level(logging.INFO):
        folder = start("run")
    lines = [line for line in caplog.messages if line.startswith("epoch ")]
    log = records(folder)
    assert [line.rpartition(";")[0] for line in lines] == [
        f"epoch {number}/2: loss {row.train_loss:.3f}, "
        f"training error {row.train_top1_error:.1f} %; "
        "validation error, centre crop, top-1/top-5: "
        f"{row.val_top1_error:.1f} / {row.val_top5_error:.1f} %"
        for number, row in enumerate(log.itertuples(), 1)
    ]


def test_the_bar_is_full_when_the_last_validation_is_over(start, monkeypatch):
    at, said = [], []

    class Seen(Bar):
        def update(self, n=1):
            super().update(n)
            at.append((self.n, self.total))

        def say(self, text):
            said.append(text)

    monkeypatch.setattr(train_module, "Bar", Seen)
    start("run")  # 6 iterations of 4 images, and twice 6 images to validate on
    assert at[-1] == (36, 36)
    assert [n for n, _ in at] == sorted({n for n, _ in at})
    assert (12, 36) in at  # before the first validation
    assert (18, 36) in at  # after it
    first = [text for text in said if text.startswith("epoch 1/2, loss ")]
    assert first
    assert said[0] == first[0], "from the first iteration on"
    assert [text for text in said if "loss" not in text] == [
        *("validates epoch 1/2", "epoch 1/2", "validates epoch 2/2", "epoch 2/2")
    ]


def test_a_batch_must_divide_into_its_parts(start):
    with pytest.raises(UserError, match=r"optim\.batch_size=4 must be divisible .* 1 x 3"):
        start("run", "optim.accumulate=3")


GAIN = ["train=gain", "train.masks=boxes", "train.masks_share=0.5"]


def test_the_terms_of_a_loss_are_columns_of_the_log_and_add_up_to_it(start, monkeypatch):
    said = []

    class Seen(Bar):
        def say(self, text):
            said.append(text)

    monkeypatch.setattr(train_module, "Bar", Seen)
    words = [*GAIN, "train.alpha=0.5", "train.weight_e=3"]
    log = records(start("run", *words))
    plain = list(records(start("plain")).columns)
    terms = ["train_loss_cl", "train_loss_am", "train_loss_e"]
    assert list(log.columns) == [*plain, *terms]
    cl, am, e = (log[name] for name in terms)
    assert (log["train_loss"] - (cl + 0.5 * am + 3 * e)).abs().max() < 5e-5
    assert log[terms].min().min() > 0.01
    number = r"\d+\.\d{3}"
    pattern = rf"epoch 1/2, loss {number}, loss_cl {number}, loss_am {number}, loss_e {number}"
    assert re.fullmatch(pattern, said[0])


def test_without_weight_gain_trains_as_by_the_labels(start):
    plain = start("plain", "model.norm=batch", "model.dropout=0.5")
    words = ["train=gain", "train.alpha=0"]
    same = start("same", "model.norm=batch", "model.dropout=0.5", *words)
    for key, value in tensors(plain)["model"].items():
        assert torch.equal(value, tensors(same)["model"][key]), key


def test_gain_in_parts_equals_that_of_the_whole_batch(start):
    words = [*GAIN, "model.norm=none", "model.dropout=0.5", "optim.momentum=0.9"]
    whole, parts = start("whole", *words), start("parts", *words, "optim.accumulate=2")
    plain = start("plain", *words[len(GAIN) :])
    for key, value in tensors(whole)["model"].items():
        assert torch.allclose(value, tensors(parts)["model"][key], rtol=0, atol=1e-6), key
    moved = tensors(whole)["model"]["features.0.weight"]
    assert (moved - tensors(plain)["model"]["features.0.weight"]).abs().max() > 1e-5
    for column in ("train_loss_am", "train_loss_e"):
        values = [records(folder)[column].tolist() for folder in (whole, parts)]
        assert values[0] == pytest.approx(values[1], abs=2e-5), column


def test_gain_keeps_the_names_of_the_networks_weights(start):
    plain, gain = tensors(start("plain")), tensors(start("gain", *GAIN))
    assert list(plain["model"]) == list(gain["model"])
    assert plain["progress"]["sums"].shape == (3,)
    assert gain["progress"]["sums"].shape == (6,)


def test_images_of_several_classes_are_trained_by_all_of_them(start, monkeypatch, caplog):
    opened = train_command.open_data

    def several(*arguments, **options):
        images = opened(*arguments, **options)
        pairs = [[int(label), (int(label) + 1) % 3] for label in images.labels_N]
        return dataclasses.replace(images, label_sets=LabelSets.from_lists(pairs))

    monkeypatch.setattr(train_command, "open_data", several)
    for name in ("multi_label", "gain"):
        log = records(start(name, f"train={name}"))
        assert log["train_loss"].between(0.3, 2).all()  # log 2 a class at first
        assert log["val_top5_error"].tolist() == [0, 0]
    with pytest.raises(UserError, match=r"^compile=true: train=gain shows an image once for each "):
        start("compiled", "train=gain", "compile=true")
    for name in ("multi_label", "gain"):
        with pytest.raises(UserError) as refused:
            start("smoothed", f"train={name}", "optim.label_smoothing=0.1")
        assert str(refused.value) == (
            f"optim.label_smoothing=0.1: train={name} asks for each class by itself, and has none "
            "then; set it to 0"
        )
    with caplog.at_level(logging.INFO):
        start("classification", "optim.label_smoothing=0.1")
    assert "each counts by its label alone; train=multi_label takes all" in caplog.text


ONE_AFTER_ANOTHER = """
import json, sys
from cam_repro.cli.train import main
for words in json.loads(sys.argv[1]):
    sys.argv = ["cam-train", *words]
    main()
"""


def test_two_processes_compute_what_one_does(start, tiny_run, tmp_path):
    plain = ["model.norm=none", "model.dropout=0.5"]
    objectives = {"classification": plain, "gain": [*plain, *GAIN]}
    two = {name: tmp_path / "two" / name for name in objectives}
    lines = [[*tiny_run, *objectives[name], f"output={two[name]}"] for name in objectives]
    (tmp_path / "program.py").write_text(ONE_AFTER_ANOTHER)
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [sys.executable, *torchrun, "program.py", json.dumps(lines)],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    for name, words in objectives.items():
        assert_same_training(start(name, *words), two[name])


def assert_same_training(one, two):
    """``one`` is a run of one process, ``two`` of two."""
    terms = [column for column in records(one) if column.startswith("train_loss_")]
    for column in ("iteration", "lr", "train_loss", "train_top1_error", "val_loss", *terms):
        values = [records(folder)[column].tolist() for folder in (one, two)]
        assert values[0] == pytest.approx(values[1], abs=1e-5), column
    for key, value in tensors(one)["model"].items():
        assert torch.allclose(value, tensors(two)["model"][key], rtol=0, atol=1e-6), key
    manifests = [json.loads((f / "manifest.json").read_text())["processes"] for f in (one, two)]
    assert manifests == [1, 2]
