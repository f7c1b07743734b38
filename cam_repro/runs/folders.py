"""Name the folders of results, and tell which results a new pass would replace.

Results lie in ``<runs>/<data set>/<model>/{train,eval/<split>-<saliency>[-<view>]}``, features in
``.../features/<split>[-<view>][-<crop>]``, SVMs in ``.../generic/<test features or partition>``,
concepts in ``<runs>/<concept>/<model>/concept``.
The names may come out of a packed set's manifest or a checkpoint: one that would lead out of
``<runs>`` is refused by a UserError.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cam_repro.errors import UserError
from cam_repro.files import path_within, sha256
from cam_repro.runs.manifest import (
    DEFAULT_VIEW,
    MANIFEST,
    Checkpoint,
    EvalManifest,
    is_of_scored_run,
    is_of_svm,
    read_eval_manifest,
)
from cam_repro.runs.same_images import WhichImages
from cam_repro.runs.training_log import LOG

DEFAULT_VARIANT = "torchvision"
"""The variant of a network that names leave out."""

_RUN_FILES = (MANIFEST, "predictions.parquet")

CUES = "cues"
"""The folder of cues (``runs.cues``) in a run folder."""

NETWORK = "network.pt"
"""In the folder of an SVM, the network whose class layer it is."""

NO_MODEL = "none"
"""``model=none``: boxes without a network."""

SCORING = ("saliency", "view", "box")
"""The config groups that, with the weights, decide what a scored pass finds."""

KEPT = ("save_maps", "cues", "quality")
"""The settings by which a scored pass keeps more than its predictions."""


def train_folder(runs: Path | str, data: str, model: str) -> Path:
    """Name the folder of a training run: checkpoints, log, curves, manifest."""
    return path_within(runs, data, *model.split("/"), "train")


def eval_folder(
    runs: Path | str, data: str, model: str, split: str, saliency: str, view: str
) -> Path:
    """Name the folder of one scored pass over a split."""
    suffix = "" if view == DEFAULT_VIEW else f"-{view}"
    return path_within(runs, data, *model.split("/"), "eval", f"{split}-{saliency}{suffix}")


def features_folder(
    runs: Path | str, data: str, model: str, split: str, view: str, crop: str | None
) -> Path:
    """Name the folder of the features of a split. crop: what images were cropped to, in a word."""
    parts = [split, *([] if view == DEFAULT_VIEW else [view]), *([] if crop is None else [crop])]
    return path_within(runs, data, *model.split("/"), "features", "-".join(parts))


def svm_folder(runs: Path | str, data: str, model: str, tested: str) -> Path:
    """Name the folder of an SVM. tested: name of the folder of test features, or of a partition."""
    return path_within(runs, data, *model.split("/"), "generic", tested)


def concept_folder(runs: Path | str, concept: str, model: str) -> Path:
    """Name the folder of a concept. concept: its name, as that of a data set."""
    return path_within(runs, concept, *model.split("/"), "concept")


def baseline_folder(runs: Path | str, data: str, split: str) -> Path:
    """Name the folder of the boxes that need no network (``model=none``)."""
    return path_within(runs, data, NO_MODEL, "eval", split)


def answers_file(folder: Path | str, name: str) -> Path:
    """Name the file of a measure's answers (``runs.answers``) in a run folder."""
    return Path(folder) / f"quality_{name}.parquet"


def run_name(model_config: Mapping[str, Any]) -> str:
    """Give what folders, manifests and tables call a network: as ``network_name``.

    With an SVM for its class layer (cam-generic's ``network.pt``) it is another network than the
    one that made the features: ``vgg_gap_svm``.
    """
    name = network_name(model_config)
    return f"{name}_svm" if model_config.get("svm") else name


def network_name(model_config: Mapping[str, Any]) -> str:
    """Name a network of configs/model: its name, and its variant unless the default.

    ``vgg_gap`` as torchvision builds it, ``vgg_gap_caffe`` as Caffe does: two networks, whose
    weights do not fit each other. ``timm-resnet50.a1_in1k``: the network of timm's with that name.
    """
    variant = model_config.get("variant", DEFAULT_VARIANT)
    name = str(model_config["name"])
    if model_config.get("timm"):
        name = f"{name}-{model_config['timm']}"
    return name if variant == DEFAULT_VARIANT else f"{name}_{variant}"


def run_folder(path: Path) -> Path | None:
    """Give the run folder that ``path`` stands for: itself, or that of its predictions.parquet.

    None where it is neither.
    """
    if path.name == "predictions.parquet":
        return path.parent
    return path if any((path / name).is_file() for name in _RUN_FILES) else None


def labels_of(manifests: Sequence[EvalManifest], names: Sequence[str]) -> list[str]:
    """Name runs shortly, all differently: by their labels, and only what else sets them apart.

    That is the split where there are several, and a run's own name where two would be alike.
    """
    several = len({each.split for each in manifests}) > 1
    labels = [each.label + (f", {each.split}" if several else "") for each in manifests]
    return [
        label if labels.count(label) == 1 else f"{label} ({name})"
        for label, name in zip(labels, names, strict=True)
    ]


def named_runs(key: str, value: Any) -> list[str]:
    """Give the list of what a setting such as ``runs=`` names: one text, or a list of texts.

    Raises UserError, naming ``key``, for anything else.
    """
    names = value if isinstance(value, list) else [value]
    if not names or not all(isinstance(name, str) and name for name in names):
        raise UserError(f"{key}={value}: name folders of runs, as {key}=DIR or {key}=[A,B]")
    return names


def find_run_folders(names: list[str]) -> dict[str, Path]:
    """Find scored runs: the folder of each by its name, in the order in which they are named.

    names: each is the folder of a run, or its predictions.parquet; a folder that holds runs at any
    depth, as cam-eval and sweeps leave them; or a glob of these, such as ``runs/*/nin/eval/*``.
    Runs of one such folder are sorted. A run that is found twice counts once. Training runs and
    runs without a manifest, which did not end, are left out.

    A run is called by its path; if one folder of runs is all that is named, by its path below it.
    Raises UserError for a name that leads to no scored run.
    """
    found: dict[Path, Path] = {}  # by what the path leads to
    for name in names:
        folders = [
            folder for place in places(name) for folder in _runs_below(place, is_of_scored_run)
        ]
        if not folders:
            raise UserError(f"no scored runs under {name}: run cam-reproduce or cam-eval first")
        for folder in folders:
            found.setdefault(folder.resolve(), folder)
    root = Path(names[0])
    is_one = len(names) == 1 and root.is_dir() and run_folder(root) is None
    return {
        (folder.relative_to(root) if is_one else folder).as_posix(): folder
        for folder in found.values()
    }


def find_training_runs(names: list[str]) -> list[Path]:
    """Find training runs that ended: their folders, in the order in which they are named.

    names: as for ``find_run_folders``. Raises UserError for a name that leads to none.
    """
    found: dict[Path, Path] = {}  # by what the path leads to
    for name in names:
        folders = [each for place in places(name) for each in _runs_below(place, _is_training)]
        if not folders:
            raise UserError(
                f"no training run in {name}: name a folder that cam-train wrote, as "
                "runs/demo/alexnet_gap/train, or one above it"
            )
        for folder in folders:
            found.setdefault(folder.resolve(), folder)
    return list(found.values())


def find_svms(names: list[str]) -> dict[str, Path]:
    """Find what cam-generic wrote, in places as of ``find_run_folders``: folders by their path."""
    found = [f for name in names for place in places(name) for f in _runs_below(place, is_of_svm)]
    return {folder.as_posix(): folder for folder in found}


def _is_training(folder: Path) -> bool:
    return (folder / LOG).is_file()


def places(name: str) -> list[Path]:
    """List what a path stands for: itself if it is there, else what it matches as a glob.

    Raises UserError for a pattern that matches nothing in any folder, such as ``a**b``.
    """
    path = Path(name)
    if path.exists():
        return [path]
    root = Path(path.anchor)
    try:
        return sorted(root.glob(str(path.relative_to(root))))
    except (ValueError, NotImplementedError) as error:
        raise UserError(f"{name}: is no pattern of files ({error})") from None


def _runs_below(
    place: Path, is_wanted: Callable[[Path], bool], above: tuple[Path, ...] = ()
) -> Iterator[Path]:
    """Yield the runs at or below a path that are wanted, sorted.

    Folders with a manifest are not searched further: a run may have maps of 50,000 images. Nor are
    hidden ones, and links to the folders ``above``.
    """
    folder = run_folder(place) or place
    if (folder / MANIFEST).is_file():
        if is_wanted(folder):
            yield folder
        return
    if folder.is_dir():
        with os.scandir(folder) as entries:
            names = sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))
        above = (*above, folder.resolve())
        for name in names:
            if (folder / name).resolve() not in above:
                yield from _runs_below(folder / name, is_wanted, above)


def trained_models(runs: Path | str, data: str) -> list[str]:
    """List the networks that have a complete training run on the data set, sorted by name."""
    return sorted(path.parents[1].name for path in (Path(runs) / data).glob(f"*/train/{MANIFEST}"))


def is_complete(folder: Path) -> bool:
    """Tell whether the run in ``folder`` ended: the manifest is what a run writes last."""
    return (folder / MANIFEST).is_file()


def is_scored(
    folder: Path, checkpoint: Path | None, config: Mapping[str, Any], images: WhichImages
) -> bool:
    """Tell whether ``folder`` has the results of this checkpoint by these settings.

    checkpoint: the file as it is now is compared by its hash. None for a network that was not
    trained here: weights are not compared then.
    config: settings of the pass. If it saves maps, results without maps do not count; nor do those
        without its cues and the answers of its measures.
    images: those to be scored.
    """
    if not is_complete(folder):
        return False
    there = read_eval_manifest(folder)
    if other_settings(there, config) or _other_data(there, images):
        return False
    if _other_precision(there, config):
        return False
    if _other_network(there, config.get("model") or {}):
        return False
    if config.get("save_maps") and not there.maps:
        return False
    if config.get("cues") and config["cues"] != there.cue_settings:
        return False
    measures = config.get("quality") or {}
    if any(there.quality_settings.get(name) != measure for name, measure in measures.items()):
        return False
    if checkpoint is None:
        return True
    scored = None if there.checkpoint is None else there.checkpoint.sha256
    return checkpoint.is_file() and scored == sha256(checkpoint)


def other_settings(there: EvalManifest, config: Mapping[str, Any]) -> list[str]:
    """Name the groups of ``SCORING`` in which a scored run and the settings of a pass differ.

    A group that either of them leaves open does not differ. Box rules differ only where the run
    lacks a rule of ``config`` or used other settings for it: rules that only the run has are no
    difference.
    """
    pairs = {
        "saliency": (there.saliency_settings, config.get("saliency")),
        "view": (there.view_settings, config.get("view")),
    }
    different = [key for key, pair in pairs.items() if None not in pair and pair[0] != pair[1]]
    before, wanted = there.box_settings, config.get("box")
    if before is None or wanted is None:
        return different
    if any(before.get(name) != rule for name, rule in wanted.items()):
        different.append("box")
    return different


def refuse_to_replace(
    folder: Path,
    config: Mapping[str, Any],
    images: WhichImages,
    weights: Checkpoint | None = None,
    remedy: str = "keep them with output=DIR for the new ones, or add overwrite=true",
) -> None:
    """Raise UserError where a pass into ``folder`` would lose results that lie there.

    Lost would be results on other data, of another network or other weights, by other settings of
    network, saliency or view, boxes of rules, cues and answers of measures that the pass does not
    use or uses with other settings, and saved maps. ``overwrite=true`` permits all of it.

    config: settings of the pass. images: its images. weights: of its network; None without.
    remedy: what the message advises.
    """
    if config.get("overwrite") or not is_complete(folder):
        return
    there = read_eval_manifest(folder)
    lost = [
        *_other_data(there, images),
        *_other_network(there, config.get("model") or {}),
        *_other_weights(there.checkpoint, weights),
        *_other_precision(there, config),
    ]
    wanted = config.get("box") or {}
    lost += [
        f"box={name}" + (" by other settings" if name in wanted else "")
        for name, rule in (there.box_settings or {}).items()
        if wanted.get(name) != rule
    ]
    different = other_settings(there, config)
    lost += [f"other settings of {group}" for group in different if group != "box"]
    if there.maps and not config.get("save_maps"):
        lost.append("maps")
    if there.cue_settings is not None and there.cue_settings != config.get("cues"):
        lost.append("cues")
    measures = config.get("quality") or {}
    lost += [
        f"quality={name}"
        for name, measure in there.quality_settings.items()
        if measures.get(name) != measure
    ]
    if lost:
        raise UserError(
            f"{folder}: holds results that this pass would replace ({', '.join(lost)}): {remedy}"
        )


def _other_data(there: EvalManifest, images: WhichImages) -> list[str]:
    """Say that a run is of other images, labels or boxes, if it is."""
    before = there.data
    if before.fingerprint != images.fingerprint:
        prints = f"{before.fingerprint[:12]} there, {images.fingerprint[:12]} now"
        return [f"other data: fingerprint {prints}"]
    are_known = None not in (before.file_sizes, images.file_sizes)
    if are_known and before.file_sizes != images.file_sizes:
        return ["other images of the same names: their files have other sizes"]
    return []


def _other_precision(there: EvalManifest, config: Mapping[str, Any]) -> list[str]:
    """Say that a run was computed in another precision, if it was: results differ by it."""
    wanted = {"auto": "fp32"}.get(config.get("precision", ""), config.get("precision"))
    if there.hardware is None or wanted is None or there.hardware.precision == wanted:
        return []
    return [f"other precision: {there.hardware.precision} there, {wanted} now"]


def _other_weights(there: Checkpoint | None, weights: Checkpoint | None) -> list[str]:
    """Say that a run is of other weights, if it is: of files the contents count, not the names."""
    if there is None or weights is None:
        return []
    if there.sha256 == weights.sha256 and (there.sha256 or there.path == weights.path):
        return []
    return [f"other weights: {there.described} there, {weights.described} now"]


def _other_network(there: EvalManifest, model: Mapping[str, Any]) -> list[str]:
    """Say that a run is of another network, or of one with other settings, of those both know.

    model: the settings of the pass's network; empty if they are not known.
    """
    if model and there.model != run_name(model):
        return [f"other network: {there.model} there, {run_name(model)} now"]
    before = there.config.get("model") or {}
    named = before.keys() & model.keys() - {"weights", "pretrained", "row"}
    return [f"other settings of model.{key}" for key in sorted(named) if before[key] != model[key]]
