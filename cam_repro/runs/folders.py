"""Where results lie: ``<runs>/<data set>/<model>/{train,eval/<split>-<saliency>[-<view>]}``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cam_repro.errors import UserError
from cam_repro.files import sha256

DEFAULT_VIEW = "squash"
"""The view that folder names leave out."""

DEFAULT_VARIANT = "torchvision"
"""The variant of a network that names leave out."""

NO_MODEL = "none"
"""``model=none``: boxes without a network."""


def train_folder(runs: Path | str, data: str, model: str) -> Path:
    """Folder of a training run: checkpoints, log, curves, manifest."""
    return Path(runs) / data / model / "train"


def eval_folder(
    runs: Path | str, data: str, model: str, split: str, saliency: str, view: str
) -> Path:
    """Folder of one scored pass over a split."""
    suffix = "" if view == DEFAULT_VIEW else f"-{view}"
    return Path(runs) / data / model / "eval" / f"{split}-{saliency}{suffix}"


def baseline_folder(runs: Path | str, data: str, split: str) -> Path:
    """Folder of the boxes that need no model (``model=none``)."""
    return Path(runs) / data / NO_MODEL / "eval" / split


def run_name(model_config: Mapping[str, Any]) -> str:
    """What folders of runs and manifests call a network: its name, and its variant if not usual.

    ``vgg_gap`` as torchvision builds it, ``vgg_gap_caffe`` as Caffe does: two networks, whose
    weights do not fit each other.
    """
    variant = model_config.get("variant", DEFAULT_VARIANT)
    name = str(model_config["name"])
    return name if variant == DEFAULT_VARIANT else f"{name}_{variant}"


def run_folder(path: Path) -> Path | None:
    """The run folder that ``path`` is, or whose predictions.parquet it is; None for all others."""
    if path.name == "predictions.parquet":
        return path.parent
    return path if any((path / name).is_file() for name in _RUN_FILES) else None


def is_complete(folder: Path) -> bool:
    """Whether the run in ``folder`` ended: the manifest is what a run writes last."""
    return (folder / "manifest.json").is_file()


_RUN_FILES = ("manifest.json", "predictions.parquet")


def box_settings(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Give the settings of each box rule that the configuration of a pass has, by its name.

    Runs of earlier versions have them one level deeper, and some under longer names.
    """
    boxes = config.get("box") or {}
    if "rules" not in boxes:
        return dict(boxes)
    return {
        name: {re.sub("^(dt|graphcut)_", "", key): value for key, value in rule.items()}
        for name, rule in boxes["rules"].items()
    }


SCORING = ("saliency", "view", "box")
"""The groups of settings that decide what a scored pass finds, besides the weights."""


def other_settings(folder: Path, config: dict[str, Any]) -> list[str]:
    """Which of the groups ``SCORING`` differ between the results in ``folder`` and ``config``.

    Empty where there are no complete results. A saliency that was left open differs from none,
    and boxes differ only where a rule of ``config`` is missing or was set otherwise.
    """
    if not is_complete(folder):
        return []
    before = json.loads((folder / "manifest.json").read_text(encoding="utf-8")).get("config", {})

    def differs(group: str) -> bool:
        there, wanted = before.get(group), config.get(group)
        if there is None or wanted is None:
            return False
        if group == "box":
            there = box_settings(before)
            return any(there.get(name) != rule for name, rule in wanted.items())
        return bool(there != wanted)

    return [group for group in SCORING if differs(group)]


def refuse_to_replace(folder: Path, config: dict[str, Any]) -> None:
    """Raise UserError where a pass by ``config`` into ``folder`` would cost results there.

    Those are boxes that the pass does not make or makes otherwise, and maps. Results by the same
    settings, or by some of them, may be replaced.
    """
    if config.get("overwrite") or not is_complete(folder):
        return
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    there, wanted = box_settings(manifest.get("config", {})), box_settings(config)
    lost = [
        f"box={name}" + (" by other settings" if name in wanted else "")
        for name, rule in there.items()
        if wanted.get(name) != rule
    ]
    different = other_settings(folder, config)
    lost += [f"other settings of {group}" for group in different if group != "box"]
    if manifest.get("maps") and not config.get("save_maps"):
        lost.append("maps")
    if lost:
        raise UserError(
            f"{folder}: holds results that this pass would replace ({', '.join(lost)}): keep them "
            "with output=DIR for the new ones, or add overwrite=true"
        )


def is_scored(
    folder: Path, checkpoint: Path | None, config: dict[str, Any], fingerprint: str
) -> bool:
    """Whether ``folder`` holds complete results by these settings, of the checkpoint as it is now.

    checkpoint: None where the network was not trained here; the weights are not compared then.
    fingerprint: of the images to be scored. Results without maps are not those of a pass that is
    to save them.
    """
    if not is_complete(folder) or other_settings(folder, config):
        return False
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    if manifest["data"].get("fingerprint") != fingerprint:
        return False
    if config.get("save_maps") and not manifest.get("maps"):
        return False
    if checkpoint is None:
        return True
    scored = (manifest.get("checkpoint") or {}).get("sha256")
    return checkpoint.is_file() and scored == sha256(checkpoint)


def trained_models(runs: Path | str, data: str) -> list[str]:
    """Names of the models with a complete training run on the data set, sorted."""
    return sorted(
        path.parents[1].name for path in (Path(runs) / data).glob("*/train/manifest.json")
    )
