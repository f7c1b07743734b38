"""YAML for choices, dataclasses for validation: a composed config becomes a checked object."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
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


# --- choices and words ---------------------------------------------------------------------------

DEFAULT_BOXES = ("threshold", "heuristic")
"""The box rules of a ``cam-eval`` that names none: the paper's."""


def choices(group: str, folders: Sequence[Path] | None = None) -> list[str]:
    """List what ``group=NAME`` may name: the YAML files in the group's folder.

    folders: where the group's folder is looked for; None: in ``configs/`` alone. A file whose name
    begins with an underscore is a part of others, and no choice.
    """
    files = [file for folder in folders or [config_dir()] for file in (folder / group).glob("*")]
    return sorted({file.stem for file in files if file.suffix == ".yaml" and file.name[0] != "_"})


def hydra_words(
    command: str, words: Sequence[str], folders: Sequence[Path] | None = None
) -> list[str]:
    """Bring a command line into the form that Hydra needs.

    ``cam-eval box=[a,b]``, any number of box rules side by side, becomes ``+box@box.a=a
    +box@box.b=b``: Hydra has no shorter word for it. ``cam-score box=NAME`` becomes
    ``box.name=NAME``, because Hydra would read configs/box/NAME.yaml. The recipe that a
    ``cam-train`` names must exist: Hydra passes over one that it does not find.

    command: the name of its YAML in ``configs/``. folders: as for ``choices``.
    """
    if command == "eval":
        return _words_of_boxes(words)
    if command == "score":
        return [f"box.name={w.removeprefix('box=')}" if w.startswith("box=") else w for w in words]
    if command == "train":
        named = [name for w in words if w.startswith("recipe=") for name in w[7:].split(",")]
        there = choices("recipe", folders)
        for name in named:
            if name not in there:
                raise UserError(f"there is no 'recipe/{name}': choose one of {', '.join(there)}")
    return list(words)


def typed_words(words: Sequence[str]) -> list[str]:
    """Bring Hydra's words for box rules back into the form that one types."""
    boxes = [word.rpartition("=")[2] for word in words if word.startswith("+box@")]
    rest = [word for word in words if not word.startswith("+box@")]
    return [*rest, f"box=[{','.join(boxes)}]"] if boxes else rest


def boxes_of(words: Sequence[str]) -> list[str]:
    """List the box rules that the words of a ``cam-eval`` name, or else the default ones."""
    given = [word for word in words if word.startswith("box=")]
    if not given:
        return list(DEFAULT_BOXES)
    listed = re.fullmatch(r"box=(\[.*\]|\w+)", given[-1])
    names = [name.strip(" '\"") for name in listed[1].strip("[]").split(",")] if listed else []
    if not names or not all(re.fullmatch(r"\w+", name) for name in names):
        raise UserError(
            f"{given[-1]}: name one box rule, or several in brackets, box=[threshold,heuristic]: "
            "one pass makes the boxes of all, so there is no sweep over them"
        )
    return list(dict.fromkeys(names))


def _words_of_boxes(words: Sequence[str]) -> list[str]:
    """Put the words for the box rules where the first setting stands: flags stay together."""
    rules = [f"+box@box.{name}={name}" for name in boxes_of(words)]
    rest = [word for word in words if not word.startswith("box=")]
    settings = [i for i, word in enumerate(rest) if "=" in word and not word.startswith("-")]
    at = settings[0] if settings else len(rest)
    return [*rest[:at], *rules, *rest[at:]]


def compose(command: str, words: Sequence[str]) -> DictConfig:
    """Compose the configuration of a command line, inside a Hydra that was started.

    command: the name of its YAML in ``configs/``. words: as one types them.
    """
    import hydra
    from hydra.core.global_hydra import GlobalHydra

    loader = GlobalHydra.instance().config_loader()
    places = [str(place.path) for place in loader.get_search_path().get_path()]
    folders = [Path(place.removeprefix("file://")) for place in places if "file://" in place]
    return hydra.compose(command, hydra_words(command, words, folders))
