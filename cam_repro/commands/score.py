"""Score anybody's guesses and maps: what ``cam-score`` does. Needs no torch."""

from __future__ import annotations

import dataclasses
import logging
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig

from cam_repro.commands.thresholds import IMAGES, MAPS_OF, ThresholdSource, maps_of
from cam_repro.config import TARGET, build, changed_of, validate
from cam_repro.data.ground_truth.read import read_truth
from cam_repro.engine.saved_maps import check_scoremaps, score_maps, write_scoremaps
from cam_repro.errors import UserError, if_stopped
from cam_repro.files import (
    check_columns_file,
    check_file_writable,
    check_writable,
    is_figure,
    json_text,
    write_columns,
    write_text,
)
from cam_repro.formats.devkit import read_blacklist
from cam_repro.metrics.protocol import Curves, Needs, ProbabilityCurve, Protocol, Scored
from cam_repro.runs.folders import find_run_folders, named_runs, run_folder
from cam_repro.runs.guesses import (
    Form,
    RunGuesses,
    read_guesses,
)
from cam_repro.runs.manifest import refuse_to_overwrite
from cam_repro.runs.same_images import images_sha256, is_same_truth
from cam_repro.runs.scores import scores_file, write_scores
from cam_repro.truth import Truth

if TYPE_CHECKING:  # imports pyarrow, which text submissions do not need
    from cam_repro.runs.cues import Cues
    from cam_repro.runs.predictions import Predictions

log = logging.getLogger(__name__)


OF_MAPS = (Needs.MAPS, Needs.IMAGE_MAPS)

MAPS_OF_ANYBODY = (*OF_MAPS, Needs.CUES)
"""What ``maps=`` can give, besides a run with saved maps."""

IN_PLACE_OF_KEEP = "give output=F.json in place of keep"

LONGEST_LIST = 10
"""How many values a list of the result has at most that is shown on a terminal."""

OF_A_RUN = (Needs.RUN_MAPS, Needs.ANSWERS)
"""What a run alone can give, which is then scored against its own truth."""


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
    submission: Any = None
    ground_truth: str | None = None
    data: dict[str, Any] | None = None
    split: str = "val"
    labels: str | None = None
    boxes: str = "xyxy"
    box: BoxChoice = field(default_factory=BoxChoice)
    blacklist: str | None = None
    maps: str | None = None
    masks: str | None = None
    threshold_from: str | None = None
    runs: str = "runs"
    output: str | None = None
    keep: bool = False
    scoremaps: str | None = None
    per_image: str | None = None

    def __post_init__(self) -> None:
        if self.submission is not None:
            named_runs("submission", self.submission)
        if self.ground_truth is not None and self.data is not None:
            raise UserError("ground_truth and data are both given: leave one of them out")
        if self.masks is not None and self.ground_truth is None:
            raise UserError(
                "masks needs a metadata folder: add ground_truth=DIR, or leave masks out (a data "
                "set brings its own)"
            )
        if self.split != "val" and self.data is None:
            raise UserError(
                "split needs a data set: leave it out, or give data= in place of ground_truth"
            )
        self.form  # noqa: B018 (it checks labels and boxes)

    @property
    def form(self) -> Form:
        """How the numbers of a submission are meant."""
        return Form(self.labels, self.boxes)

    @property
    def json_file(self) -> Path | None:
        """Give the file of the result: ``output``, or beside it if that is a figure's."""
        path = None if self.output is None else Path(self.output)
        return path.with_suffix(".json") if path is not None and is_figure(path) else path

    @property
    def figure_file(self) -> Path | None:
        """Give the file of curves: ``output`` if it is a figure's, else a PNG beside it."""
        path = None if self.output is None else Path(self.output)
        return path if path is None or is_figure(path) else path.with_suffix(".png")


@dataclass(frozen=True)
class Submitted:
    """Hold what is scored: a file of guesses, or a run.

    name: for messages. path: the file, or the folder of the run. run: what it holds; None of a
    file.
    """

    name: str
    path: Path
    run: Predictions | None = None


@if_stopped("nothing was written")
def run_score(cfg: DictConfig) -> None:
    """Score a submission, runs or maps; print JSON to standard output, tables to standard error."""
    settings = validate(cfg, ScoreSettings)
    protocols = _protocols(settings.protocol)
    _check_settings(settings, protocols)
    if settings.output is not None:
        check_file_writable(settings.output)
    if settings.per_image is not None:
        check_columns_file("per_image", settings.per_image)
    _refuse_to_overwrite(settings)
    if settings.scoremaps is not None:
        check_scoremaps(Path(settings.scoremaps))
    submitted = _submitted(settings)
    _check_inputs(settings, protocols, submitted)
    for each in submitted if settings.keep else ():
        check_writable(each.path)
    named = settings.threshold_from
    chosen = None if named is None else ThresholdSource.open(named)
    for each in submitted if settings.keep else ():
        if chosen is not None and each.run is not None:
            for protocol in (one for one in protocols if one.chooses):
                chosen.refuse_unlike(protocol, each.run.manifest, each.name)
    if len(submitted) > 1:
        result = _score_several(settings, protocols, submitted, chosen)
    else:  # nothing submitted: maps alone
        result = _score_one(settings, protocols, submitted[0] if submitted else None, chosen)
    print(_as_text(_short(result) if sys.stdout.isatty() else result))
    if settings.json_file is not None:
        write_text(settings.json_file, _as_text(result) + "\n")
    elif sys.stdout.isatty() and _has_curves(result):
        log.info("curves are not shown here: output=F.json writes them")


def _refuse_to_overwrite(settings: ScoreSettings) -> None:
    """Raise UserError where a file that is asked for is an input, or a run's own."""
    submitted = settings.submission
    inputs = [
        *(submitted if isinstance(submitted, list) else [submitted]),
        *(settings.ground_truth, settings.blacklist, settings.threshold_from),
        *(settings.data or {}).values(),
    ]
    outputs = (
        ("output", settings.json_file),
        ("output", settings.figure_file),
        ("per_image", settings.per_image),
    )
    for key, path in outputs:
        if path is not None:
            refuse_to_overwrite(key, path, inputs)


def _protocols(chosen: dict[str, Any]) -> list[Protocol]:
    """Build the protocol that is chosen, or each of several, by their names."""
    if TARGET in chosen:
        return [build(Protocol, "protocol", chosen)]  # type: ignore[type-abstract]
    return [
        build(Protocol, f"protocol.{name}", each)  # type: ignore[type-abstract]
        for name, each in chosen.items()
    ]


def _score_several(
    settings: ScoreSettings,
    protocols: list[Protocol],
    submitted: list[Submitted],
    chosen: ThresholdSource | None,
) -> dict[str, Any]:
    """Score runs one after another; give the JSON of each by its name.

    Those that cannot be scored are left out with a warning. Raises UserError where none is left.
    """
    results = {}
    for each in submitted:
        try:
            results[each.name] = _score_one(settings, protocols, each, chosen)
        except UserError as error:
            log.warning("left out: %s: %s", each.name, error)
    if not results:
        raise UserError(f"none of the {len(submitted)} runs can be scored")
    return results


def _score_one(
    settings: ScoreSettings,
    protocols: list[Protocol],
    submitted: Submitted | None,
    chosen: ThresholdSource | None,
) -> dict[str, Any]:
    """Score a submission, or the maps where there is none; log tables, give the JSON.

    Of several protocols, the JSON has that of each by its name.
    chosen: where thresholds come from that are given to the protocols that take such.
    """
    run = submitted.run if submitted else None
    against = _against(settings, protocols, submitted)
    found = {}
    for protocol, (truth, source) in zip(protocols, against, strict=True):
        if chosen is not None and protocol.chooses:
            chosen.give(protocol, truth)
        scored = _score(protocol, settings, truth, submitted)
        lines = list(scored.lines)
        if protocol.draws and scored.curves is not None and settings.figure_file is not None:
            title = f"{protocol.name}: {source}"
            _draw(settings.figure_file, scored.curves, run, title, len(truth))
            lines.append(f"drawn in {settings.figure_file}")
        log.info("%s: %d images, %d boxes", source, len(truth), len(truth.boxes.values_T4))
        for line in ([f"protocol={protocol.name}"] if len(protocols) > 1 else []) + lines:
            log.info("%s", line)
        found[protocol.name] = scored.as_json()
        if protocol.chooses:
            found[protocol.name][IMAGES] = images_sha256(truth)
            if run is not None:
                found[protocol.name][MAPS_OF] = maps_of(run.manifest)
        if settings.keep and submitted is not None:
            assert run is not None, "results are kept with runs alone"
            write_scores(submitted.path, protocol.name, found[protocol.name], run.manifest)
            log.info("kept in %s", scores_file(submitted.path, protocol.name))
    if settings.scoremaps is not None:
        needs = [protocol.needs for protocol in protocols]
        truth = next(truth for (truth, _), of in zip(against, needs, strict=True) if of in OF_MAPS)
        _write_scoremaps(truth, Path(settings.scoremaps), settings.maps, submitted)
    return found if len(protocols) > 1 else found[protocols[0].name]


def _short(result: dict[str, Any]) -> dict[str, Any]:
    """Leave out what nobody reads on a terminal, at any depth: curves, and the list of images."""
    short = {
        key: _short(value) if isinstance(value, dict) else value
        for key, value in result.items()
        if key != IMAGES and not _is_curve(value)
    }
    return {key: value for key, value in short.items() if value != {} or result[key] == {}}


def _is_curve(value: Any) -> bool:
    """Tell whether a value of the result has a number for each of many thresholds or steps."""
    return isinstance(value, list) and len(value) > LONGEST_LIST


def _has_curves(result: dict[str, Any]) -> bool:
    """Tell whether ``_short`` leaves out a curve."""
    return any(
        _has_curves(value) if isinstance(value, dict) else key != IMAGES and _is_curve(value)
        for key, value in result.items()
    )


def _as_text(result: dict[str, Any]) -> str:
    """Write indented JSON with each list of numbers on one line, as curves have hundreds."""
    short = re.compile(r"\[([^\[\]{}]*)\]")
    return short.sub(lambda found: f"[{' '.join(found[1].split())}]", json_text(result))


# --- what a protocol needs -----------------------------------------------------------------------


def _submitted(settings: ScoreSettings) -> list[Submitted]:
    """Find what is scored: a file, or runs by folder, list or glob; nothing where maps are."""
    if settings.submission is None:
        return []
    names = named_runs("submission", settings.submission)
    path = Path(names[0])
    if len(names) == 1 and run_folder(path) is None:
        if path.is_file():
            return [Submitted(names[0], path)]
        if not path.exists() and not any(mark in names[0] for mark in "*?["):
            raise UserError(f"no submission file {path}")
    from cam_repro.runs.predictions import read_predictions  # pyarrow: text does without it

    found = find_run_folders(names)
    return [Submitted(name, folder, read_predictions(folder)) for name, folder in found.items()]


def _check_settings(settings: ScoreSettings, protocols: list[Protocol]) -> None:
    """Raise UserError for settings that no protocol uses, and for those that one lacks."""
    for protocol in protocols:
        takes_maps = protocol.needs in MAPS_OF_ANYBODY
        if settings.submission is None and settings.maps is None:
            needed = "maps" if takes_maps else "submission"
            raise UserError(f"{needed} not given: add {needed}=VALUE (see --help)")
        if settings.maps is not None and not takes_maps:
            raise UserError(f"maps is not used by protocol={protocol.name}: leave it out")
        if takes_maps and None not in (settings.submission, settings.maps):
            raise UserError("maps and submission are both given: leave one of them out")
    needs = {protocol.needs for protocol in protocols}
    is_of_guesses = not needs.isdisjoint((Needs.GUESSES, Needs.KNOWN_BOXES))
    needs_truth = not needs <= set(OF_A_RUN)
    others = {
        "box": (settings.box.name, is_of_guesses),
        "labels": (settings.labels, Needs.GUESSES in needs),
        "boxes": (None if settings.boxes == "xyxy" else settings.boxes, is_of_guesses),
        "per_image": (settings.per_image, Needs.GUESSES in needs),
        "blacklist": (settings.blacklist, any(each.heeds_blacklist for each in protocols)),
        "ground_truth": (settings.ground_truth, needs_truth),
        "data": (settings.data, needs_truth),
        "masks": (settings.masks, any(each.takes_masks for each in protocols)),
        "threshold_from": (settings.threshold_from, any(each.chooses for each in protocols)),
        "scoremaps": (settings.scoremaps, not needs.isdisjoint(OF_MAPS)),
    }
    named = ",".join(protocol.name for protocol in protocols)
    for key, (value, used) in others.items():
        if value is not None and not used:
            raise UserError(f"{key} is not used by protocol={named}: leave it out")
    drawing = [protocol.name for protocol in protocols if protocol.draws]
    if is_figure(settings.output) and not drawing:
        raise UserError(
            f"output={settings.output}: protocol={named} draws no figure: end it in .json"
        )
    if settings.output is not None and len(drawing) > 1:
        raise UserError(
            f"output={settings.output}: {' and '.join(drawing)} each draw a figure there: give one"
        )


def _check_inputs(
    settings: ScoreSettings, protocols: list[Protocol], submitted: list[Submitted]
) -> None:
    """Raise UserError where what is scored does not fit the settings."""
    are_runs = bool(submitted) and all(each.run is not None for each in submitted)
    for protocol in protocols:
        if protocol.needs in (Needs.GUESSES, Needs.KNOWN_BOXES) or not submitted or are_runs:
            continue
        kinds = {Needs.ANSWERS: f"quality=[{protocol.name}]", Needs.CUES: "cues=sec"}
        with_what = kinds.get(protocol.needs, "save_maps=true")
        raise UserError(
            f"submission={settings.submission}: protocol={protocol.name} takes a folder that "
            f"cam-eval wrote with {with_what}"
        )
    if settings.box.name is not None and not are_runs:
        raise UserError(
            f"box={settings.box.name}: {settings.submission} is no run folder, so it has no box "
            "rules"
        )
    if settings.keep:
        _check_keep(settings, protocols, are_runs)
    if settings.ground_truth is None and settings.data is None and not are_runs:
        raise UserError(
            "ground_truth not given: add ground_truth=VALUE or data=ilsvrc data.root=DIR "
            "(see --help)"
        )
    if are_runs and settings.form != Form():
        raise UserError("labels and boxes tell how a file is to be read: for runs leave them out")
    one_alone = {
        "per_image": settings.per_image,
        "output": settings.output if any(each.draws for each in protocols) else None,
        "scoremaps": settings.scoremaps,
    }
    for key, value in one_alone.items():
        if len(submitted) > 1 and value is not None:
            raise UserError(f"{key}={value}: is of one run, and {len(submitted)} are named")


def _check_keep(settings: ScoreSettings, protocols: list[Protocol], are_runs: bool) -> None:
    """Raise UserError where a result is not what a protocol says of a run, to be kept with it."""
    if not are_runs:
        raise UserError("keep=true puts the result into a run's folder: give output=F.json")
    chosen = settings.protocol
    by_prefix = {f"protocol.{name}": values for name, values in chosen.items()}
    if TARGET in chosen:
        by_prefix = {"protocol": chosen}
    changed = []
    for protocol, (prefix, values) in zip(protocols, by_prefix.items(), strict=True):
        changed += changed_of("protocol", protocol.name, values, prefix)
    if changed:
        raise UserError(
            f"keep=true keeps what protocols give by their defaults: leave {', '.join(changed)} "
            f"out, or {IN_PLACE_OF_KEEP}"
        )
    if settings.blacklist is not None:
        raise UserError(
            "keep=true keeps what is scored against the run's own truth, with its own blacklist: "
            f"leave blacklist out, or {IN_PLACE_OF_KEEP}"
        )


def _score(
    protocol: Protocol, settings: ScoreSettings, truth: Truth, submitted: Submitted | None
) -> Scored:
    """Load what the protocol needs, and let it score this."""
    if protocol.needs is Needs.CUES:
        return protocol.score(truth, _cues(settings, truth, submitted))
    if settings.maps is not None:
        return score_maps(protocol, truth, Path(settings.maps))
    assert submitted is not None
    if protocol.needs is Needs.ANSWERS:
        from cam_repro.runs.answers import read_answers  # pyarrow

        return protocol.score(truth, read_answers(submitted.path, protocol.name))
    if protocol.needs in (*MAPS_OF_ANYBODY, Needs.RUN_MAPS):
        from cam_repro.runs.saved_maps import maps_folder  # pyarrow

        run = submitted.run
        assert run is not None
        return score_maps(protocol, truth, maps_folder(run, submitted.path, truth), run)
    return _score_guesses(protocol, settings, truth, submitted)


def _cues(settings: ScoreSettings, truth: Truth, submitted: Submitted | None) -> Iterator[Cues]:
    """Open the cues of a run, or those in the folder ``maps=``."""
    from cam_repro.runs.cues import cues_folder, open_cues

    if settings.maps is not None:
        return open_cues(Path(settings.maps), truth.ids)
    assert submitted is not None
    assert submitted.run is not None
    manifest = submitted.run.manifest
    folder = cues_folder(manifest, submitted.path)
    return open_cues(folder, truth.ids, manifest.interpolation)


def _write_scoremaps(
    truth: Truth, folder: Path, maps: str | None, submitted: Submitted | None
) -> None:
    """Write the maps that were scored as the program of Choe et al. reads them, and say so."""
    if submitted is None:
        assert maps is not None
        path, run = Path(maps), None
    else:
        from cam_repro.runs.saved_maps import maps_folder  # pyarrow

        run = submitted.run
        assert run is not None
        path = maps_folder(run, submitted.path, truth)
    n_flat = write_scoremaps(folder, truth, path, run)
    log.info(
        "%s: %d maps of 224x224 pixels, 0 to 1, as Choe et al.'s program reads them; %d are 0 "
        "everywhere, as they were constant or no numbers",
        folder,
        len(truth),
        n_flat,
    )


def _score_guesses(
    protocol: Protocol, settings: ScoreSettings, truth: Truth, submitted: Submitted
) -> Scored:
    """Let a protocol score guesses; write a row an image where that is asked for."""
    with_labels = protocol.needs is Needs.GUESSES
    rule, path = settings.box.name, submitted.path
    if submitted.run is None:
        guesses = read_guesses(path, truth, with_labels, settings.form)
        classes_N5, of_rules = guesses.labels_N5, {"": guesses}
    else:
        run = RunGuesses.in_order_of(truth, submitted.run, path)
        guesses = run.chosen(rule, with_labels)
        if settings.per_image is not None:
            classes_N5 = run.classes_N5
            of_rules = {name: run.of(name) for name in submitted.run.rules}
    scored = protocol.score(truth, guesses if with_labels else guesses.known_N4)
    if settings.per_image is not None:
        from cam_repro.metrics.per_image import rows_of_images

        write_columns(settings.per_image, rows_of_images(truth, classes_N5, of_rules))
    return scored


def _draw(
    path: Path,
    curves: Curves | ProbabilityCurve,
    run: Predictions | None,
    title: str,
    n_images: int,
) -> None:
    """Draw curves; if a run is scored, the title names its network, saliency method and data."""
    from cam_repro.figures import style  # matplotlib
    from cam_repro.figures.probability_curve import draw_probability_curve
    from cam_repro.figures.threshold_curve import draw_threshold_curve

    if run is not None:
        title = run.manifest.title
    if isinstance(curves, ProbabilityCurve):
        figure = draw_probability_curve(curves, f"{title} ({curves.n_images:,} images)")
    else:
        figure = draw_threshold_curve(curves, f"{title} ({n_images:,} images)")
    style.save(figure, path)


# --- the truth -----------------------------------------------------------------------------------


def _against(
    settings: ScoreSettings, protocols: list[Protocol], submitted: Submitted | None
) -> list[tuple[Truth, str]]:
    """Give the truth that each protocol scores against, with its name for messages.

    It is the one that is given, or the run's own where a protocol takes no other. Where maps or
    cues of a run are scored, the images that the run could not read are left out.
    Raises UserError where results are to be kept that are not against the run's own truth.
    """
    truth, source = _open_truth(settings, submitted)
    if settings.blacklist is not None:
        blacklisted_N = read_blacklist(settings.blacklist, len(truth))
        truth = dataclasses.replace(truth, blacklisted_N=blacklisted_N)
    if submitted is None or submitted.run is None:
        return [(truth, source)] * len(protocols)
    run, with_maps = submitted.run, truth
    if any(protocol.needs in MAPS_OF_ANYBODY for protocol in protocols):
        with_maps = _without_skipped(truth, run)
    against: list[tuple[Truth, str]] = []
    for protocol in protocols:
        if protocol.needs in OF_A_RUN:
            against.append((run, submitted.name))
        else:
            against.append((with_maps if protocol.needs in MAPS_OF_ANYBODY else truth, source))
    if settings.keep and not all(is_same_truth(each, run) for each, _ in against):
        raise UserError(
            f"keep=true keeps what is scored against the run's own truth, which {source} is not: "
            f"leave it out, or {IN_PLACE_OF_KEEP}"
        )
    return against


def _without_skipped(truth: Truth, run: Predictions) -> Truth:
    """Take the images that a run could read, if the others are those that it could not."""
    known = set(run.ids)
    rows = [row for row, image_id in enumerate(truth.ids) if image_id in known]
    n_skipped = len(truth) - len(rows)
    if not n_skipped or n_skipped != run.manifest.counts.skipped:
        return truth
    log.warning("%d of %d images are left out, which the run could not read", n_skipped, len(truth))
    return truth.select(rows)


def _open_truth(settings: ScoreSettings, submitted: Submitted | None) -> tuple[Truth, str]:
    """Open the truth that guesses are scored against; also give its name for messages."""
    if settings.data is not None:
        # Imported here because it imports Pillow, which is not needed in the other case.
        from cam_repro.data.sources import open_image_set

        images = open_image_set(settings.data, settings.split, with_boxes=True)
        return images, f"data set {images.name}, {images.split}"
    if settings.ground_truth is not None:
        cache = Path(settings.runs) / ".cache"
        truth = read_truth(settings.ground_truth, cache=cache, masks=settings.masks)
        return truth, settings.ground_truth
    assert submitted is not None
    assert submitted.run is not None
    return submitted.run, submitted.name
