"""YAML for choices, dataclasses for validation: a composed config becomes a checked object."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, TypeVar, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from cam_repro.errors import UserError

Schema = TypeVar("Schema")


def config_dir() -> Path:
    """The folder of YAML files: inside an installed wheel, beside the package in a checkout."""
    package = Path(__file__).resolve().parent
    installed, checkout = package / "configs", package.parent / "configs"
    return installed if installed.is_dir() else checkout


def compose_choice(group: str, name: str) -> DictConfig:
    """Compose ``configs/<group>/<name>.yaml``, or the file of that name in ``--config-dir``.

    For what the user left open and the program chooses. Inside a command Hydra knows where to look;
    elsewhere it is ``config_dir()`` alone.
    """
    # Imported here: what only validates does not need them.
    import hydra
    from hydra.core.global_hydra import GlobalHydra

    if GlobalHydra.instance().is_initialized():
        place: contextlib.AbstractContextManager = contextlib.nullcontext()
    else:
        place = hydra.initialize_config_dir(str(config_dir()), version_base="1.3")
    with place:
        choice: DictConfig = hydra.compose(overrides=[f"+{group}={name}"])[group]
    return choice


def validate(cfg: DictConfig, schema: type[Schema], prefix: str = "") -> Schema:
    """The config as an object of the dataclass ``schema``.

    Unknown keys, wrong types and values not given (``???``) are refused in one line with the
    key's name; ranges are the business of the dataclass's ``__post_init__`` (raise UserError).

    prefix: the key under which ``cfg`` stands in the whole config, for messages.
    """
    start = f"{prefix}." if prefix else ""
    base = OmegaConf.structured(schema)
    try:
        merged = OmegaConf.merge(base, cast(Any, OmegaConf.to_container(cfg, resolve=True)))
        missing = [start + key for key in sorted(OmegaConf.missing_keys(merged))]
        if missing:
            raise UserError(f"{', '.join(missing)} not given: add {missing[0]}=VALUE (see --help)")
        return cast(Schema, OmegaConf.to_object(merged))
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        if "is not a ListConfig" in reason:
            reason = "is a list: write it in brackets, as [a,b]"
        raise UserError(f"{start}{error.full_key or ''}: {reason}") from error
