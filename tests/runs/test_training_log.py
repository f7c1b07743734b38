import math

import pytest

from cam_repro.errors import UserError
from cam_repro.runs.training_log import TrainingLog, read_log

AGAIN = "train the network again with cam-train overwrite=true"

HEAD = (
    "epoch,iteration,lr,train_loss,train_top1_error,val_loss,val_top1_error,val_top5_error,"
    "images_per_second\n"
)
LOG = HEAD + "1.0,62,0.1,2.5,84.5,2.25,87.5,40.0,100\n2.0,124,0.1,1.5,56.5,1.75,57.5,19.5,100\n"


@pytest.fixture
def read(tmp_path):
    def write_and_read(text):
        (tmp_path / "log.csv").write_text(text)
        return read_log(tmp_path)

    return write_and_read


def test_a_log_is_read_by_column(read):
    assert read(LOG) == TrainingLog(
        [1.0, 2.0],
        {
            "train_loss": [2.5, 1.5],
            "val_loss": [2.25, 1.75],
            "train_top1_error": [84.5, 56.5],
            "val_top1_error": [87.5, 57.5],
            "val_top5_error": [40.0, 19.5],
        },
    )


def test_terms_of_the_loss_are_read_where_there_are_any(read):
    head, *lines = LOG.splitlines()
    terms = ["train_loss_cl,train_loss_am", "1.5,0.5", "1.25,"]
    log = read("\n".join(f"{a},{b}" for a, b in zip([head, *lines], terms, strict=True)) + "\n")
    assert log.columns == read(LOG).columns
    assert log.terms["loss_cl"] == [1.5, 1.25]
    assert log.terms["loss_am"][0] == 0.5
    assert math.isnan(log.terms["loss_am"][1])
    assert read(LOG).terms == {}


def test_a_loss_that_diverged_is_no_number(read):
    log = read(LOG.replace("0.1,1.5,", "0.1,,").replace("1.75", "inf"))
    assert log.columns["train_loss"][0] == 2.5
    assert math.isnan(log.columns["train_loss"][1])
    assert log.columns["val_loss"] == [2.25, math.inf]
    assert (log.last("train_loss"), log.last("val_loss"), log.last("val_top1_error")) == (
        *(2.5, 2.25),
        57.5,
    )
    assert TrainingLog([1.0], {"val_loss": [math.nan]}).last("val_loss") is None


@pytest.mark.parametrize(
    "text",
    [
        *("", HEAD, "epoch\n1\n", "\0", "1,2"),
        *(LOG.replace("2.5", "x"), LOG.replace("1.0,62", ",62"), LOG + "3.0,186"),
    ],
)
def test_one_that_cannot_be_read_is_said_in_one_line(read, tmp_path, text):
    with pytest.raises(UserError, match=rf"log\.csv .*: {AGAIN}$") as error:
        read(text)
    assert "\n" not in str(error.value)
    (tmp_path / "log.csv").unlink()
    with pytest.raises(UserError, match=rf"log\.csv cannot be read .*: {AGAIN}$"):
        read_log(tmp_path)
