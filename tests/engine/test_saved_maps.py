from types import SimpleNamespace

import numpy as np
import pytest

from cam_repro.engine.saved_maps import score_maps
from cam_repro.errors import UserError
from cam_repro.metrics.protocol import Needs, Protocol, RunMaps, Scored
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


@pytest.mark.parametrize(("protocol", "run"), [(Sums(), None), (OfARun(), "a run")])
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


def test_maps_of_numbers_are_not_counted(tmp_path, caplog):
    np.save(tmp_path / "maps.npy", np.zeros((3, 2, 2), np.float32))
    assert "odd_maps" not in score_maps(Odd(), Ids(), tmp_path / "maps.npy").numbers
    assert caplog.messages == []
