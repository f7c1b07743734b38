"""Score anybody's guesses and maps: what ``cam-score`` does. Needs no torch."""

from __future__ import annotations

import dataclasses
import json
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from omegaconf import DictConfig

from cam_repro.config import build, validate
from cam_repro.data.ground_truth.read import read_truth
from cam_repro.engine.memory import freed_memory_kept
from cam_repro.errors import UserError, if_stopped
from cam_repro.files import check_file_writable, write_text
from cam_repro.formats.devkit import read_blacklist
from cam_repro.formats.maps import open_maps
from cam_repro.metrics.protocol import Curves, Needs, Protocol, RunMaps, Scored
from cam_repro.progress import Bar
from cam_repro.runs.folders import DEFAULT_VIEW, run_folder
from cam_repro.runs.guesses import read_guesses
from cam_repro.runs.manifest import read_eval_manifest
from cam_repro.truth import Truth

if TYPE_CHECKING:  # imports pyarrow, which text submissions do not need
    from cam_repro.runs.predictions import Predictions

log = logging.getLogger(__name__)


@dataclass
class BoxChoice:
    """Hold which boxes of a run are scored.

    name: the box rule (``box=NAME``); None: the run's first.
    """

    name: str | None = None


@dataclass
class ScoreSettings:
    """Hold the settings of ``cam-score``: configs/score.yaml."""

    protocol: dict[str, Any] = field(default_factory=dict)
    submission: str | None = None
    ground_truth: str | None = None
    data: dict[str, Any] | None = None
    split: str = "val"
    box: BoxChoice = field(default_factory=BoxChoice)
    blacklist: str | None = None
    maps: str | None = None
    runs: str = "runs"
    output: str | None = None

    def __post_init__(self) -> None:
        if self.ground_truth is not None and self.data is not None:
            raise UserError("ground_truth and data are both given: leave one of them out")
        if self.split != "val" and self.data is None:
            raise UserError(
                "split needs a data set: leave it out, or give data= in place of ground_truth"
            )

    @property
    def run(self) -> Path | None:
        """Give the folder of the run that is scored; None if the submission is not a run."""
        return None if self.submission is None else run_folder(Path(self.submission))


@if_stopped("nothing was written")
def run_score(cfg: DictConfig) -> None:
    """Score a submission or maps; print JSON to standard output, a table to standard error."""
    settings = validate(cfg, ScoreSettings)
    protocol = build(Protocol, "protocol", settings.protocol)  # type: ignore[type-abstract]
    _check_inputs(settings, protocol)
    if settings.output is not None:
        check_file_writable(settings.output)
    truth, source = _open_truth(settings)
    if settings.blacklist is not None:
        blacklisted_N = read_blacklist(settings.blacklist, len(truth))
        truth = dataclasses.replace(truth, blacklisted_N=blacklisted_N)
    scored = _score(protocol, settings, truth)
    lines = list(scored.lines)
    if protocol.draws and scored.curves is not None and settings.output is not None:
        drawn = Path(settings.output).with_suffix(".png")
        _draw(drawn, scored.curves, settings.run, f"{protocol.name}: {source}", len(truth))
        lines.append(f"drawn in {drawn}")
    log.info("%s: %d images, %d boxes", source, len(truth), len(truth.boxes.values_T4))
    for line in lines:
        log.info("%s", line)
    text = _as_text(scored.numbers)
    print(text)
    if settings.output:
        write_text(settings.output, text + "\n")


def _as_text(result: dict[str, Any]) -> str:
    """Write indented JSON with each list of numbers on one line, as curves have hundreds."""
    text = json.dumps(result, indent=2)
    return re.sub(r"\[([^\[\]{}]*)\]", lambda found: f"[{' '.join(found[1].split())}]", text)


# --- what a protocol needs -----------------------------------------------------------------------


def _check_inputs(settings: ScoreSettings, protocol: Protocol) -> None:
    """Raise UserError for inputs that the protocol does not use, and for those that it lacks."""
    needed = "maps" if protocol.needs is Needs.MAPS else "submission"
    if getattr(settings, needed) is None:
        raise UserError(f"{needed} not given: add {needed}=VALUE (see --help)")
    is_of_guesses = protocol.needs in (Needs.GUESSES, Needs.KNOWN_BOXES)
    brings_its_own = protocol.needs is Needs.RUN_MAPS
    others = {
        "submission": (settings.submission, needed == "submission"),
        "box": (settings.box.name, is_of_guesses),
        "blacklist": (settings.blacklist, protocol.heeds_blacklist),
        "maps": (settings.maps, needed == "maps"),
        "ground_truth": (settings.ground_truth, not brings_its_own),
        "data": (settings.data, not brings_its_own),
    }
    for key, (value, used) in others.items():
        if value is not None and not used:
            raise UserError(f"{key} is not used by protocol={protocol.name}: leave it out")
    if brings_its_own and settings.run is None:
        raise UserError(
            f"submission={settings.submission}: protocol={protocol.name} takes a folder that "
            "cam-eval wrote with save_maps=true"
        )
    if protocol.draws and Path(settings.output or "").suffix == ".png":
        raise UserError(
            f"output={settings.output}: is the JSON's name, so end it in .json; curves are drawn "
            "beside it as .png"
        )
    if settings.ground_truth is None and settings.data is None and settings.run is None:
        raise UserError(
            "ground_truth not given: add ground_truth=VALUE or data=ilsvrc data.root=DIR "
            "(see --help)"
        )


def _score(protocol: Protocol, settings: ScoreSettings, truth: Truth) -> Scored:
    """Load what the protocol needs, and let it score this."""
    if protocol.needs is Needs.MAPS:
        assert settings.maps is not None
        maps = open_maps(Path(settings.maps), truth.ids)
        with freed_memory_kept():
            return protocol.score(truth, _each(maps, len(truth), protocol.name))
    if protocol.needs is Needs.RUN_MAPS:
        run, folder = _run_with_maps(settings)
        maps = open_maps(folder, truth.ids)
        with freed_memory_kept():
            given = RunMaps(run, _each(maps, len(truth), protocol.name))
            return protocol.score(truth, given)
    assert settings.submission is not None
    guesses = read_guesses(
        Path(settings.submission),
        truth,
        settings.box.name,
        with_labels=protocol.needs is Needs.GUESSES,
    )
    if protocol.needs is Needs.KNOWN_BOXES:
        return protocol.score(truth, guesses.known_N4)
    return protocol.score(truth, guesses)


def _each(maps: Any, count: int, what: str) -> Iterator[np.ndarray]:
    """Yield all maps in order, with a progress bar."""
    for index in Bar(count, what, iterable=range(count), leave=False):
        yield maps[index]


def _run_with_maps(settings: ScoreSettings) -> tuple[Predictions, Path]:
    """Open the run that is scored, and give the folder of its maps.

    Raises UserError if it has no maps, labels or true boxes.
    """
    from cam_repro.runs.predictions import MAPS, read_predictions  # pyarrow

    folder = settings.run
    assert folder is not None
    run = read_predictions(folder)
    if not run.manifest.classifies:
        raise UserError(f"{folder}: made without a network, it has no maps")
    if not (run.manifest.maps and (folder / MAPS).is_dir()):
        raise UserError(f"{folder}: has no maps: score it again with cam-eval save_maps=true")
    if not run.has_labels:
        raise UserError(f"{folder}: the true classes are not known: score a labelled split")
    if not run.has_boxes:
        raise UserError(f"{folder}: no image has a true box, so there is no localization error")
    return run, folder / MAPS


def _draw(path: Path, curves: Curves, run: Path | None, title: str, n_images: int) -> None:
    """Draw curves; if a run is scored, the title names its network, saliency method and data."""
    from cam_repro.figures.threshold_curve import draw_threshold_curve  # matplotlib

    if run is not None:
        manifest = read_eval_manifest(run)
        of_view = "" if manifest.view == DEFAULT_VIEW else f", view {manifest.view}"
        title = (
            f"{manifest.model}, {manifest.saliency}{of_view}: {manifest.data.name}, "
            f"{manifest.split}"
        )
    draw_threshold_curve(path, curves, f"{title} ({n_images:,} images)")


# --- the truth -----------------------------------------------------------------------------------


def _open_truth(settings: ScoreSettings) -> tuple[Truth, str]:
    """Open the truth that guesses are scored against; also give its name for messages."""
    if settings.data is not None:
        # Imported here because it imports Pillow, which is not needed in the other case.
        from cam_repro.data.sources import open_image_set

        images = open_image_set(settings.data, settings.split, with_boxes=True)
        return images, f"data set {images.name}, {images.split}"
    source = settings.ground_truth or settings.submission
    assert source is not None
    return read_truth(source, cache=Path(settings.runs) / ".cache"), source
