"""Provide what the commands share: open, announce and describe a data set; keep a log."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cam_repro.classes import ilsvrc_classes
from cam_repro.data.image_set import ImageSet
from cam_repro.data.images import Size, UnreadableImage
from cam_repro.data.sources import open_image_set
from cam_repro.engine.processes import Processes
from cam_repro.errors import UserError
from cam_repro.files import says_if_full, write_text
from cam_repro.locks import sole_writer
from cam_repro.progress import Bar
from cam_repro.runs.manifest import Blacklist, ScoredData
from cam_repro.runs.provenance import typed_command
from cam_repro.runs.replacing import NEW, finish_replacing, new_run
from cam_repro.threads import thread_pool

if TYPE_CHECKING:
    from cam_repro.models.weights import Outputs

log = logging.getLogger(__name__)

TRAIN_LOG, EVAL_LOG = "train.log", "eval.log"
"""The log files of the two kinds of runs."""


def open_data(data: dict[str, Any], processes: Processes, split: str, with_boxes: bool) -> ImageSet:
    """Open one split of the data set that ``data`` (configs/data/*.yaml) describes.

    with_boxes: whether to read true boxes. The main process opens it first, and makes the built-in
    set if it is missing, while the other processes wait.
    """
    if not processes.is_main:
        processes.wait()
    images = open_image_set(data, split, with_boxes)
    if processes.is_main:
        processes.wait()
    return images


def read_sizes(images: ImageSet) -> tuple[np.ndarray, list[UnreadableImage]]:
    """Read the size of every image: width and height, int64 (N, 2), and the errors.

    The size is 0 where an image cannot be read.
    """

    def size(index: int) -> Size | UnreadableImage:
        try:
            return images.size(index)
        except UnreadableImage as error:
            return error

    with thread_pool() as pool:
        every = pool.map(size, range(len(images)))
        found = list(Bar(len(images), f"{images.split}, sizes", iterable=every, leave=False))
    sizes = [(0, 0) if isinstance(size, UnreadableImage) else size for size in found]
    unreadable = [size for size in found if isinstance(size, UnreadableImage)]
    return np.array(sizes, np.int64), unreadable


def announce(images: ImageSet, level: int = logging.INFO) -> None:
    """Log which data set a command uses: the first line that it prints."""
    log.log(
        level,
        "data set %s: %d classes, %d %s images in %s (%s)",
        images.name,
        len(images.classes),
        len(images),
        images.split,
        images.folder,
        images.described,
    )
    if images.blacklisted_N is not None:
        log.log(
            level,
            "%d of its images are blacklisted: localization errors leave them out",
            images.n_blacklisted,
        )


def outputs_to_take(model: Mapping[str, Any], images: ImageSet) -> Outputs | None:
    """Find which outputs of the weights are the data set's classes; None: all, in their order.

    With ``model.take_classes=true`` a checkpoint of cam-train is asked for the names of its
    classes; other weights are taken for ILSVRC's. Raises UserError where a class is not among them.
    """
    if not model.get("take_classes"):
        return None
    # Imported here because they import torch, which model=none does without.
    from cam_repro.engine.checkpoint import load_if_ours
    from cam_repro.models.weights import Outputs

    weights = model["weights"]
    if weights is None:
        raise UserError("model.take_classes=true: is for weights: add model.weights=")
    stored = load_if_ours(weights)
    names = list(ilsvrc_classes().wnids) if stored is None else stored["classes"]
    place = {name: row for row, name in enumerate(names)}
    wanted = images.classes.wnids
    if missing := [name for name in wanted if name not in place]:
        raise UserError(
            f"model.take_classes=true: {weights} has no class {missing[0]} ({len(missing)} of the "
            f"{len(wanted)} of {images.name} are not among its {len(names):,})"
        )
    return Outputs([place[name] for name in wanted], len(names))


def describe_data(images: ImageSet) -> ScoredData:
    """Describe the data set for the manifest of a pass."""
    is_shipped = images.classes.wnids == ilsvrc_classes().wnids
    return ScoredData(
        name=images.name,
        is_ilsvrc=images.is_ilsvrc,
        n_classes=len(images.classes),
        fingerprint=images.which.fingerprint,
        file_sizes=images.which.file_sizes,
        has_labels=images.has_labels,
        has_boxes=images.has_boxes,
        layout=images.described,
        class_names=None if is_shipped else list(images.classes.names),
    )


def describe_blacklist(images: ImageSet) -> Blacklist | None:
    """List for the manifest the images that the localization error leaves out; None if none."""
    if images.blacklisted_N is None:
        return None
    ids = [images.ids[index] for index in np.flatnonzero(images.blacklisted_N).tolist()]
    return Blacklist(images=len(ids), ids=ids)


def by_main(processes: Processes, act: Callable[[], object]) -> None:
    """Let the main process do something while the others wait; where it fails, all raise."""
    failure = None
    if processes.is_main:
        try:
            act()
        except (UserError, OSError) as error:
            failure = error
    if processes.any(failure is not None):
        raise failure or UserError("the main process says why it does not go on")


@contextlib.contextmanager
def alone_in(folder: Path, processes: Processes) -> Iterator[None]:
    """Let no other command write to a run's folder within a ``with`` block of all processes.

    All of them raise UserError where another command does.
    """
    with contextlib.ExitStack() as held:
        by_main(processes, lambda: held.enter_context(sole_writer(folder)))
        yield


@contextlib.contextmanager
def new_results(
    folder: Path, processes: Processes, refuse: Callable[[], None], folders: Sequence[str] = ()
) -> Iterator[Path]:
    """Provide the folder of a pass under way to all processes (``runs.replacing.new_run``).

    refuse: raises UserError where the pass would replace what must not be lost. folders: as of
    ``new_run``.
    """
    with contextlib.ExitStack() as made:
        by_main(processes, lambda: finish_replacing(folder))  # of a start that was killed
        by_main(processes, refuse)
        by_main(processes, lambda: made.enter_context(new_run(folder, folders)))
        yield folder / NEW


class _LogFile(logging.FileHandler):
    """Write a log file. Where that fails the command does, without a traceback for each line."""

    def emit(self, record: logging.LogRecord) -> None:
        with says_if_full(self.baseFilename):
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        raise  # the error that is being handled where this is called


def refuse_another(
    folder: Path, what: str, there: Mapping[str, object], wanted: Mapping[str, object]
) -> None:
    """Raise UserError where what lies in a folder differs from what is to be put there.

    what: it is, for the message: ``an SVM``, ``features``. there, wanted: what decides each, under
    the names that the message gives to what differs.
    """
    differing = [name for name, value in wanted.items() if there[name] != value]
    if differing:
        raise UserError(
            f"{folder}: holds {what} that would be replaced ({', '.join(differing)}): name another "
            "folder with output=DIR, or add overwrite=true"
        )


@contextlib.contextmanager
def log_file(path: Path, processes: Processes, images: ImageSet) -> Iterator[None]:
    """Copy the log of the main process to a file of the run, within a ``with`` block.

    The file begins with the command and the data set. It has debug lines, which the terminal has
    not: one for each layer of weights. What an earlier start wrote to it stays.
    """
    if not processes.is_main:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with _copied_to(_LogFile(path, encoding="utf-8", delay=True), images):
        yield


@contextlib.contextmanager
def log_file_of_pass(path: Path, processes: Processes, images: ImageSet) -> Iterator[None]:
    """Copy the log as ``log_file``, but write the file at the end of the ``with`` block.

    It replaces that of an earlier pass, and a pass that fails leaves none.
    """
    if not processes.is_main:
        yield
        return
    text = io.StringIO()
    with _copied_to(logging.StreamHandler(text), images):
        yield
    write_text(path, text.getvalue())


@contextlib.contextmanager
def _copied_to(handler: logging.Handler, images: ImageSet) -> Iterator[None]:
    """Copy the log to a handler, after the command and the data set, within a ``with`` block."""
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    root, ours = logging.getLogger(), logging.getLogger("cam_repro")
    level = ours.level
    root.addHandler(handler)
    ours.setLevel(logging.DEBUG)
    try:
        log.debug("%s", typed_command())
        announce(images, logging.DEBUG)
        yield
    finally:
        ours.setLevel(level)
        root.removeHandler(handler)
        handler.close()
