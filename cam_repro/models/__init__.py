"""Build the networks of the tables, one file a family, and load their weights."""

from cam_repro.models.base import CamNetwork
from cam_repro.models.build import build_network
from cam_repro.models.weights import LoadReport, load_weights

__all__ = ["CamNetwork", "LoadReport", "build_network", "load_weights"]
