"""Read the words of a command line: settings and flags, box rules, settings of earlier versions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

from omegaconf import DictConfig

from cam_repro.config import choices, config_dir
from cam_repro.errors import UserError, choose

# --- settings and flags ---------------------------------------------------------------------------

FOLDER_FLAGS = ("--config-dir", "-cd")
VALUE_FLAGS = (
    *FOLDER_FLAGS,
    *("--cfg", "-c", "--config-name", "-cn", "--config-path", "-cp", "--package", "-p"),
)
"""Flags that take the next word as their value."""


def part_words(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Part a command line into its settings and everything else, which is flags.

    Hydra takes the settings together, with all flags before or after; a user mixes them.
    """
    settings: list[str] = []
    flags: list[str] = []
    for before, word in pairwise(["", *words]):
        is_setting = word.startswith("~") or ("=" in word and not word.startswith("-"))
        (settings if is_setting and before not in VALUE_FLAGS else flags).append(word)
    return settings, flags


def config_folders(words: Sequence[str]) -> list[Path]:
    """List the folders of YAML files: ``configs/``, and the user's own from ``--config-dir``."""
    folders = [config_dir()]
    for word, following in pairwise([*words, ""]):
        flag, equals, folder = word.partition("=")
        if flag in FOLDER_FLAGS:
            folders.append(Path(folder if equals else following))
    return folders


# --- what Hydra reads otherwise -------------------------------------------------------------------

DEFAULT_BOXES = ("threshold", "heuristic")
"""The box rules that ``cam-eval`` uses when none is named: the paper's."""


SWEEP = {"-m", "--multirun"}
"""Hydra's flags for a sweep: one job for each combination of the values given with commas."""

TEXTS = re.compile(
    r"runs|output|submission|ground_truth|maps|masks|threshold_from|scoremaps|blacklist|per_image|tars|images"
    r"|features|test|crop|positives|negatives|name|partition\.(lists|name)"
    r"|data\.(root|train|val|test|boxes|devkit|blacklist|classes|cache|name|file|metadata|masks)"
    r"|(model|experiment)\.([\w-]+\.)?(weights|timm|name)"
)
"""Settings whose values are paths or names, which Hydra must not read as anything else."""

LISTS = ("runs", "submission", "images", "data")
"""Those of them that take several texts, in brackets."""

PLAIN = re.compile(r"(\.{0,2}/)?(?!(?:true|false|null|nan|inf)$)[a-z_][\w./*-]*", re.ASCII | re.I)
"""A text that Hydra reads as it stands."""

GROUPS_OF_SHOW = ("model", "saliency", "box")
"""Groups of which ``cam-show`` takes several choices."""


def hydra_words(
    command: str, words: Sequence[str], folders: Sequence[Path] | None = None
) -> list[str]:
    """Rewrite the words of a command line into the form that Hydra needs.

    ``cam-eval box=[a,b]``, with any number of box rules, becomes ``+box@box.a=a +box@box.b=b``,
    which is how Hydra takes several files of one group; ``quality=[a,b]`` too, and ``cam-show``
    takes networks and saliency methods in the same way, and ``cam-score`` protocols, of which one
    alone needs no brackets. ``box=NAME`` of ``cam-score`` and
    ``cam-figures`` becomes ``box.name=NAME``, because Hydra would read configs/box/NAME.yaml.
    ``class=`` of ``cam-show`` and ``cam-units`` becomes ``classes=``, its name a text.
    ``figure=6`` becomes ``figure='6'``, as Hydra takes only text for the name of a file.
    ``cam-data check`` becomes ``action=check``.

    Paths and names are quoted where Hydra would read something else than the text (``_as_text``).

    command: the name of the command's YAML in ``configs/``. folders: as for ``choices``.

    Raises UserError where ``cam-train`` names a recipe that does not exist, because Hydra would
    silently ignore it, and where ``box=`` of ``cam-eval`` is malformed.
    """
    swept = not SWEEP.isdisjoint(words)
    words = [_as_text(command, word, swept) for word in words]
    if command == "eval":
        return _words_of_measures(_words_of_boxes(words))
    if command == "show":
        return _words_of_show(words)
    if command == "units":
        return [_word_of_class(word) for word in words]
    if command in ("score", "figures"):
        words = _words_of_protocols(words) if command == "score" else words
        words = [re.sub("^box=", "box.name=", word) for word in words]
        return [re.sub(r"^figure=(\d+)$", r"figure='\1'", word) for word in words]
    if command == "data_command" and words and words[0].isidentifier():
        return [f"action={words[0]}", *words[1:]]
    if command == "train":
        given = " ".join(w.removeprefix("recipe=") for w in words if w.startswith("recipe="))
        named = set(re.findall(r"[\w-]+", given)) - {"choice", "glob"}  # Hydra's, of a sweep
        there = choices("recipe", folders)
        for name in sorted(named):
            if name not in there:
                raise UserError(f"recipe={name}: {choose(name, there)}")
    return list(words)


def _as_text(command: str, word: str, swept: bool) -> str:
    """Quote the value of a setting that is a path or a name, where Hydra would not take the text.

    So ``data.root=lr=0.1/d``, letters of all languages, and a folder called 2012 are what they look
    like. Each item of a list in brackets, and of a sweep, is a text of its own. What the user has
    quoted, ``null``, ``${...}`` and functions of a sweep such as ``choice(a,b)`` stay.
    """
    key, _, value = word.partition("=")
    name = key.lstrip("+")
    is_text = TEXTS.fullmatch(name) or (name == "data" and command in ("tables", "report"))
    if not is_text or value in ("", "null") or "${" in value or _is_quoted(name, value):
        return word
    if name == "images" and not value.startswith("["):
        value = f"[{value}]"  # one id is a list of one
    if _is_list(name, value):
        items = [item.strip() for item in value[1:-1].split(",")]
        return f"{key}=[{','.join(_text(item) for item in items if item)}]"
    if swept and re.match(r"(choice|glob|range|interval)\(", value):
        return word
    return f"{key}={','.join(map(_text, value.split(',') if swept else [value]))}"


def _is_list(name: str, value: str) -> bool:
    """Tell whether a setting's value is a list, not a text that has brackets in it."""
    return name in LISTS and value.startswith("[") and value.endswith("]")


def _is_quoted(name: str, value: str) -> bool:
    """Tell whether the user has quoted the value of a setting, or items of a list."""
    if _is_list(name, value):
        return re.search(r"[\[,]\s*['\"]", value) is not None
    return value[0] == value[-1] and value[0] in "'\""


def _text(value: str) -> str:
    """Write a text so that Hydra takes it as it stands."""
    return value if PLAIN.fullmatch(value) else _quoted([value])[1:-1]


def typed_words(words: Sequence[str]) -> list[str]:
    """Turn Hydra's words for box rules and measures back into ``box=[a,b]``, as the user typed."""
    rest = [word for word in words if not word.startswith(("+box@", "+quality@"))]
    for group in ("box", "quality"):
        names = [word.rpartition("=")[2] for word in words if word.startswith(f"+{group}@")]
        rest += [f"{group}=[{','.join(names)}]"] if names else []
    return rest


def boxes_of(words: Sequence[str]) -> list[str]:
    """List the box rules that a ``cam-eval`` command line names, or the default ones.

    Raises UserError where ``box=`` is neither a name nor names in brackets.
    """
    names = _names_of("box", words)
    if not names and any(word.startswith("box=") for word in words):
        raise UserError(
            f"{[word for word in words if word.startswith('box=')][-1]}: name one box rule, or "
            "several in brackets, box=[threshold,heuristic]: one pass makes the boxes of all, so "
            "there is no sweep over them"
        )
    return names or list(DEFAULT_BOXES)


def _names_of(group: str, words: Sequence[str]) -> list[str]:
    """List the names in ``group=NAME`` or ``group=[NAME,...]``; none if it is not given so."""
    given = [word.partition("=")[2] for word in words if word.startswith(f"{group}=")]
    listed = re.fullmatch(r"\[.*\]|[\w-]+", given[-1]) if given else None
    names = [name.strip(" '\"") for name in listed[0].strip("[]").split(",")] if listed else []
    good = all(re.fullmatch(r"[\w-]+", name) for name in names)
    return list(dict.fromkeys(names)) if good else []


def _words_of_boxes(words: Sequence[str]) -> list[str]:
    """Put Hydra's words for the box rules in place of ``box=``, at the start."""
    rules = [f"+box@box.{name}={name}" for name in boxes_of(words)]
    return [*rules, *(word for word in words if not word.startswith("box="))]


def _words_of_measures(words: Sequence[str]) -> list[str]:
    """Put Hydra's words for the measures in place of ``quality=``, at the start.

    Raises UserError where it is neither a name nor names in brackets.
    """
    given = [word for word in words if word.startswith("quality=")]
    names = _names_of("quality", words)
    if given and not names and given[-1] not in ("quality=[]", "quality=null"):
        raise UserError(f"{given[-1]}: name one measure, or several in brackets: quality=[A,B]")
    measures = [f"+quality@quality.{name}={name}" for name in names]
    return [*measures, *(word for word in words if not word.startswith("quality="))]


def _words_of_protocols(words: Sequence[str]) -> list[str]:
    """Put Hydra's words for several protocols in place of ``protocol=[A,B]``, at the start.

    ``protocol.KEY=VALUE`` is a setting of the only protocol; of several,
    ``protocol.NAME.KEY=VALUE`` says which. Raises UserError where it does not.
    """
    given = [word for word in words if word.startswith("protocol=[")]
    names = _names_of("protocol", given)
    if not given:
        return list(words)
    if not names:
        raise UserError(f"{given[-1]}: name one protocol, or several in brackets: protocol=[A,B]")
    rest = [word for word in words if not word.startswith("protocol=")]
    if len(names) == 1:
        return [f"protocol={names[0]}", *rest]
    for word in rest:
        key = word.partition("=")[0].removeprefix("protocol.")
        if word.startswith("protocol.") and key.split(".")[0] not in names:
            raise UserError(f"{word}: say of which, as protocol.{names[0]}.{key}")
    return ["~protocol", *(f"+protocol@protocol.{name}={name}" for name in names), *rest]


def _words_of_show(words: Sequence[str]) -> list[str]:
    """Rewrite the words of ``cam-show``: several choices of a group, and names of files.

    ``model=[a,b]`` becomes ``+model@model.a=a +model@model.b=b``. ``model.KEY=VALUE`` is a setting
    of the only network; of several, ``model.NAME.KEY=VALUE`` says which. So it is for ``saliency``
    and ``box``. Where no network is named, its settings stand under ``model.default``. A word that
    is no setting and no flag, or that is the name of a file, is an image. Names of files and
    classes are quoted, because Hydra would not take their spaces, brackets and apostrophes.
    """
    names = {group: _names_of(group, words) for group in GROUPS_OF_SHOW}
    names["box"] = names["box"] or ["threshold"]
    for group, found in names.items():
        given = [word for word in words if word.startswith(f"{group}=")]
        if given and not found:
            raise UserError(f"{given[-1]}: give one name, or several in brackets: {group}=[A,B]")
    chosen = [f"+{group}@{group}.{name}={name}" for group in names for name in names[group]]
    rest: list[str] = []
    images: list[str] = []
    for before, word in pairwise(["", *words]):
        key, equals, value = word.partition("=")
        group, _, setting = key.partition(".")
        is_flag = word.startswith("-") or before in VALUE_FLAGS
        if group in names and not setting:
            continue  # one of ``chosen``
        if group in names and "." not in setting:
            rest.append(_setting_of_only(group, names[group], word))
        elif key == "class":
            rest.append(_word_of_class(word))
        elif key == "image" and not value.startswith("["):
            images.append(value)
        elif not is_flag and (not equals or Path(word).exists()):
            images.append(word)
        else:
            rest.append(word)
    if images and any(word.startswith("image=") for word in rest):
        raise UserError("images are given both in brackets and alone: give all in one way")
    return [*chosen, *rest, *([f"image={_quoted(images)}"] if images else [])]


def _word_of_class(word: str) -> str:
    """Write ``class=NAME`` as Hydra's word for classes, a list of texts; other words as they are.

    A value in brackets or quotes, and ``null``, stay.
    """
    key, _, value = word.partition("=")
    if key != "class":
        return word
    is_name = value not in ("", "null") and value[0] not in "['\""
    return f"classes={_quoted([value]) if is_name else value}"


def _setting_of_only(group: str, names: Sequence[str], word: str) -> str:
    """Write ``group.KEY=VALUE`` as a setting of the only choice of a group."""
    setting = word.removeprefix(f"{group}.")
    if len(names) > 1 or (not names and group != "model"):
        raise UserError(f"{word}: say of which, as {group}.NAME.{setting}")
    return f"{group}.{names[0]}.{setting}" if names else f"+model.default.{setting}"


def _quoted(texts: Sequence[str]) -> str:
    """Write a list of texts so that Hydra takes each as it stands, and none as a number."""

    def quoted(text: str) -> str:
        # Hydra takes backslashes as they are, but for those before a quote and at the end.
        escaped = re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + ("\\'" if m[2] else ""), text)
        return "'" + escaped.replace("${", "\\${") + "'"

    return f"[{','.join(map(quoted, texts))}]"


def compose(command: str, words: Sequence[str]) -> DictConfig:
    """Compose the config of a command line; Hydra must be initialized.

    command: the name of the command's YAML in ``configs/``. words: as the user typed them.
    """
    import hydra

    return hydra.compose(command, hydra_words(command, words, composed_from()))


def composed_from() -> list[Path]:
    """List the folders that Hydra composes from: ours, and within a command the user's."""
    from hydra.core.global_hydra import GlobalHydra

    if not GlobalHydra.instance().is_initialized():
        return [config_dir()]
    loader = GlobalHydra.instance().config_loader()
    places = [str(place.path) for place in loader.get_search_path().get_path()]
    own = [Path(place.removeprefix("file://")) for place in places if "file://" in place]
    return list(dict.fromkeys([config_dir(), *own]))


# --- settings of earlier versions -----------------------------------------------------------------

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
    "eval": LOADER | BOX | {"contact_sheet": ("examples",)},
    "data_command": LOADER | {"quality": ("jpg_quality",)},
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
