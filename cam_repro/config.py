"""Compose a command's config from YAML files and check it with dataclasses.

Also rewrites command lines: some words that a user may type have another form in Hydra.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

from cam_repro.errors import UserError, did_you_mean
from cam_repro.files import at_home

Schema = TypeVar("Schema")
Built = TypeVar("Built")

TARGET = "_target_"
"""The key of a choice's YAML that names its class."""


def config_dir() -> Path:
    """Give the folder of YAML files: in the package if it is installed, beside it in a checkout."""
    package = Path(__file__).resolve().parent
    installed, checkout = package / "configs", package.parent / "configs"
    return installed if installed.is_dir() else checkout


def compose_choice(group: str, name: str) -> DictConfig:
    """Compose ``configs/<group>/<name>.yaml``, or the file of that name in ``--config-dir``.

    For a choice that the user left open and the program makes. Inside a command, Hydra's search
    path is used; elsewhere the file is looked for in ``config_dir()`` only.
    """
    # Imported here because code that only validates does not need them.
    import hydra
    from hydra.core.global_hydra import GlobalHydra

    if GlobalHydra.instance().is_initialized():
        place: contextlib.AbstractContextManager = contextlib.nullcontext()
    else:
        place = hydra.initialize_config_dir(str(config_dir()), version_base="1.3")
    with place:
        choice: DictConfig = hydra.compose(overrides=[f"+{group}={name}"])[group]
    return choice


def validate(cfg: DictConfig, schema: type[Schema]) -> Schema:
    """Turn a config into an object of the dataclass ``schema``; ``~/x`` is in the home folder.

    Raises UserError, one line that names the key, for an unknown key, a wrong type or a value not
    given (``???``). The dataclass's ``__post_init__`` checks ranges and raises UserError too.
    """
    base = OmegaConf.structured(schema)
    try:
        given = _at_home(OmegaConf.to_container(cfg, resolve=True))
        merged = OmegaConf.merge(base, given)
        missing = sorted(OmegaConf.missing_keys(merged))
        if missing:
            raise UserError(f"{', '.join(missing)} not given: add {missing[0]}=VALUE (see --help)")
        return cast(Schema, OmegaConf.to_object(merged))
    except OmegaConfBaseException as error:
        raise UserError(_in_our_words(error, setting_keys(base))) from error


def _at_home(value: Any) -> Any:
    """Put the home folder in place of ``~`` in all texts of a config that begin with ``~/``."""
    if isinstance(value, dict):
        return {key: _at_home(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_at_home(each) for each in value]
    is_home = isinstance(value, str) and re.match("~(/|$)", value)
    return str(at_home(value)) if is_home else value


KINDS = {"Integer": "a whole number", "Float": "a number", "ListConfig": "a list, as [a,b]"}
"""What OmegaConf calls the types of values, and what messages call them."""


def _in_our_words(error: OmegaConfBaseException, known: list[str]) -> str:
    """Say in one line which setting is wrong, and what it can be.

    known: the keys of all settings, for what a misspelt one may be meant to be.
    """
    key, reason = error.full_key or "", str(error).splitlines()[0]
    if isinstance(error, ConfigKeyError):
        return f"there is no setting {key!r}{did_you_mean(key, known) or ': --help lists them'}"
    value = re.match(r"Value '(.*?)' (?:of type '\w+' )?(.*)", reason)
    if "is not a ListConfig" in reason:
        return f"{key}: is a list: write it in brackets, as [a,b]"
    if "to string" in reason:
        return f"{key}: is one value, not a list or group"
    if value is None:
        return f"{key}: {reason}"
    if "not a valid bool" in value[2]:
        return f"{key}={value[1]}: must be true or false{did_you_mean(value[1], ('true', 'false'))}"
    wanted = value[2].rpartition("converted to ")[2]
    return f"{key}={value[1]}: must be {KINDS.get(wanted, wanted)}"


def setting_keys(cfg: DictConfig) -> list[str]:
    """List the keys of all settings (``optim.lr``), and of the groups at the top (``optim``)."""
    groups = [str(key) for key in cfg]
    return list(dict.fromkeys([*groups, *_leaves(cfg, "")]))


def _leaves(cfg: DictConfig, prefix: str) -> Iterator[str]:
    """Yield the keys of what holds no further settings."""
    for name, value in cfg.items_ex(resolve=False):
        key = str(name)
        if isinstance(value, DictConfig) and value._content and not isinstance(value._content, str):
            yield from _leaves(value, f"{prefix}{key}.")
        elif not key.startswith("_"):
            yield f"{prefix}{key}"


def name_of(group: str, settings: Mapping[str, Any]) -> str:
    """Give the name that the YAML file of a choice states: the NAME of ``group=NAME``.

    Raises UserError where it states none.
    """
    name = settings.get("name")
    if isinstance(name, (bool, int, float)):
        raise UserError(f"{group}.name: YAML reads {name} as no text: put the name in quotes")
    if not isinstance(name, str) or not name:
        raise UserError(f"{group}.name is not given: state the NAME of {group}=NAME in its YAML")
    return name


def changed_of(group: str, name: str, settings: Mapping[str, Any] | None, prefix: str) -> list[str]:
    """List the settings of a choice that differ from those of ``configs/<group>/<name>.yaml``.

    prefix: what stands before their keys, as in ``box.threshold``.
    """
    return [
        f"{prefix}.{key}={_as_word(value)}"
        for key, value in (settings or {}).items()
        if value != _defaults(group, name).get(key, value)
    ]


def _as_word(value: Any) -> str:
    """Write a value as one would type it on a command line."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


@cache
def _defaults(group: str, name: str) -> dict[str, Any]:
    """Read the settings of ``configs/<group>/<name>.yaml``; none where there is no such file."""
    path = config_dir() / group / f"{name}.yaml"
    if not path.is_file():
        return {}
    values: Any = OmegaConf.to_container(OmegaConf.load(path))
    return values


def build(kind: type[Built], group: str, settings: Mapping[str, Any], **arguments: Any) -> Built:
    """Build what the YAML file of a choice describes, an object of the class ``kind``.

    group: ``group=NAME`` is the choice, for messages. settings: the keys of the file; ``_target_``
    names the class, the others are arguments of its constructor, beside ``arguments``.
    Nothing that a file names is called before it is known to be such a class; and only the file
    itself names one, none of its settings.
    Raises UserError where the class is not a ``kind``, and those of the constructor.
    """
    if TARGET not in settings:
        raise UserError(f"{group}.{TARGET} is not given: name a class in its YAML")
    target = import_class(kind, group, settings[TARGET])
    given = {key: value for key, value in settings.items() if key != TARGET}
    refuse_inner_targets(group, given)
    refuse_unknown_keys(group, target, given, not_settings=arguments)
    return construct(target, group, {**given, **arguments})


def refuse_inner_targets(group: str, settings: Mapping[str, Any]) -> None:
    """Raise UserError where a setting of a choice, at any depth, names a class by ``_target_``."""
    for key, value in settings.items():
        if key == TARGET:
            raise UserError(f"{group}.{TARGET}: a setting names no class; only the choice does")
        inner = value if isinstance(value, list | tuple) else [value]
        for each in inner:
            if isinstance(each, Mapping):
                refuse_inner_targets(f"{group}.{key}", each)


def import_class(kind: type, group: str, target: object) -> Any:
    """Import the class that ``_target_`` of a choice names: ``package.module.Class``.

    kind, group: as for ``build``. Raises UserError where there is no such class, it is not a
    ``kind``, or it lacks methods of one.
    """
    found = _import_target(group, target)
    if not (isinstance(found, type) and issubclass(found, kind)):
        raise UserError(
            f"{group}.{TARGET}={target}: is no {kind.__name__}; derive the class "
            f"from {kind.__module__}.{kind.__name__}"
        )
    lacking = ", ".join(sorted(getattr(found, "__abstractmethods__", ())))
    if lacking:
        raise UserError(f"{group}.{TARGET}={target}: the class lacks {lacking}")
    return found


def construct(target: type[Built], group: str, arguments: Mapping[str, Any]) -> Built:
    """Make an object of a choice's class.

    arguments: those of the YAML, which are known to fit, and those that the program adds.
    Raises UserError where the constructor needs others, or does not take them.
    """
    try:
        inspect.signature(target).bind(**arguments)
    except TypeError as error:
        is_lacking = str(error).startswith("missing")
        remedy = "state it in the YAML" if is_lacking else "its __init__ must take it"
        raise UserError(f"{group}: {target.__name__}: {error}: {remedy}") from error
    return target(**arguments)


def _import_target(group: str, target: object) -> Any:
    """Import what ``_target_`` of a choice names; raises UserError where it cannot be imported."""
    from hydra.utils import get_object

    if not isinstance(target, str):
        raise UserError(f"{group}._target_={target!r}: give the dotted name of a class")
    try:
        return get_object(target)
    except Exception as error:  # a module of the user's own raises anything when imported
        reason = error.__cause__ or error
        remedy = f"{type(reason).__name__}; mend its name, or the module"
        if isinstance(reason, ImportError):
            remedy = "PYTHONPATH must name the folder of a module of your own"
        said = " ".join(str(reason).split())
        raise UserError(
            f"{group}._target_={target}: cannot be imported ({said}); {remedy}"
        ) from error


def refuse_unknown_keys(
    group: str,
    target: type,
    keys: Iterable[str],
    not_settings: Iterable[str] = (),
    remedy: str = "",
) -> None:
    """Raise UserError for a key of a choice that the constructor of its class does not take.

    not_settings: arguments of the constructor that a YAML does not give. remedy: said at the end of
    the message, if no other key may be meant.
    """
    taken = inspect.signature(target).parameters
    if any(each.kind is each.VAR_KEYWORD for each in taken.values()):
        return
    names = [name for name in taken if name not in set(not_settings)]
    for key in keys:
        if key not in names:
            raise UserError(
                f"{group}.{key}: {target.__name__} has no such setting"
                + (f"; it has {', '.join(names)}" if names else "")
                + (did_you_mean(key, names) or remedy)
            )


def build_named(
    kind: type[Built], group: str, settings: Mapping[str, Any], **arguments: Any
) -> tuple[str, Built]:
    """Build what the YAML file of a choice describes, and give its name beside it.

    The name is that of ``name_of``, and no argument of the constructor; else as of ``build``.
    """
    name = name_of(group, settings)
    rest = {key: value for key, value in settings.items() if key != "name"}
    return name, build(kind, group, rest, **arguments)


def choices(group: str, folders: Sequence[Path] | None = None) -> list[str]:
    """List the names that ``group=NAME`` accepts: those of the YAML files in the group's folder.

    folders: where to look for the group's folder; None: in ``configs/`` only. A file whose name
    begins with an underscore is included by other files and is not a choice.
    """
    files = [file for folder in folders or [config_dir()] for file in (folder / group).glob("*")]
    return sorted({file.stem for file in files if file.suffix == ".yaml" and file.name[0] != "_"})
