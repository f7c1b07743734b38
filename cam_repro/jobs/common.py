"""What the jobs share: opening the data set, saying which, keeping a log."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import OmegaConf

from cam_repro.config import validate
from cam_repro.data.ilsvrc import ImageSet
from cam_repro.engine.device import Processes
from cam_repro.engine.settings import LoaderSettings
from cam_repro.errors import UserError

log = logging.getLogger(__name__)


def open_data(
    data: dict[str, Any], group: Processes, split: str, with_boxes: bool
) -> tuple[ImageSet, LoaderSettings]:
    """One split of the data set that ``data`` (configs/data/*.yaml) describes, and how to load it.

    The main process comes first: it makes the built-in set while the others wait.
    """
    loading_keys = LoaderSettings.__dataclass_fields__.keys()
    source = {k: v for k, v in data.items() if k not in loading_keys}
    loading = validate(OmegaConf.create({k: data[k] for k in loading_keys}), LoaderSettings, "data")
    if not group.is_main:
        group.wait()
    try:
        images = instantiate(source, split=split, with_boxes=with_boxes)
    except InstantiationException as error:
        if isinstance(error.__cause__, UserError):  # Hydra wraps what a function raises
            raise error.__cause__ from None
        raise
    if group.is_main:
        group.wait()
    return images, loading


def announce(images: ImageSet) -> None:
    """The first line of every command: which data set its numbers are of."""
    log.info(
        "data set %s: %d classes, %d %s images in %s",
        images.name,
        len(images.wnids),
        len(images),
        images.split,
        images.folder,
    )


@contextlib.contextmanager
def log_file(path: Path, group: Processes) -> Iterator[None]:
    """Copy the log to a file of the run."""
    if not group.is_main:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8", delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()
