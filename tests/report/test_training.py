from dataclasses import replace

import pytest

from cam_repro.report.training import read_trainings
from cam_repro.runs.manifest import (
    Checkpoint,
    Hardware,
    Provenance,
    TrainedData,
    TrainManifest,
    write_manifest,
)

HEAD = (
    "epoch,iteration,lr,train_loss,train_top1_error,val_loss,val_top1_error,val_top5_error,"
    "images_per_second\n"
)
LOG = HEAD + "1.0,62,0.1,2.5,84.5,2.25,87.5,40.0,100\n2.0,124,0.1,1.5,56.5,1.75,57.5,19.5,100\n"
MANIFEST = TrainManifest(
    model="nin",
    data=TrainedData(name="demo", n_train=2000, n_val=500, n_classes=6, fingerprint="f"),
    iterations=124,
    epochs=2.0,
    final={},
    parameters=1234567,
    seconds=75.25,
    hardware=Hardware(device="a CPU", precision="fp32", processes=2),
    config={},
    provenance=Provenance(command="cam-train <b>", git="abc", versions={}, created="2025"),
    checkpoint=Checkpoint(path="last.pt"),
)


@pytest.fixture
def write_training(tmp_path):
    def write(log=LOG, model="nin"):
        folder = tmp_path / "runs" / "demo" / model / "train"
        write_manifest(folder, replace(MANIFEST, model=model))
        if log is not None:
            (folder / "log.csv").write_text(log)
        return folder

    return write


@pytest.mark.parametrize("log", [None, HEAD, LOG.replace("2.5", "x")])
def test_one_that_cannot_be_read_is_left_out_and_said(write_training, caplog, log):
    broken, whole = write_training(log, "vgg"), write_training()
    assert [training.model for training in read_trainings([broken, whole])] == ["nin"]
    (message,) = caplog.messages
    assert message.startswith(f"left out: {broken / 'log.csv'}")
    assert "\n" not in message


def test_the_page_shows_the_training_of_the_scored_networks(make_run, write_training, write_report):
    make_run("nin", cls_right=2)
    write_training(LOG.replace("0.1,1.5,", "0.1,,"))  # its loss diverged
    write_training(model="vgg")  # not scored
    page = write_report()
    labels = [chart["aria-label"] for chart in page.all("svg", **{"class": "chart"})]
    assert [label for label in labels if label.startswith("Training")] == [
        "Training of nin: loss and error over 2 epochs; validation top-1 error 57.5 % at the end."
    ]
    for text in ("2 epochs in 75.2 s", "command cam-train <b>", "revision abc"):
        assert text in page.flat
    assert "a CPU, fp32, 2 processes" in page.flat
    assert "1,234,567 numbers" in page.flat
