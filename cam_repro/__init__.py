"""Reproduction of "Learning Deep Features for Discriminative Localization" (CVPR 2016).

``cam_repro.explain("cat.jpg")`` says what a network sees in a photograph; see ``cam_repro.api``.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("cam_repro")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0.0.0"

_OF_API = ("Explanation", "LoadedNetwork", "explain", "load_network")


def __getattr__(name: str) -> object:
    """Give a name of ``cam_repro.api``, which imports torch, when it is asked for."""
    if name in _OF_API:
        return getattr(import_module("cam_repro.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_OF_API])
