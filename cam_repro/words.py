"""Part a command line into settings and flags; translate settings of earlier versions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

from cam_repro.config import boxes_of, config_dir

Keys = dict[str, tuple[str, ...]]
"""For each old key the new ones: several if several box rules shared the old key."""

LOADER: Keys = {f"data.{key}": (f"loader.{key}",) for key in ("workers", "preload", "on_error")}

BOX: Keys = {
    "box.scale": ("box.center.scale",),
    "box.threshold": ("box.threshold.threshold",),
    "box.loose": ("box.heuristic.loose",),
    "box.tight": ("box.heuristic.tight",),
    "box.dt_thresholds": ("box.dt_box.thresholds", "box.dt_box_heuristic.thresholds"),
    "box.dt_jpeg_quality": ("box.dt_box.jpeg_quality", "box.dt_box_heuristic.jpeg_quality"),
    "box.graphcut_iterations": ("box.graphcut.iterations",),
    "box.graphcut_max_side": ("box.graphcut.max_side",),
}

KEYS: dict[str, Keys] = {
    "train": LOADER,
    "eval": LOADER | BOX,
    "data_command": LOADER,
    "reproduce": LOADER | {"experiment.readings": ("experiment.sources",)},
    "score": {
        "rule": ("box",),
        "strategy": ("box",),
        "multi_contour": ("protocol.multi_contour",),
        "thresholds": ("protocol.thresholds",),
    },
    "tables": {"reading": ("source",)},
}
"""The keys that changed, by command (the name of its YAML in ``configs/``)."""

SOURCES = {"text": "paper", "code": "authors"}

VALUES: dict[tuple[str, str], dict[str, str]] = {
    ("tables", "source"): SOURCES,
    ("reproduce", "experiment.sources"): SOURCES,
    ("reproduce", "experiment"): {"paper_text": "paper", "paper_code": "authors"},
}
"""The values that changed, by command and new key: new by old, also within a list."""


FOLDER_FLAGS = ("--config-dir", "-cd")


def part_words(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Part a command line into its settings and everything else, which is flags.

    Hydra takes the settings together, with all flags before or after; a user mixes them.
    """
    settings: list[str] = []
    flags: list[str] = []
    for before, word in pairwise(["", *words]):
        is_setting = word.startswith("~") or ("=" in word and not word.startswith("-"))
        (settings if is_setting and before not in FOLDER_FLAGS else flags).append(word)
    return settings, flags


def config_folders(words: Sequence[str]) -> list[Path]:
    """List the folders of YAML files: ``configs/``, and the user's own from ``--config-dir``."""
    folders = [config_dir()]
    for word, following in pairwise([*words, ""]):
        flag, equals, folder = word.partition("=")
        if flag in FOLDER_FLAGS:
            folders.append(Path(folder if equals else following))
    return folders


def renamed(command: str, words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Replace old words of a command line by new ones.

    command: the name of its YAML in ``configs/``. words: those of the command line.
    Returns the new words, and for each replaced word a line that says so.
    """
    understood: list[str] = []
    notes: list[str] = []
    for word in words:
        key, equals, value = word.partition("=")
        keys = KEYS.get(command, {}).get(key, (key,))
        if len(keys) > 1:  # only those of the box rules in use
            in_use = tuple(each for each in keys if each.split(".")[1] in boxes_of(words))
            keys = in_use or keys[:1]
        values = VALUES.get((command, keys[0]), {})
        new = re.sub(r"\w+", partial(_new_value, values), value)
        understood += [f"{each}{equals}{new}" for each in keys]
        if new != value:
            notes.append(f"{word} is called {keys[0]}={new} now")
        elif keys != (key,):
            notes.append(f"{key} is called {' and '.join(keys)} now")
    return understood, list(dict.fromkeys(notes))


def _new_value(values: dict[str, str], found: re.Match[str]) -> str:
    """Give the new value for an old one that a pattern found; the same if it did not change."""
    return values.get(found[0], found[0])
