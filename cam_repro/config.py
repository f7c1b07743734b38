"""Compose a command's config from YAML files and check it with dataclasses.

Also rewrites command lines: some words that a user may type have another form in Hydra.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from cam_repro.errors import UserError

Schema = TypeVar("Schema")
Built = TypeVar("Built")


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
    """Turn a config into an object of the dataclass ``schema``.

    Raises UserError, one line that names the key, for an unknown key, a wrong type or a value not
    given (``???``). The dataclass's ``__post_init__`` checks ranges and raises UserError too.
    """
    base = OmegaConf.structured(schema)
    try:
        merged = OmegaConf.merge(base, cast(Any, OmegaConf.to_container(cfg, resolve=True)))
        missing = sorted(OmegaConf.missing_keys(merged))
        if missing:
            raise UserError(f"{', '.join(missing)} not given: add {missing[0]}=VALUE (see --help)")
        return cast(Schema, OmegaConf.to_object(merged))
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        if "is not a ListConfig" in reason:
            reason = "is a list: write it in brackets, as [a,b]"
        raise UserError(f"{error.full_key or ''}: {reason}") from error


def name_of(group: str, settings: Mapping[str, Any]) -> str:
    """Give the name that the YAML file of a choice states: the NAME of ``group=NAME``.

    Raises UserError where it states none.
    """
    name = settings.get("name")
    if not isinstance(name, str) or not name:
        raise UserError(f"{group}.name is not given: state the NAME of {group}=NAME in its YAML")
    return name


def build(kind: type[Built], group: str, settings: Mapping[str, Any], **arguments: Any) -> Built:
    """Build what the YAML file of a choice describes, an object of the class ``kind``.

    group: ``group=NAME`` is the choice, for messages. settings: the keys of the file; ``_target_``
    names the class, the others are arguments of its constructor, beside ``arguments``.
    Raises UserError where the class is not a ``kind``, and those of the constructor.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    if "_target_" not in settings:
        raise UserError(f"{group}._target_ is not given: name a class in its YAML")
    try:
        built = instantiate(dict(settings), **arguments)
    except InstantiationException as error:
        if isinstance(error.__cause__, UserError):  # Hydra wraps what a constructor raises
            raise error.__cause__ from None
        raise
    if not isinstance(built, kind):
        raise UserError(
            f"{group}._target_={settings['_target_']}: is no {kind.__name__}; derive the class "
            f"from {kind.__module__}.{kind.__name__}"
        )
    return built


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
