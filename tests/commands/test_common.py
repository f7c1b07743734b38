import errno
import logging

import pytest

from cam_repro.commands.common import (
    announce,
    by_main,
    describe_data,
    log_file,
    log_file_of_pass,
    open_data,
)
from cam_repro.engine.processes import Processes
from cam_repro.errors import UserError
from cam_repro.runs.manifest import ScoredData

SOURCE = {"_target_": "cam_repro.data.ilsvrc.source.Ilsvrc", "name": None}


def test_open_data_opens_the_split_that_is_named(tiny_tree):
    data = {**SOURCE, "root": str(tiny_tree)}
    images = open_data(data, Processes(), "val", with_boxes=True)
    assert (images.name, images.split, len(images)) == ("tiny", "val", 6)
    assert len(images.boxes.values_T4) == 6
    named = open_data({**data, "name": "other"}, Processes(), "train", with_boxes=False)
    assert (named.name, len(named), len(named.boxes.values_T4)) == ("other", 12, 0)


def test_what_a_data_set_refuses_stays_a_user_error(tmp_path):
    data = {**SOURCE, "root": str(tmp_path / "nowhere")}
    with pytest.raises(UserError, match="no such folder"):
        open_data(data, Processes(), "val", with_boxes=True)


def test_the_main_process_opens_the_data_first(tiny_tree, monkeypatch):
    told = []
    monkeypatch.setattr(Processes, "wait", lambda group: told.append("wait"))
    monkeypatch.setattr(
        "cam_repro.commands.common.open_image_set", lambda *arguments: told.append("open")
    )
    data = {**SOURCE, "root": str(tiny_tree)}
    for group, order in (
        (Processes(0, 2), ["open", "wait"]),
        (Processes(1, 2, 1), ["wait", "open"]),
    ):
        told.clear()
        open_data(data, group, "val", with_boxes=True)
        assert told == order


def test_the_first_line_names_the_data_set(tiny_tree, caplog):
    data = {**SOURCE, "root": str(tiny_tree)}
    images = open_data(data, Processes(), "test", with_boxes=True)
    with caplog.at_level(logging.INFO):
        announce(images)
    (message,) = caplog.messages
    assert message == (
        f"data set tiny: 3 classes, 2 test images in {images.folder} ({images.described})"
    )


def test_a_manifest_says_of_the_data_what_decides_the_numbers(tiny_tree):
    data = {**SOURCE, "root": str(tiny_tree)}
    images = open_data(data, Processes(), "val", with_boxes=True)
    assert describe_data(images) == ScoredData(
        name="tiny",
        is_ilsvrc=False,
        n_classes=3,
        fingerprint=images.fingerprint,
        file_sizes=images.which.file_sizes,
        has_labels=True,
        has_boxes=True,
        layout=images.described,
        class_names=list(images.classes.names),
    )
    images = open_data(data, Processes(), "test", with_boxes=True)
    described = describe_data(images)
    assert (described.has_labels, described.has_boxes) == (False, False)


def test_log_file_keeps_what_was_said_inside_and_goes_on_where_it_ended(
    tiny_tree, tmp_path, monkeypatch
):
    monkeypatch.setattr("sys.argv", ["/bin/cam-train", "model=a b"])
    images = open_data({**SOURCE, "root": str(tiny_tree)}, Processes(), "test", with_boxes=True)
    log = logging.getLogger("cam_repro.anything")
    path = tmp_path / "run" / "train.log"
    handlers = list(logging.getLogger().handlers)
    log.warning("before")
    for text in ("one", "two"):
        with log_file(path, Processes(), images):
            log.warning(text)
            log.debug("in detail")
    with log_file(path, Processes(rank=1, world=2), images):
        log.warning("from another process")
    log.warning("after")
    said = [line.split(" ", 2)[2] for line in path.read_text().splitlines()]
    start = ["cam-train 'model=a b'", f"data set tiny: 3 classes, 2 test images in {images.folder}"]
    start[1] += f" ({images.described})"
    assert said == [*start, "one", "in detail", *start, "two", "in detail"]
    assert logging.getLogger().handlers == handlers


def test_the_log_of_a_pass_is_written_whole_or_not_at_all(tiny_tree, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["/bin/cam-eval"])
    images = open_data({**SOURCE, "root": str(tiny_tree)}, Processes(), "test", with_boxes=True)
    log = logging.getLogger("cam_repro.anything")
    path = tmp_path / "run" / "eval.log"
    level, handlers = logging.getLogger("cam_repro").level, list(logging.getLogger().handlers)
    for text in ("one", "two"):
        with log_file_of_pass(path, Processes(), images):
            log.debug(text)
            assert path.exists() == (text == "two")
    with pytest.raises(UserError), log_file_of_pass(path, Processes(), images):
        raise UserError("fails")
    with log_file_of_pass(path, Processes(rank=1, world=2), images):
        log.warning("from another process")
    said = [line.split(" ", 2)[2] for line in path.read_text().splitlines()]
    assert [said[0], said[-1], len(said)] == ["cam-eval", "two", 3]
    assert logging.getLogger("cam_repro").level == level
    assert logging.getLogger().handlers == handlers


def test_what_the_main_process_refuses_the_others_refuse_too(monkeypatch):
    asked = []

    def answers(processes, value):
        asked.append((processes.rank, value))
        return True

    monkeypatch.setattr(Processes, "any", answers)

    def refuses():
        raise UserError("maps: belongs to no run")

    with pytest.raises(UserError, match="maps: belongs to no run"):
        by_main(Processes(0, 2), refuses)
    with pytest.raises(UserError, match="the main process says why"):
        by_main(Processes(1, 2, 1), refuses)
    assert asked == [(0, True), (1, False)]


def test_a_full_disk_elsewhere_is_not_that_of_the_log(tiny_tree, tmp_path):
    images = open_data({**SOURCE, "root": str(tiny_tree)}, Processes(), "val", with_boxes=True)

    def fills():
        with log_file(tmp_path / "train.log", Processes(), images):
            raise OSError(errno.ENOSPC, "No space left on device", "/dev/shm/x")

    with pytest.raises(OSError, match="/dev/shm/x"):
        fills()
