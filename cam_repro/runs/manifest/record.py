"""Turn the JSON of a manifest into records and back, by the fields of their classes."""

from __future__ import annotations

import json
import math
from dataclasses import MISSING, Field, dataclass, fields
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, ClassVar, TypeVar, get_args, get_origin, get_type_hints

from cam_repro.errors import UserError
from cam_repro.files import CHECKSUM, checksum_holds

MANIFEST = "manifest.json"

SCHEMA = 2
"""Version of the manifest that is written; version 1 is read too, any other is refused."""

Settings = dict[str, Any]
"""Settings as their YAML file has them, defaults included."""

Kind = TypeVar("Kind")

_NAMES: dict[type, str] = {
    str: "text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    list: "a list",
    dict: "an object",
}


class Record:
    """Hold an object of a manifest: a dataclass, whose fields are the keys, in their order.

    Fields are texts, numbers, true or false, lists or objects of these, settings, and records. All
    keys must be there, but for fields that may be None or have a default value; a
    ``default_factory`` is for those who make a record, and its key must be there.
    beside: its keys stand among those of the record that it is a field of.
    left_out: keys that are not written where they are None.
    """

    beside: ClassVar[bool] = False
    left_out: ClassVar[tuple[str, ...]] = ()

    def refusal(self) -> str | None:
        """Say what of the values cannot be used, to follow the manifest's name; None: nothing."""
        return None

    def as_json(self) -> dict[str, Any]:
        """Give what the manifest holds of it, in its order."""
        found: dict[str, Any] = {}
        for each in fields(self):  # type: ignore[arg-type]
            value = getattr(self, each.name)
            if not isinstance(value, Record):
                found[each.name] = value
            elif value.beside:
                found |= value.as_json()
            else:
                found[each.name] = value.as_json()
        return {key: v for key, v in found.items() if not (v is None and key in self.left_out)}


class Manifest(Record):
    """Hold what is told of one run; ``manifest.json`` has it, and the schema besides.

    model: name of its network. config: all its settings.
    """

    model: str
    config: Settings

    @property
    def row(self) -> str:
        """What tables, figures and messages call the network: as its settings say, or its name."""
        return str((self.config.get("model") or {}).get("row") or self.model)

    def as_json(self) -> dict[str, Any]:
        """Give what ``manifest.json`` holds, in its order."""
        return {**super().as_json(), "schema": SCHEMA}


AnyRecord = TypeVar("AnyRecord", bound=Record)


def is_a(value: Any, kind: type) -> bool:
    """Tell whether a value read from JSON is of a type.

    A whole number is also a float; true and false are bool alone, although Python takes them as
    int.
    """
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


@dataclass
class Keys:
    """Give the values of an object in a manifest by key, checking their types.

    values: the object. path: of the manifest, which errors name; remedy: what they advise.
    prefix: the keys that lead to the object, as ``data.``.
    """

    values: dict[str, Any]
    path: Path
    remedy: str
    prefix: str = ""

    @classmethod
    def of_folder(cls, folder: Path | str, command: str, remedy: str) -> Keys:
        """Read the outermost object of the manifest in a folder.

        command: the one that writes such folders. Raises UserError where there is none.
        """
        path = Path(folder) / MANIFEST
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UserError(
                f"{folder}: has no {MANIFEST}, so {command} did not write it, or did not end: give "
                f"a folder that {command} wrote, or run the same command again"
            ) from None
        except (ValueError, OSError, RecursionError) as error:
            raise UserError(f"{path} cannot be read ({error}): {remedy}") from error
        if not isinstance(values, dict):
            raise UserError(f"{path} is not a manifest: {remedy}")
        if not checksum_holds(values):
            raise UserError(
                f"{path} is not as it was written, by its checksum: {remedy}; or take its key "
                f"{CHECKSUM} out if you changed it and know what you do"
            )
        return cls(values, path, remedy)

    @classmethod
    def of_kind(cls, folder: Path | str, command: str, key: str, what: str) -> Keys:
        """Read a manifest that must have ``key``, as only those of ``command`` have.

        what: the folder then holds, for the message of the UserError where it does not.
        """
        keys = cls.of_folder(folder, command, f"run {command} again, with overwrite=true")
        if key not in keys:
            raise keys.error(f"is not of {what}: give a folder that {command} wrote", remedy=False)
        keys.expect_schema(keys.values.get("schema"))
        return keys

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def error(self, what: str, remedy: bool = True) -> UserError:
        """Make a UserError that says ``what`` of this manifest, and then the remedy if wanted."""
        return UserError(f"{self.path} {what}" + (f": {self.remedy}" if remedy else ""))

    def expect_schema(self, schema: Any) -> None:
        """Raise UserError for a schema that this version does not read."""
        if not is_a(schema, int) or schema not in range(1, SCHEMA + 1):
            raise self.error(f"has schema {schema}, this version reads 1 to {SCHEMA}")

    def get(self, key: str, kind: type[Kind]) -> Kind:
        """Give a value. Raises UserError where it is missing or of another type."""
        if key not in self.values:
            raise UserError(f"{self.path}: {self.prefix}{key} is missing: {self.remedy}")
        return self._checked(key, self.values[key], kind)

    def find(self, key: str, kind: type[Kind]) -> Kind | None:
        """Give a value, or None where it is missing or null. Raises UserError for another type."""
        value = self.values.get(key)
        return None if value is None else self._checked(key, value, kind)

    def list_of(self, key: str, kind: type[Kind]) -> list[Kind]:
        """Give a list whose values are all of one type."""
        values: list[Any] = self.get(key, list)
        return [self._checked(f"{key}[{i}]", value, kind) for i, value in enumerate(values)]

    def dict_of(self, key: str, kind: type[Kind]) -> dict[str, Kind]:
        """Give an object whose values are all of one type."""
        values: dict[str, Any] = self.get(key, dict)
        return {name: self._checked(f"{key}.{name}", v, kind) for name, v in values.items()}

    def numbers(self, key: str) -> dict[str, float]:
        """Give an object of numbers; null, as ``write_json`` writes what is none, is NaN."""
        values: dict[str, Any] = self.get(key, dict)
        known = {name: math.nan if value is None else value for name, value in values.items()}
        return {name: self._checked(f"{key}.{name}", v, float) for name, v in known.items()}

    def record(self, kind: type[AnyRecord]) -> AnyRecord:
        """Make a record of the values, by the types of its fields."""
        types = get_type_hints(kind)
        values = {each.name: self._of_field(each, types[each.name]) for each in fields(kind)}  # type: ignore[arg-type]
        record = kind(**values)
        refusal = record.refusal()
        if refusal is not None:
            raise self.error(refusal)
        return record

    def _of_field(self, field: Field, kind: Any) -> Any:
        """Give the value of a record's field. kind: its type."""
        default = None if field.default is MISSING else field.default
        may_be_none = isinstance(kind, UnionType) and NoneType in get_args(kind)
        if may_be_none:
            kind = get_args(kind)[0]
        is_record = isinstance(kind, type) and issubclass(kind, Record)
        if is_record and kind.beside:
            names = {each.name for each in fields(kind)}
            return self.record(kind) if not may_be_none or names & self.values.keys() else default
        if (may_be_none or field.default is not MISSING) and self.values.get(field.name) is None:
            return default
        if is_record:
            return self.within(field.name).record(kind)
        if kind == dict[str, float]:
            return self.numbers(field.name)
        if get_origin(kind) is list:
            return self.list_of(field.name, get_args(kind)[0])
        if get_origin(kind) is dict and kind != Settings:
            return self.dict_of(field.name, get_args(kind)[1])
        return self.get(field.name, get_origin(kind) or kind)

    def within(self, key: str) -> Keys:
        """Give an object inside this one."""
        return Keys(self.get(key, dict), self.path, self.remedy, f"{self.prefix}{key}.")

    def check_model(self) -> None:
        """Check the types of those settings that ``Manifest.row`` looks for."""
        config = self.within("config")
        if config.find("model", dict) is not None:
            config.within("model").find("row", str)

    def _checked(self, key: str, value: Any, kind: type[Kind]) -> Kind:
        if not is_a(value, kind):
            key = self.prefix + key
            raise UserError(f"{self.path}: {key} is not {_NAMES[kind]}: {self.remedy}")
        return value
