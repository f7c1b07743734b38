"""Read files of weights as programs write them: tensors are taken, code in them is never run."""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from cam_repro.errors import UserError

State = dict[str, torch.Tensor]

WRAPPERS = ("module.", "_orig_mod.")
"""What DataParallel, DistributedDataParallel and torch.compile write before each name."""

ENTRIES = ("model", "state_dict", "model_state_dict", "net", "network", "weights")
"""Names of a file's entry that holds the weights; of several that fit, the first is taken."""

OURS = "model_config"
"""An entry that only checkpoints of ``cam-train`` have; in these, ``model`` holds the weights."""

MOST_UNPACKED = 10
"""How many times a file's size its content may be. torch.save does not compress at all."""

SHARE = 1 / 3
"""Which share of a network's tensors must be found under a prefix for it to be dropped."""

HARMLESS = (
    *("argparse", "collections", "datetime", "decimal", "easydict", "lightning"),
    *("lightning_fabric", "munch", "numpy", "omegaconf", "pathlib", "pytorch_lightning", "types"),
    *("typing", "uuid", "yacs"),
)
"""Packages whose objects programs save beside weights: options, paths, numbers of numpy's."""

HARMLESS_BUILTINS = (
    *("bool", "bytes", "dict", "float", "frozenset", "int", "list", "object", "range", "slice"),
    *("str", "tuple"),
)

DICTS = ("AttributeDict", "CfgNode", "EasyDict", "Munch")
"""Classes of such packages that are dicts of options."""


class Inert:
    """Stand for an object of a class that is not imported: it takes all and does nothing."""

    def __init__(self, *_: Any) -> None:
        """Take what the class would be made of."""

    def __setstate__(self, _: Any) -> None:
        """Take what the object would hold."""


@dataclass(frozen=True)
class Found:
    """Hold the tensors of a file that may be a network's weights.

    entry: the key under which the file has them, dotted if nested; "" if at its top. others: other
    entries that would fit as well. prefix: what was dropped before all names. outside: how many
    tensors of the entry have no such prefix, and were left out.
    """

    state: State
    entry: str = ""
    others: tuple[str, ...] = ()
    prefix: str = ""
    outside: int = 0

    @property
    def words(self) -> str:
        """Say which part of the file was taken; "" if it is all of it, under its own names."""
        parts = [f"entry {self.entry}"] if self.entry else []
        parts += [f"{' and '.join(self.others)} would fit too"] if self.others else []
        parts += [f"{self.prefix!r} dropped before names"] if self.prefix else []
        plural = "s" if self.outside > 1 else ""
        parts += [f"{self.outside} other tensor{plural} left out"] if self.outside else []
        return f" ({', '.join(parts)})" if parts else ""


def find_weights(path: Path | str, n_wanted: int, count_fitting: Callable[[State], int]) -> Found:
    """Find a network's weights in a safetensors or torch file, without running code in it.

    n_wanted: how many tensors the network has. count_fitting: tells how many of these some tensors
    have the names of. Of the entries of the file, and of the prefixes that all names in them may
    have, those are taken that fit most. If none fits at all, it is the first of ``ENTRIES``, or
    else the entry with most tensors.
    Half precision becomes float32.
    Errors: ``UserError`` if the file is missing, is damaged, contains code or has no tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"model.weights={path}: there is no such file")
    content = _load_safetensors(path) if path.suffix == ".safetensors" else load_torch(path)
    if isinstance(content, Mapping) and {OURS, "model"} <= content.keys():
        content = content["model"]
    entries = dict(_entries(content, ""))
    if not entries:
        raise UserError(f"{path}: holds no tensors by name")
    ranked = sorted(entries, key=lambda entry: (_rank(entry), -len(entries[entry])))
    tried = [
        (count_fitting(_under(entries[entry], prefix)), entry, prefix)
        for entry in ranked
        for prefix in _prefixes(entries[entry], SHARE * n_wanted)
    ]
    most = max(count for count, _, _ in tried)
    if most < SHARE * n_wanted or not most:
        state = {_unwrapped(name): tensor for name, tensor in entries[ranked[0]].items()}
        return Found(_as_float32(state, path), ranked[0])
    best = [(entry, prefix) for count, entry, prefix in tried if count == most]
    entry, prefix = best[0]
    state = _under(entries[entry], prefix)
    return Found(
        _as_float32(state, path),
        entry,
        tuple(dict.fromkeys(other for other, _ in best if other != entry)),
        prefix,
        len(entries[entry]) - len(state),
    )


def load_torch(path: Path) -> Any:
    """Read what ``torch.save`` wrote: tensors and plain values; no code in the file is run.

    Objects of classes that programs often save beside weights (``HARMLESS``) become ``Inert``.
    Errors: ``UserError`` naming the file if it holds other objects, is damaged, or unpacks to far
    more than its size.
    """
    _check_archive(path)
    foreign: list[str] = []
    try:
        named = get_unsafe_globals_in_checkpoint(str(path)) if zipfile.is_zipfile(path) else []
        foreign = sorted(name for name in named if not _is_harmless(name))
        if foreign:
            raise pickle.UnpicklingError
        stand_ins: list[Any] = [
            (OrderedDict if name.rpartition(".")[2] in DICTS else Inert, name) for name in named
        ]
        with safe_globals(stand_ins):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        what = "more than tensors and plain values, or is damaged"
        if foreign:
            what = (
                f"objects that only the program that wrote it can make ({', '.join(foreign[:3])})"
            )
        raise UserError(
            f"{path}: holds {what}: save the tensors alone there, torch.save(network.state_dict(),"
            " FILE)"
        ) from None
    except Exception as error:  # a damaged file raises anything, from EOFError to AssertionError
        raise _unreadable(path, "torch", error) from error


def _unreadable(path: Path, kind: str, error: Exception) -> UserError:
    """Say that a file cannot be read at all."""
    return UserError(
        f"{path}: cannot be read as a {kind} file; it is damaged, cut short or something else"
        f" ({type(error).__name__})"
    )


def _load_safetensors(path: Path) -> State:
    """Read a safetensors file."""
    try:
        state: State = load_file(path)
    except Exception as error:  # a damaged file raises anything
        raise _unreadable(path, "safetensors", error) from error
    return state


def _check_archive(path: Path) -> None:
    """Compare the checksums in a torch file with its content; torch itself does not.

    Files of before 2020 are no zip archives and have none; nor do those have that were written
    with ``torch.serialization.set_crc32_options(False)``.
    """
    try:
        if not zipfile.is_zipfile(path):  # which itself fails on some damaged archives
            return
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
            unpacked = sum(part.file_size for part in parts)
            fits = unpacked <= MOST_UNPACKED * path.stat().st_size
            damaged = archive.testzip() if fits and any(part.CRC for part in parts) else None
    except Exception as error:  # a damaged archive raises anything
        raise _unreadable(path, "torch", error) from error
    if not fits:
        raise UserError(
            f"{path}: would unpack to {unpacked / 1e9:.1f} GB, over {MOST_UNPACKED} times its size:"
            " it is not read"
        )
    if damaged is not None:
        raise UserError(
            f"{path}: is damaged, {damaged} in it does not match its checksum: copy or download it"
            " again, or take an older checkpoint"
        )


def _is_harmless(name: str) -> bool:
    """Tell whether objects of a class, by its dotted name, may be left out without a word."""
    package, _, rest = name.partition(".")
    return package in HARMLESS or (package == "builtins" and rest in HARMLESS_BUILTINS)


def _entries(content: Any, name: str, depth: int = 4) -> Iterator[tuple[str, State]]:
    """Yield the mappings of names to tensors in a file's content, by their dotted keys.

    depth: how many mappings may lie in one another; deeper ones hold no weights.
    """
    if not isinstance(content, Mapping) or not depth:
        return
    named = {key: value for key, value in content.items() if isinstance(key, str)}
    state = {key: value for key, value in named.items() if isinstance(value, torch.Tensor)}
    if state:
        yield name, state
    for key, value in named.items():
        yield from _entries(value, f"{name}.{key}" if name else key, depth - 1)


def _rank(entry: str) -> int:
    """Tell how early an entry comes among ``ENTRIES``."""
    last = entry.rpartition(".")[2]
    return ENTRIES.index(last) if last in ENTRIES else len(ENTRIES)


def _prefixes(state: State, at_least: float) -> list[str]:
    """List what many names may have before them, shortest first: "", ``model.``, ``a.b.``."""
    counts: dict[str, int] = {"": len(state)}
    for name in state:
        parts = name.split(".")
        for length in range(1, len(parts)):
            prefix = ".".join(parts[:length]) + "."
            counts[prefix] = counts.get(prefix, 0) + 1
    return sorted((prefix for prefix, n in counts.items() if n >= at_least or not prefix), key=len)


def _under(state: State, prefix: str) -> State:
    """Give the tensors whose names have a prefix, without it."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in state.items()
        if name.startswith(prefix)
    }


def _unwrapped(name: str) -> str:
    """Drop what ``WRAPPERS`` wrote before a name."""
    while name.startswith(WRAPPERS):
        name = name.partition(".")[2]
    return name


def _as_float32(state: State, path: Path) -> State:
    """Give plain tensors, numbers with a point as float32; refuse all others."""
    for name, tensor in state.items():
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
            raise UserError(f"{path}: {name} is a sparse, quantized or empty tensor")
    unpacked = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
    if unpacked > MOST_UNPACKED * path.stat().st_size:
        raise UserError(
            f"{path}: its tensors would take {unpacked / 1e9:.1f} GB, over {MOST_UNPACKED} times"
            " its size: it is not read"
        )
    return {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in state.items()
    }
