"""Provide what every command shares: Hydra with ``configs/``, ``--help``, errors in one line."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import platform
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.hydra import Hydra
from hydra._internal.utils import get_args_parser
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from cam_repro.cli.messages import TRACEBACK_VARIABLE, Known, fail, one_line, stop
from cam_repro.cli.sweeps import run_job, sweep_settings
from cam_repro.config import choices, config_dir, setting_keys
from cam_repro.errors import UserError, did_you_mean, interrupt_behind
from cam_repro.signals import heard_as_interrupts
from cam_repro.words import (
    GROUPS_OF_SHOW,
    SWEEP,
    config_folders,
    hydra_words,
    part_words,
    renamed,
)

log = logging.getLogger(__name__)

ADDED = {"eval": ("box", "quality"), "show": GROUPS_OF_SHOW}
"""Groups of which a command takes several choices, by its YAML: ``words.hydra_words`` adds them."""

VERSION = "--version"
"""The flag that prints ``_version_text``; Hydra's would print its own version."""


@contextlib.contextmanager
def _full_error(on: bool) -> Iterator[None]:
    """Set or unset HYDRA_FULL_ERROR within a ``with`` block, and restore it afterwards."""
    before = os.environ.pop(TRACEBACK_VARIABLE, None)
    if on:
        os.environ[TRACEBACK_VARIABLE] = "1"
    try:
        yield
    finally:
        os.environ.pop(TRACEBACK_VARIABLE, None)
        if before is not None:
            os.environ[TRACEBACK_VARIABLE] = before


@contextlib.contextmanager
def _quick_help() -> Iterator[None]:
    """Keep Hydra from listing all groups within a ``with`` block, which makes ``--help`` faster.

    Hydra's list takes more than half of the time of ``--help``, and the template in base.yaml does
    not print it; it prints ``_choices_text``, which says more.
    """
    before = Hydra.list_all_config_groups
    Hydra.list_all_config_groups = lambda *_: []  # type: ignore[method-assign]
    try:
        yield
    finally:
        Hydra.list_all_config_groups = before  # type: ignore[method-assign]


@contextlib.contextmanager
def _composed_once() -> Iterator[None]:
    """Keep Hydra from composing the settings twice within a ``with`` block.

    That takes a tenth of a second where there are groups of choices, as in ``cam-eval``. The first
    time it only looks for ``hydra.mode``, of which our files say nothing.
    """
    before = Hydra.get_mode
    Hydra.get_mode = lambda *_, **__: None  # type: ignore[method-assign]
    try:
        yield
    finally:
        Hydra.get_mode = before  # type: ignore[method-assign]


UNSET: dict[str, Any] = {
    "callbacks": {},
    "job_logging.root": None,
    "hydra_logging.root": None,
    "job.env_set": {},
    "output_subdir": None,
    "run.dir": ".",
}
"""Settings of Hydra's by which it would call what they name, or write files, and what they are."""

PLUGINS = ("hydra._internal.core_plugins.", "hydra_plugins.")
"""Where Hydra's own launchers and sweepers are, and those of packages."""


@contextlib.contextmanager
def _nothing_called() -> Iterator[None]:
    """Refuse settings of Hydra's that call something, within a ``with`` block.

    Hydra calls what callbacks, loggers and launchers name before a command begins, whatever that
    is, and a file of a ``--config-dir`` may set them for a harmless looking ``model=NAME``.
    """
    before = ConfigLoaderImpl.load_configuration

    def load(*args: Any, **kwargs: Any) -> DictConfig:
        cfg: DictConfig = before(*args, **kwargs)
        if not kwargs.get("from_shell", True):
            return cfg  # composed by a command, for its settings alone
        for key, unset in UNSET.items():
            if OmegaConf.select(cfg, f"hydra.{key}", default=unset) != unset:
                raise UserError(
                    f"hydra.{key} is set, by which code could be called or files written: remove it"
                )
        for key in ("launcher", "sweeper"):
            target = str(OmegaConf.select(cfg, f"hydra.{key}._target_", default=PLUGINS[0]))
            if not target.startswith(PLUGINS):
                raise UserError(f"hydra.{key}={target}: is none of Hydra's: remove it")
        return cfg

    ConfigLoaderImpl.load_configuration = load  # type: ignore[method-assign]
    try:
        yield
    finally:
        ConfigLoaderImpl.load_configuration = before  # type: ignore[method-assign]


@contextlib.contextmanager
def _stored(*names: str) -> Iterator[None]:
    """Give Hydra these YAML files of ``configs/`` but no groups, within a ``with`` block."""
    store = ConfigStore.instance()
    for name in names:
        store.store(name=name, node=OmegaConf.load(config_dir() / f"{name}.yaml"))
    try:
        yield
    finally:
        for name in names:  # otherwise Hydra would take them for schemas of the files
            del store.repo[f"{name}.yaml"]


def _version_text() -> str:
    """Name this package's version, its revision if it runs from a git checkout, and torch's."""
    from cam_repro.runs.provenance import git_revision, version

    revision = git_revision()
    parts = [f"cam_repro {version('cam_repro')}"]
    if revision:
        number, dash, dirty = revision.partition("-")
        parts.append(f"revision {number[:10]}{dash}{dirty}")
    return ", ".join([*parts, f"torch {version('torch')}", f"Python {platform.python_version()}"])


def _groups(config_name: str) -> list[str]:
    """List the groups of choices that a command has."""
    text = (config_dir() / f"{config_name}.yaml").read_text(encoding="utf-8")
    groups = re.findall(r"^  - (?:optional )?(\w+):", text, re.MULTILINE)
    return [*groups, *ADDED.get(config_name, ())]


def _choices_text(config_name: str, folders: Sequence[Path]) -> str:
    """List for ``--help`` the choices of each group of a command's settings."""
    lines = []
    for group in _groups(config_name):
        start = f"  {group:10} "
        names = choices(group, folders)
        listed = textwrap.wrap(" ".join(names), 100 - len(start))
        if len(names) > 1:
            lines.append(start + ("\n" + " " * len(start)).join(listed))
    return "Choices:\n" + "\n".join(lines) + "\n" if lines else ""


@contextlib.contextmanager
def _errors_in_one_line(traceback_wanted: bool, known: Known | None = None) -> Iterator[None]:
    """Print a mistake of the user in one line, and exit with status 1; with 130 after Ctrl-C.

    known: as for ``messages.one_line``.
    """
    try:
        yield
    except (KeyboardInterrupt, Exception) as error:
        interrupt = interrupt_behind(error)
        if interrupt is not None:
            stop(interrupt)
        message = None if traceback_wanted else one_line(error, known)
        if message is None:
            raise
        fail(message)


def _known(config_name: str, words: Sequence[str]) -> tuple[list[str], dict[str, list[str]]]:
    """List the keys of a command's settings and the choices of its groups, for suggestions.

    words: those of the command line, of which the choices are used: they decide which keys there
    are. Where they cannot be composed, there are no keys.
    """
    folders = config_folders(words)
    groups = {group: choices(group, folders) for group in _groups(config_name)}
    given = [word for word in words if word.lstrip("+").partition("=")[0].split("@")[0] in groups]
    places = ",".join(f"file://{folder.resolve()}" for folder in folders[1:])
    with (
        contextlib.suppress(Exception),
        hydra.initialize_config_dir(str(config_dir()), version_base="1.3"),
    ):
        cfg = hydra.compose(config_name, [*given, f"hydra.searchpath=[{places}]"])
        return setting_keys(cfg), groups
    return [], groups


def _check_flags(flags: Sequence[str]) -> None:
    """Raise UserError for a wrong flag; Hydra would print all that it has, in twenty lines."""
    if not any(flag.startswith("-") for flag in flags):
        return  # words without "=", of which Hydra says what is wrong
    parser = get_args_parser()

    def refuse(message: str) -> NoReturn:
        unknown = re.match(r"unrecognized arguments: (\S+)", message)
        if unknown is None:
            raise UserError(message)
        near = did_you_mean(unknown[1], parser._option_string_actions)
        raise UserError(f"there is no flag {unknown[1]}{near or ': --help says what there is'}")

    parser.error = refuse  # type: ignore[method-assign]
    parser.parse_args(list(flags))


def _understood(config_name: str, words: list[str], groups: bool) -> list[str]:
    """Turn a command line into the form that Hydra needs; log which of its words are outdated."""
    words, notes = renamed(config_name, words)
    for note in notes:
        log.warning("%s", note)
    folders = config_folders(words)
    OmegaConf.register_new_resolver(  # base.yaml's help asks for them
        "choices", lambda: _choices_text(config_name, folders) if groups else "", replace=True
    )
    return hydra_words(config_name, words, folders)


class _AboveBars(logging.StreamHandler):
    """Write log lines above the progress bars that are on the terminal, not into them."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm = sys.modules.get("tqdm")  # not imported here: many commands show no bar
        bars_away = tqdm.tqdm.external_write_mode(file=self.stream) if tqdm else None
        with bars_away or contextlib.nullcontext():
            super().emit(record)


def _log_to_stderr() -> None:
    """Set up the log on standard error, of what is at least an info."""
    handler = _AboveBars(sys.stderr)
    handler.setLevel(logging.INFO)  # the log file of a run has more
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[handler], force=True)


def import_torch() -> None:
    """Import torch, which takes more than a second, and exempt what it makes from collection.

    When a process ends, Python looks for garbage among all objects. Among the hundreds of thousands
    that torch makes on import this takes half a second, and the memory is given back anyway.
    """
    if "torch" not in sys.modules:
        import torch  # noqa: F401 (for those who import it next)

        gc.freeze()


def _refuse_launcher() -> None:
    """Refuse a launcher without ``-m``: it would have no effect, and the job would run here."""
    launcher = HydraConfig.get().runtime.choices["hydra/launcher"]
    if launcher != "basic":
        raise UserError(f"hydra/launcher={launcher} needs -m, also for a single job")


def command(
    config_name: str, groups: bool = True
) -> Callable[[Callable[[DictConfig], None]], Callable[[], None]]:
    """Turn a function of the composed settings into a command: a decorator.

    config_name: ``configs/<config_name>.yaml`` has the command's settings.
    groups: whether the folders of ``configs/`` are groups of choices (``data=demo`` reads
    data/demo.yaml). If not, such a key is a plain setting: ``cam-tables data=NAME`` takes any name.

    A mistake of the user, found by us (``UserError``) or by Hydra or OmegaConf, is printed in one
    line, and the command exits with status 1. HYDRA_FULL_ERROR=1 shows the traceback instead. So is
    any exception of the user's own code; another one is a defect and always shows its traceback.
    With ``-m`` all jobs of a sweep are run, even if some fail.
    """

    def decorate(run: Callable[[DictConfig], None]) -> Callable[[], None]:
        traceback_wanted = TRACEBACK_VARIABLE in os.environ
        typed: list[str] = []  # the command as the user typed it, for the manifest
        flags: list[str] = []  # those of a sweep, such as -m

        def task(cfg: DictConfig) -> None:
            _log_to_stderr()
            # Errors are caught here too, not only in main: Hydra adds a line to those it sees.
            with _full_error(traceback_wanted):
                if HydraConfig.get().mode == RunMode.MULTIRUN:
                    run_job(run, cfg, flags)
                    return
                sys.argv = list(typed)
                with _errors_in_one_line(traceback_wanted):
                    _refuse_launcher()
                    run(cfg)

        hydra_main = hydra.main(
            version_base="1.3",
            config_path=str(config_dir()) if groups else None,
            config_name=config_name,
        )(task)

        def main() -> None:
            stored = contextlib.nullcontext() if groups else _stored("base", config_name)
            _log_to_stderr()  # Hydra logs the jobs of a sweep before they start
            typed[:] = sys.argv
            if VERSION in typed[1:]:
                print(f"{Path(typed[0]).name}, {_version_text()}")
                return
            words: list[str] = []  # as Hydra needs them
            known = partial(_known, config_name, words)
            # With HYDRA_FULL_ERROR set, Hydra passes exceptions on instead of printing them.
            with (
                heard_as_interrupts(),
                _full_error(True),
                _errors_in_one_line(traceback_wanted, known),
                stored,
            ):
                words[:] = _understood(config_name, typed[1:], groups)
                settings, flags[:] = part_words(words)
                _run_hydra(hydra_main, typed, settings, flags)

        main.__doc__ = run.__doc__
        return main

    return decorate


def _run_hydra(
    hydra_main: Callable[[], None], typed: list[str], settings: list[str], flags: list[str]
) -> None:
    """Let Hydra compose the settings and run the job, or the jobs of a sweep.

    hydra_main: what it made of the command's function. typed: the command line, which ``sys.argv``
    is again afterwards. settings, flags: its words as Hydra needs them.
    """
    _check_flags(flags)
    if not SWEEP.isdisjoint(flags):
        settings = sweep_settings(settings)
    sys.argv = [typed[0], *settings, *flags]
    # Words and files of the user's may set hydra.mode.
    plain = not flags and not any("hydra" in word for word in settings)
    try:
        with (
            _quick_help(),
            _nothing_called(),
            _composed_once() if plain else contextlib.nullcontext(),
        ):
            hydra_main()
    finally:
        sys.argv = list(typed)
