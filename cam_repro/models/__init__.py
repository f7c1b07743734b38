"""The networks of the tables, one file a family, and the loading of their weights."""

from cam_repro.models.base import CamNetwork
from cam_repro.models.build import build_model
from cam_repro.models.weights import LoadReport, load_weights

__all__ = ["CamNetwork", "LoadReport", "build_model", "load_weights"]
