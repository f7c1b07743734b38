import os
import signal
from types import SimpleNamespace

import numpy as np
import pytest

from cam_repro.engine import saved_maps
from cam_repro.engine.saved_maps import score_maps
from cam_repro.errors import UserError
from cam_repro.metrics.protocol import Needs, Protocol, RunMaps, Scored, measured
from cam_repro.resample import resize


class Sums(Protocol):
    """Sums each map up; in a run's, also says whose they are."""

    name = "sums"
    needs = Needs.MAPS

    def score(self, truth, given):
        maps = given.maps if isinstance(given, RunMaps) else given
        run = given.run if isinstance(given, RunMaps) else None
        return Scored({"sums": [float(map_hw.sum()) for map_hw in maps], "run": run}, [], {})


class Ids:
    """As much of a truth as maps need."""

    ids = ("a", "b", "c")

    def __len__(self):
        return len(self.ids)


class OfARun(Sums):
    needs = Needs.RUN_MAPS


RUN = SimpleNamespace(manifest=SimpleNamespace(interpolation="cubic"))


@pytest.mark.parametrize(("protocol", "run"), [(Sums(), None), (OfARun(), RUN)])
def test_each_map_is_given_in_the_order_of_the_truth(tmp_path, protocol, run):
    for number, name in enumerate(Ids.ids):
        np.save(tmp_path / f"{name}.npy", np.full((2, 3), number, np.float32))
    scored = score_maps(protocol, Ids(), tmp_path, run)
    assert scored.numbers == {"sums": [0.0, 6.0, 12.0], "run": run}


class AtSize(Protocol):
    """Gives the maps back."""

    name = "at_size"
    needs = Needs.IMAGE_MAPS

    def score(self, truth, given):
        return Scored({"maps": list(given)}, [], {})


@pytest.mark.parametrize("interpolation", [None, "linear", "cubic"])
def test_maps_are_resized_as_the_view_of_their_run_resizes(tmp_path, interpolation):
    stack = np.random.default_rng(0).normal(size=(3, 4, 5))
    np.save(tmp_path / "m.npy", stack)
    truth = Ids()
    truth.sizes_N2 = np.array([[9, 7], [5, 4], [2, 3]])
    run = None
    if interpolation:
        run = SimpleNamespace(manifest=SimpleNamespace(interpolation=interpolation))
    found = score_maps(AtSize(), truth, tmp_path / "m.npy", run).numbers["maps"]
    assert [map_HW.shape for map_HW in found] == [(7, 9), (4, 5), (3, 2)]
    for map_hw, map_HW in zip(stack, found, strict=True):
        expected = resize(map_hw, *map_HW.shape[::-1], interpolation or "linear")
        assert (map_HW == expected).all()
    assert (found[1] == stack[1].astype(np.float32)).all()


def test_a_size_that_is_not_known_is_refused(tmp_path):
    np.save(tmp_path / "m.npy", np.zeros((3, 4, 5)))
    truth = Ids()
    truth.sizes_N2 = None
    with pytest.raises(UserError, match="how large each image is, which at_size needs"):
        score_maps(AtSize(), truth, tmp_path / "m.npy")


class Odd(Sums):
    odd_maps = "each is left out"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_maps_that_are_no_numbers_are_counted(tmp_path, value, caplog):
    maps = np.zeros((3, 2, 2), np.float32)
    maps[1:, 0, 1] = value
    np.save(tmp_path / "maps.npy", maps)
    scored = score_maps(Odd(), Ids(), tmp_path / "maps.npy")
    assert scored.numbers["odd_maps"] == 2
    assert caplog.messages == [
        "2 of 3 maps have values that are NaN or infinite (the first: b): each is left out"
    ]


def test_maps_beyond_single_precision_are_no_numbers_at_the_images_size(tmp_path, caplog):
    np.save(tmp_path / "maps.npy", np.arange(12.0).reshape(3, 2, 2) * 1e300)
    truth = Ids()
    truth.sizes_N2 = np.array([[3, 2]] * 3)
    assert score_maps(AtSize(), truth, tmp_path / "maps.npy").numbers["odd_maps"] == 3
    assert "odd_maps" not in score_maps(Odd(), Ids(), tmp_path / "maps.npy").numbers
    assert len(caplog.messages) == 1  # and no warning of NumPy's


class Flat(Sums):
    flat_maps = "each is level"


def test_constant_maps_are_counted_where_they_are_a_case_of_their_own(tmp_path, caplog):
    maps = np.zeros((3, 2, 2), np.float32)
    maps[0] = np.arange(4).reshape(2, 2)
    maps[2] = np.inf  # not constant: no numbers
    np.save(tmp_path / "maps.npy", maps)
    numbers = score_maps(Flat(), Ids(), tmp_path / "maps.npy").numbers
    assert (numbers["flat_maps"], numbers["odd_maps"]) == (1, 1)
    assert caplog.messages[1] == "1 of 3 maps are constant (the first: b): each is level"
    assert "flat_maps" not in score_maps(Sums(), Ids(), tmp_path / "maps.npy").numbers


def test_maps_of_numbers_are_not_counted(tmp_path, caplog):
    np.save(tmp_path / "maps.npy", np.zeros((3, 2, 2), np.float32))
    assert "odd_maps" not in score_maps(Odd(), Ids(), tmp_path / "maps.npy").numbers
    assert caplog.messages == []


class Measured(Protocol):
    """Gives each map's row, sum and the process that summed it up."""

    name = "measured"
    needs = Needs.MAPS
    odd_maps = "each has an odd sum"

    def __init__(self, act=lambda: None):
        self.act = act

    def score(self, truth, given):
        def measure(row, map_hw):
            if row == 5:
                self.act()
            return row, float(map_hw.sum()), os.getpid()

        rows, sums, processes = zip(*measured(given, measure), strict=True)
        return Scored({"rows": rows, "sums": sums, "processes": set(processes)}, [], {})


class MeasuredAtSize(Measured):
    needs = Needs.IMAGE_MAPS


class Nine(Ids):
    ids = tuple("abcdefghi")
    sizes_N2 = np.array([[3, 2]] * 9)


@pytest.fixture
def nine_maps(tmp_path):
    """A file with nine maps, the fourth with a NaN."""
    maps = np.random.default_rng(0).random((9, 4, 5), np.float32)
    maps[3, 0, 0] = np.nan
    np.save(tmp_path / "maps.npy", maps)
    return tmp_path / "maps.npy"


@pytest.fixture
def two_processes(monkeypatch):
    """Lets two processes measure, two maps at a time, however few maps there are."""
    monkeypatch.setattr(saved_maps, "MANY", 1)
    monkeypatch.setattr(saved_maps, "AT_A_TIME", 2)
    monkeypatch.setattr(saved_maps, "cpus", lambda: 2)


@pytest.mark.parametrize("protocol", [Measured, MeasuredAtSize])
def test_several_processes_measure_what_one_does(nine_maps, protocol, two_processes, caplog):
    by_two = score_maps(protocol(), Nine(), nine_maps).numbers
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saved_maps, "MANY", 10)
        by_one = score_maps(protocol(), Nine(), nine_maps).numbers
    assert by_one.pop("processes") == {os.getpid()}
    assert len(by_two.pop("processes") - {os.getpid()}) == 2
    assert by_two["rows"] == tuple(range(9))
    np.testing.assert_array_equal(by_two["sums"], by_one["sums"])  # NaN equals NaN here
    assert by_two["odd_maps"] == by_one["odd_maps"] == 1
    assert (
        caplog.messages
        == ["1 of 9 maps have values that are NaN or infinite (the first: d): each has an odd sum"]
        * 2
    )


def test_an_error_in_another_process_is_said_as_in_this_one(nine_maps, two_processes):
    def refuse():
        raise UserError("map of f: odd")

    with pytest.raises(UserError) as caught:
        score_maps(Measured(refuse), Nine(), nine_maps)
    assert str(caught.value) == "map of f: odd"


def test_a_killed_process_is_said_in_one_line(nine_maps, two_processes):
    with pytest.raises(UserError) as caught:
        score_maps(Measured(lambda: os.kill(os.getpid(), signal.SIGKILL)), Nine(), nine_maps)
    assert str(caught.value) == (
        "a worker process that measures maps was killed (Killed), most often because the machine "
        "has no memory left: give the job more, or let it use fewer processors (taskset -c 0 ...)"
    )


def test_a_list_of_maps_is_measured_here():
    maps = [np.ones((1, 2)), np.ones((2, 2))]
    found = list(measured(maps, lambda row, map_hw: (row, map_hw.sum())))
    assert found == [(0, 2), (1, 4)]
