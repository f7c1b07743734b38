"""Records of a manifest: their fields are its keys, both ways."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pytest

from cam_repro.errors import UserError
from cam_repro.runs.manifest.record import Keys, Record, Settings


@dataclass(frozen=True, kw_only=True)
class Origin(Record):
    beside: ClassVar[bool] = True

    place: str
    year: int | None


@dataclass(frozen=True, kw_only=True)
class Weight(Record):
    left_out: ClassVar[tuple[str, ...]] = ("unit",)

    value: float
    unit: str | None = None

    def refusal(self):
        return "weighs nothing" if not self.value else None


@dataclass(frozen=True, kw_only=True)
class Parcel(Record):
    name: str
    weight: Weight
    other: Weight | None = None
    origin: Origin
    is_open: bool = False
    labels: list[str] = field(default_factory=list)
    sizes: dict[str, float]
    settings: Settings


VALUES = {
    "name": "a",
    "weight": {"value": 1.5},
    "other": None,
    "place": "b",
    "year": None,
    "is_open": True,
    "labels": ["c"],
    "sizes": {"d": 2},
    "settings": {"any": [1, "x"]},
}
PARCEL = Parcel(
    name="a",
    weight=Weight(value=1.5),
    origin=Origin(place="b", year=None),
    is_open=True,
    labels=["c"],
    sizes={"d": 2},
    settings={"any": [1, "x"]},
)


def read(values):
    return Keys(values, Path("m.json"), "make it again").record(Parcel)


def test_a_record_is_written_and_read_by_its_fields():
    assert PARCEL.as_json() == VALUES
    assert list(PARCEL.as_json()) == list(VALUES)
    assert read(VALUES) == PARCEL
    unit = {"value": 2, "unit": "kg"}
    assert read({**VALUES, "other": unit}).other == Weight(value=2, unit="kg")
    assert read({**VALUES, "other": unit}).as_json()["other"] == unit


@pytest.mark.parametrize("key", ["other", "year", "is_open"])
def test_what_may_be_none_or_has_a_default_may_be_missing(key):
    values = {name: value for name, value in VALUES.items() if name != key}
    found = read(values)
    assert found == read({**VALUES, key: None})
    assert (found.other, found.origin.year, found.is_open) == (None, None, key != "is_open")


@pytest.mark.parametrize("key", ["name", "weight", "place", "labels", "sizes", "settings"])
def test_all_else_must_be_there(key):
    values = {name: value for name, value in VALUES.items() if name != key}
    with pytest.raises(UserError, match=f"^m.json: {key} is missing: make it again$"):
        read(values)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"name": 1}, "m.json: name is not text"),
        ({"weight": 1}, "m.json: weight is not an object"),
        ({"weight": {"value": "x"}}, "m.json: weight.value is not a number"),
        ({"weight": {}}, "m.json: weight.value is missing"),
        ({"weight": {"value": 0}}, "m.json weighs nothing"),
        ({"place": ["b"]}, "m.json: place is not text"),
        ({"year": 1.5}, "m.json: year is not a whole number"),
        ({"is_open": 1}, "m.json: is_open is not true or false"),
        ({"labels": "c"}, "m.json: labels is not a list"),
        ({"labels": ["c", 2]}, "m.json: labels[1] is not text"),
        ({"sizes": {"d": True}}, "m.json: sizes.d is not a number"),
        ({"settings": []}, "m.json: settings is not an object"),
    ],
)  # fmt: skip
def test_a_wrong_type_is_named(changed, said):
    with pytest.raises(UserError) as caught:
        read({**VALUES, **changed})
    assert str(caught.value) == f"{said}: make it again"


def test_null_among_numbers_is_none_of_them():
    assert str(read({**VALUES, "sizes": {"d": None, "e": 1}}).sizes) == "{'d': nan, 'e': 1}"
