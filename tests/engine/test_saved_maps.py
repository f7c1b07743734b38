import numpy as np
import pytest

from cam_repro.engine.saved_maps import score_maps
from cam_repro.metrics.protocol import Needs, Protocol, RunMaps, Scored


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


@pytest.mark.parametrize("run", [None, "a run"])
def test_each_map_is_given_in_the_order_of_the_truth(tmp_path, run):
    for number, name in enumerate(Ids.ids):
        np.save(tmp_path / f"{name}.npy", np.full((2, 3), number, np.float32))
    scored = score_maps(Sums(), Ids(), tmp_path, run)
    assert scored.numbers == {"sums": [0.0, 6.0, 12.0], "run": run}


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
