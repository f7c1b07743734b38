"""Learn a concept and localize it: what ``cam-concept`` does (the paper, section 4.2)."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from cam_repro.api import load_network
from cam_repro.classes import in_class_order
from cam_repro.commands.common import alone_in, refuse_another
from cam_repro.commands.evaluate import describe_weights
from cam_repro.commands.features import run_features
from cam_repro.commands.generic import write_network
from cam_repro.config import validate
from cam_repro.data.image_set import ImageSet
from cam_repro.data.sources import check_stored_source, open_image_set
from cam_repro.engine.processes import join_processes
from cam_repro.engine.settings import NetworkSettings
from cam_repro.errors import UserError, if_stopped
from cam_repro.figures.explained import draw_beside
from cam_repro.figures.style import save
from cam_repro.files import check_writable, write_json
from cam_repro.generic.concepts import CONCEPT, Detection, Mined, Mining, concept_scores, mine
from cam_repro.generic.svm import LinearSvm
from cam_repro.runs.examples import CONTACT_SHEET
from cam_repro.runs.features import Features, read_features, refuse_unlike, shared_images
from cam_repro.runs.folders import (
    NETWORK,
    concept_folder,
    is_complete,
    network_name,
    run_name,
)
from cam_repro.runs.manifest import (
    MANIFEST,
    ConceptManifest,
    FeaturesManifest,
    read_concept_manifest,
    read_features_manifest,
    write_manifest,
)
from cam_repro.runs.predictions import SCORES
from cam_repro.runs.provenance import provenance
from cam_repro.runs.replacing import new_run
from cam_repro.words import compose

log = logging.getLogger(__name__)

OF_FEATURES = ("model", "view", "loader", "batch_size", "device", "precision", "channels_last")
"""Settings that are those of ``cam-features``."""


FEW = 20
"""Of fewer images than this it is said that they are few: each is 5 points of a percentage."""


@dataclass
class ConceptSettings(NetworkSettings):
    """Hold the settings of ``cam-concept``: configs/concept.yaml."""

    positives: str | None = None
    negatives: str | None = None
    name: str | None = None
    view: dict[str, Any] = field(default_factory=dict)
    held_out: float = 0.2
    sample: int | None = None
    rounds: int = 5
    C: float = 1.0
    seed: int = 0
    pictures: int = 12
    batch_size: int | None = None
    channels_last: bool = True
    overwrite: bool = False

    def __post_init__(self) -> None:
        for key in ("positives", "negatives"):
            if getattr(self, key) is None:
                raise UserError(f"{key} is not given: add {key}=DIR, a folder of images")
        super().__post_init__()
        if not 0 < self.held_out < 1:
            raise UserError(f"held_out={self.held_out}: must be a share above 0 and under 1")
        least = {"sample": 1, "rounds": 0, "seed": 0, "pictures": 1, "batch_size": 1}
        for key, lowest in least.items():
            value = getattr(self, key)
            if value is not None and value < lowest:
                raise UserError(f"{key}={value}: must be {lowest} or more")
        if not 0 < self.C < math.inf:
            raise UserError(f"C={self.C}: must be a number over 0")

    @property
    def concept(self) -> str:
        """The name of the concept."""
        return self.name or Path(str(self.positives)).resolve().name

    @property
    def folder(self) -> Path:
        """The folder of the results."""
        if self.output is not None:
            return Path(self.output)
        return concept_folder(self.runs, self.concept, run_name(self.model))


@dataclass(frozen=True, eq=False)
class _Side:
    """Hold the features of all positives, or of all negatives, and how they are parted.

    train, test: their rows; test are those that are held out.
    """

    features: Features
    train: np.ndarray
    test: np.ndarray


@if_stopped("features that are written are kept; the same command goes on")
def run_concept(cfg: DictConfig, overrides: Sequence[str] = ()) -> Path:
    """Do what ``cam-concept`` does; return the folder written.

    cfg: the composed settings. overrides: the ``key=value`` words that they were composed from.
    """
    settings = validate(cfg, ConceptSettings)
    for key, place in (("positives", settings.positives), ("negatives", settings.negatives)):
        if not Path(str(place)).is_dir():
            raise UserError(f"{key}={place}: no such folder")
    _refuse_nested(settings)
    folder = settings.folder
    check_writable(folder)
    with join_processes(settings.device) as processes, alone_in(folder, processes):
        places = [_features(key, settings, overrides) for key in ("positives", "negatives")]
        if not processes.is_main:
            return folder
        positives, negatives = map(read_features, places)
        _refuse_unfit(positives, negatives)
        manifest = _manifest(settings, positives, negatives)
        if not settings.overwrite and _is_there(folder, manifest):
            log.info("the concept is there already: %s", folder)
            return folder
        images = _images_of(positives, places[0])
        started = time.perf_counter()
        rng = np.random.default_rng(settings.seed)
        sides = tuple(
            _parted(key, features, settings.held_out, rng)
            for key, features in (("positives", positives), ("negatives", negatives))
        )
        _say_images(settings, *sides)
        found = _mine(settings, *sides)
        seconds = time.perf_counter() - started
        with new_run(folder) as new:
            _write(new, settings, sides, found, images)
            write_manifest(new, replace(manifest, seconds=round(seconds, 2)))
        log.info("  %s", folder)
    return folder


# --- images --------------------------------------------------------------------------------------


def _features(key: str, settings: ConceptSettings, overrides: Sequence[str]) -> Path:
    """Give the folder of the features of one side, ``positives`` or ``negatives``.

    They are computed if the side is a folder of images.
    """
    folder = Path(getattr(settings, key))
    if (folder / MANIFEST).is_file():
        manifest = read_features_manifest(folder)
        model = network_name(manifest.config["model"])
        if model != run_name(settings.model):
            raise UserError(f"{key}={folder}: are features of model={model}: add model={model}")
        if differing := _differing(manifest, settings, overrides):
            raise UserError(
                f"{key}={folder}: are features by other settings than {' '.join(differing)}: leave "
                "that out, or give features that cam-features computed so"
            )
        return folder
    words = [word for word in overrides if _key(word).partition(".")[0] in OF_FEATURES]
    words += ["data=folder", f"data.root={folder}", f"output={settings.folder / key}"]
    words += ["overwrite=true"] if settings.overwrite else []
    return run_features(compose("features", words), words)


def _key(word: str) -> str:
    """Give the key of a word ``key=value``."""
    return word.lstrip("+").partition("=")[0]


def _differing(
    manifest: FeaturesManifest, settings: ConceptSettings, overrides: Sequence[str]
) -> list[str]:
    """List the words that ask for another network, view or precision than features are of."""
    there, checkpoint = manifest.config, manifest.checkpoint
    differing = []
    for word in overrides:
        group, _, inner = _key(word).partition(".")
        differs = False
        if group == "view":
            differs = settings.view != there["view"]
        elif group == "precision":
            differs = settings.precision not in ("auto", manifest.hardware.precision)
        elif group == "model" and inner == "weights":
            asked = describe_weights(settings.model["weights"]) or checkpoint
            differs = (asked.sha256 or asked.path) != (checkpoint.sha256 or checkpoint.path)
        elif group == "model" and inner:
            setting = inner.partition(".")[0]
            differs = settings.model.get(setting) != there["model"].get(setting)
        if differs:
            differing.append(word)
    return differing


def _refuse_nested(settings: ConceptSettings) -> None:
    """Raise UserError where one folder of images contains the other, before any is seen."""
    one, other = (Path(str(place)) for place in (settings.positives, settings.negatives))
    if any((folder / MANIFEST).is_file() for folder in (one, other)):
        return  # folders of features: their images are compared when they are read
    places = one.resolve(), other.resolve()
    if places[0].is_relative_to(places[1]) or places[1].is_relative_to(places[0]):
        raise UserError(
            f"positives={one} and negatives={other} share images, as one folder contains the "
            "other: give folders that share none"
        )


def _refuse_unfit(positives: Features, negatives: Features) -> None:
    """Raise UserError where the two are of other networks or views, or of the same images."""
    one, other = positives.manifest, negatives.manifest
    refuse_unlike(one, other, "positives= and negatives=")
    if shared := shared_images(positives, negatives):
        raise UserError(
            f"positives= and negatives= share {shared} images: give folders that share none"
        )
    if one.crops is not None or other.crops is not None:
        raise UserError("positives= and negatives= are features of crops: give those of images")


def _images_of(features: Features, place: Path) -> ImageSet:
    """Open the images of the features in a folder, of which some are drawn at the end.

    Raises UserError where they are gone, or others than the features are of.
    """
    manifest = features.manifest
    check_stored_source(manifest.config["data"], place / MANIFEST)
    images = open_image_set(manifest.config["data"], manifest.split, with_boxes=True)
    if images.fingerprint != manifest.data.fingerprint:
        raise UserError(
            f"{images.folder}: has other images than those that the features of positives= are "
            "of: compute these again with cam-features and overwrite=true"
        )
    return images


def _parted(key: str, features: Features, held_out: float, rng: np.random.Generator) -> _Side:
    """Part the images of one side into those to learn from and those held out, at random.

    Raises UserError where there is not one of each.
    """
    n_images = len(features)
    if n_images < 2:
        raise UserError(f"{key}=: has {n_images} image, and one is held out: give more")
    n_test = min(max(1, round(held_out * n_images)), n_images - 1)
    rows = rng.permutation(n_images)
    return _Side(features, np.sort(rows[n_test:]), np.sort(rows[:n_test]))


def _say_images(settings: ConceptSettings, positives: _Side, negatives: _Side) -> None:
    """Log how many images there are; warn where they are few."""
    learned = [len(side.train) for side in (positives, negatives)]
    held_out = [len(side.test) for side in (positives, negatives)]
    log.info(
        "%s: %d positive and %d negative images to learn from, %d and %d held out (seed=%d)",
        *(settings.concept, *learned, *held_out, settings.seed),
    )
    if min(held_out) < FEW:
        log.warning(
            "precision and recall are of %d positive and %d negative images, held out: of fewer "
            "than %d they say little; give more images, or a larger held_out=",
            *(*held_out, FEW),
        )
    if min(learned) < FEW:
        log.warning(
            "learned from %d positive and %d negative images: from fewer than %d an SVM learns "
            "little; give more images",
            *(*learned, FEW),
        )


# --- the SVM -------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Round:
    """Hold an SVM, and how it does on the images held out."""

    mined: Mined
    held_out: Detection


def _mine(settings: ConceptSettings, positives: _Side, negatives: _Side) -> list[_Round]:
    """Train the SVMs, and measure and log how each does; the last one is the result."""
    learned = positives.features.values_NK[positives.train]
    others = negatives.features.values_NK[negatives.train]
    mining = Mining(settings.sample or len(learned), settings.rounds, settings.C, settings.seed)
    tested = [side.features.values_NK[side.test] for side in (positives, negatives)]
    found = []
    for mined in mine(learned, others, mining):
        measured = Detection.of(*(concept_scores(mined.svm, values) for values in tested))
        found.append(_Round(mined, measured))
        log.info(
            "  trained on %d negatives: of the %d others %d are taken for it; held out: %s",
            mined.n_negatives,
            len(others) - mined.n_negatives,
            len(mined.hard),
            _in_words(measured),
        )
    if left := len(found[-1].mined.hard):
        log.info("  these %d hard negatives are left: add them with a larger rounds=", left)
    return found


def _in_words(measured: Detection) -> str:
    """Say in one line how the images held out were told apart."""
    precision = measured.precision
    parts = "no image is taken for it" if precision is None else f"precision {precision}"
    average = f"average precision {measured.average_precision:.2f} %"
    return f"{parts}, recall {measured.recall}, {average}"


# --- results -------------------------------------------------------------------------------------


def _write(
    new: Path,
    settings: ConceptSettings,
    sides: tuple[_Side, ...],
    found: list[_Round],
    images: ImageSet,
) -> None:
    """Write scores, the network with the SVM as its class layer, and the sheet of pictures.

    images: those of the positives.
    """
    positives, negatives = sides
    write_json(new / SCORES, _scores(settings, positives, negatives, found))
    svm = found[-1].mined.svm
    classes = in_class_order([settings.concept, f"not {settings.concept}"])
    order = [CONCEPT if name == settings.concept else 1 - CONCEPT for name in classes]
    in_order = LinearSvm(svm.weights_CK[order], svm.bias_C[order])
    write_network(new / NETWORK, positives.features.manifest, in_order, classes)
    scores = concept_scores(svm, positives.features.values_NK[positives.test])
    _draw(new, settings, positives, scores, images, classes.index(settings.concept))


def _scores(
    settings: ConceptSettings, positives: _Side, negatives: _Side, found: list[_Round]
) -> dict[str, Any]:
    """Give what ``scores.json`` holds: the result, and what it was round by round."""
    return {
        "concept": settings.concept,
        "threshold": "fixed: an SVM's score of 0",
        "learned_from": {"positives": len(positives.train), "negatives": len(negatives.train)},
        "held_out": {"positives": len(positives.test), "negatives": len(negatives.test)},
        **found[-1].held_out.as_json(),
        "rounds": [
            {
                "negatives": each.mined.n_negatives,
                "hard_negatives_found": len(each.mined.hard),
                **each.held_out.as_json(),
            }
            for each in found
        ],
    }


def _draw(
    new: Path,
    settings: ConceptSettings,
    positives: _Side,
    scores: np.ndarray,
    images: ImageSet,
    class_index: int,
) -> None:
    """Draw the held-out positives of the highest score beside the maps of the concept.

    scores: of the positives held out. images: of all positives. class_index: of the concept in the
    network, as its name may be a number.
    """
    features = positives.features
    best = np.argsort(-scores, kind="stable")[: settings.pictures]
    row_of = {image_id: row for row, image_id in enumerate(images.ids)}
    ids = [features.ids[row] for row in positives.test[best]]
    loaded = load_network(
        weights=new / NETWORK, device=settings.device, precision=settings.precision
    )
    explained = loaded.explain_each(
        (images.original(row_of[image_id]) for image_id in ids),
        classes=[class_index],
        view=features.manifest.config["view"],
    )
    figure = draw_beside(
        list(explained),
        [f"score {score:.2f}" for score in scores[best].tolist()],
        f"{loaded.settings['row']}: the concept {settings.concept}",
        [
            f"of the {len(positives.test):,} positive images held out, those of the highest score "
            "(above 0 an image is taken for the concept); beside each its map of the concept, with "
            "the box by box rule threshold"
        ],
    )
    save(figure, new / CONTACT_SHEET)


def _manifest(
    settings: ConceptSettings, positives: Features, negatives: Features
) -> ConceptManifest:
    """Describe the result for its manifest, all but the seconds that it takes."""
    source = positives.manifest
    return ConceptManifest(
        model=source.model,
        view=source.view,
        concept=settings.concept,
        positives=str(settings.positives),
        negatives=str(settings.negatives),
        fingerprints=[source.data.fingerprint, negatives.manifest.data.fingerprint],
        checkpoint=source.checkpoint,
        seconds=0,
        config={**asdict(settings), **{key: source.config[key] for key in ("model", "view")}},
        provenance=provenance(),
    )


def _is_there(folder: Path, new: ConceptManifest) -> bool:
    """Tell whether the folder holds this very result.

    Raises UserError where it holds another one, or something else that is complete.
    """
    if not is_complete(folder):
        return False
    before, after = (_decides(each) for each in (read_concept_manifest(folder), new))
    refuse_another(folder, "a concept", before, after)
    return True


def _decides(concept: ConceptManifest) -> dict[str, object]:
    """Collect what decides a concept, each under what it is called where it differs."""
    config = concept.config
    folders = [Path(each).resolve() for each in (concept.positives, concept.negatives)]
    keys = ("held_out", "sample", "rounds", "C", "seed", "pictures")
    return {
        "other images": (concept.fingerprints, folders),
        "another name": concept.concept,
        "another network": concept.model,
        "other weights": concept.checkpoint.sha256 or concept.checkpoint.path,
        "another view": config.get("view"),
        **{f"other {key}": config.get(key) for key in keys},
    }
