"""Reproduction of "Learning Deep Features for Discriminative Localization" (CVPR 2016)."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("cam_repro")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0.0.0"
