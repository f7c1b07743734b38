#!/usr/bin/env python3
"""Measure what GAIN changes: the same network, schedule and seed with it and without.

    python scripts/gain.py --root TINYIMAGENET40 --runs runs-gain --output results/gain

A trained network is fine-tuned for some iterations by each variant below and with each seed, then
scored on the validation images: errors of classification and localization (box rule ``threshold``),
and the share of the maps' energy that lies in the true boxes. Beside each number stands how it
differs from the variant without GAIN of the same seed, with the paired 95 % interval over images.

Without ``--root`` only the built-in set is used. Networks that are trained already are named by
``--weights DATA=FILE``; else they are trained first (README's table of results says how long that
takes). Started again, it goes on where it was stopped. Writes ``gain.csv``, ``gain.md``, and the
commands to ``commands.txt``.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from cam_repro.files import atomic_path, write_columns
from cam_repro.formats.maps import open_maps
from cam_repro.geometry import inside_boxes
from cam_repro.metrics.comparison import compare, pair_images
from cam_repro.metrics.energy_in_box import energy_share
from cam_repro.metrics.intervals import Mean
from cam_repro.resample import resize
from cam_repro.runs.manifest import read_train_manifest
from cam_repro.runs.predictions import Predictions, read_predictions
from cam_repro.runs.saved_maps import maps_folder

RULE = "threshold"
MODEL = "alexnet_gap"


@dataclass(frozen=True)
class Data:
    """Hold words for the commands on a data set.

    words: of all commands. training, tuning: of the training to start from, and of fine-tuning.
    masks: which masks the set has.
    """

    words: tuple[str, ...]
    training: tuple[str, ...]
    tuning: tuple[str, ...]
    masks: str


SHORT = ("optim.warmup=10", "optim.epochs=null")
TINY = ("recipe=tinyimagenet40_cpu", "model.width=0.5", "model.norm=batch")
DATA = {
    "demo": Data(("data=demo",), (), ("optim.lr=0.01", *SHORT, "optim.iterations=124"), "masks"),
    "tinyimagenet40": Data(
        ("data=ilsvrc",),
        (*TINY, "optim.epochs=10"),
        (*TINY, "optim.lr=0.005", *SHORT, "optim.iterations=150"),
        "boxes",
    ),
}
"""Both with the settings of results/: two CPU cores train them in minutes."""


@dataclass(frozen=True)
class Variant:
    """Hold a way to fine-tune: its words, and the variant without GAIN that it is compared with.

    ablation: whether it answers a question about a setting, so that few seeds are enough.
    """

    words: tuple[str, ...]
    against: str | None = None
    ablation: bool = False


VARIANTS = {
    "labels": Variant(("train=classification",)),
    "gain": Variant(("train=gain",), "labels"),
    "gain sigma 0.25": Variant(("train=gain", "train.sigma=0.25"), "labels", True),
    "gain sigma 0.75": Variant(("train=gain", "train.sigma=0.75"), "labels", True),
    "gain, scores alone": Variant(("train=gain", "train.through_hiding=false"), "labels", True),
    "gain with masks of 10 %": Variant(
        ("train=gain", "train.masks={masks}", "train.masks_share=0.1"), "labels", True
    ),
    "multi-label": Variant(("train=multi_label",), None, True),
    # The paper's own score, the logit, has no lower end: at these learning rates the loss falls for
    # ever (-1e21 after 124 iterations on the built-in set).
    "multi-label gain": Variant(
        ("train=gain", "train.loss=multi_label", "train.score=probability"), "multi-label", True
    ),
}


@dataclass(frozen=True)
class Experiment:
    """Hold what is run: on which sets, with which seeds, and where the runs lie."""

    data: dict[str, Data]
    weights: dict[str, str]
    seeds: Sequence[int]
    ablation_seeds: Sequence[int]
    runs: Path

    def trained(self, name: str) -> Path:
        """Give the weights that fine-tuning starts from."""
        return Path(self.weights.get(name, self.runs / name / "trained" / "train" / "last.pt"))

    def folder(self, name: str, variant: str, seed: int) -> Path:
        """Give the folder of a fine-tuned network, with ``train`` and ``eval``."""
        return self.runs / name / f"{variant.replace(',', '').replace(' ', '-')}-{seed}"

    def cells(self) -> Iterator[tuple[str, str, int]]:
        """Give data set, variant and seed of each fine-tuning."""
        for name in self.data:
            for key, variant in VARIANTS.items():
                for seed in self.ablation_seeds if variant.ablation else self.seeds:
                    yield name, key, seed

    def commands(self) -> Iterator[list[str]]:
        """Give the words of all commands, in order: ``train`` or ``eval``, and its words."""
        for name, data in self.data.items():
            if name not in self.weights:
                output = f"output={self.trained(name).parent}"
                yield ["train", f"model={MODEL}", *data.words, *data.training, output]
        for name, key, seed in self.cells():
            data, folder = self.data[name], self.folder(name, key, seed)
            words = [word.format(masks=data.masks) for word in VARIANTS[key].words]
            start = [f"model={MODEL}", *data.words, *data.tuning, f"seed={seed}"]
            weights = f"model.weights={self.trained(name)}"
            yield ["train", *start, *words, weights, f"output={folder / 'train'}"]
            weights = f"model.weights={folder / 'train' / 'last.pt'}"
            options = [weights, "saliency=cam", "save_maps=true", "examples=0"]
            yield ["eval", f"model={MODEL}", *data.words, *options, f"output={folder / 'eval'}"]


NUMBERS = ("cls top-1", "loc top-1", "GT-known", "energy in box")
"""The first three are errors, of which less is better; of the last, more is."""


def energies(run: Predictions, folder: Path) -> np.ndarray:
    """Compute for each image the share of its map's energy in its boxes, percent, as cam-score."""
    maps, shares_N = open_maps(maps_folder(run, folder), run.ids), np.zeros(len(run))
    assert run.sizes_N2 is not None
    for row, (width, height) in enumerate(run.sizes_N2.tolist()):
        map_HW = resize(maps[row], width, height, run.manifest.interpolation)
        share = energy_share(map_HW, inside_boxes(run.boxes.of(row), width, height))
        shares_N[row] = 100 * (share or 0)
    return shares_N


def numbers(folder: Path, against: Path | None) -> dict[str, float | None]:
    """Give the numbers of a run, and how they differ from another's; ``from``, ``to``: 95 %."""
    one = read_predictions(folder)
    other, other_folder = (one, folder) if against is None else (read_predictions(against), against)
    pairs = pair_images(other, one, (str(other_folder), str(folder)))
    paired = compare(other, one, pairs, None) | compare(other, one, pairs, (RULE, RULE))
    first_N, second_N = energies(other, other_folder), energies(one, folder)
    change = Mean.of(second_N[pairs.second_N] - first_N[pairs.first_N])
    found: dict[str, tuple[float, float, tuple[float, float]]] = {
        name: (paired[name].second.error, paired[name].difference, paired[name].interval)
        for name in NUMBERS[:3]
    }
    found[NUMBERS[3]] = (float(second_N.mean()), change.value, (change.low, change.high))
    cells: dict[str, float | None] = {"images": len(one)}
    for name, (value, difference, (low, high)) in found.items():
        changes = (difference, low, high) if against is not None else (None, None, None)
        keys = (name, f"{name} change", f"{name} change from", f"{name} change to")
        cells |= dict(zip(keys, (value, *changes), strict=True))
    return cells


def table(experiment: Experiment) -> list[dict[str, Any]]:
    """Make a row for each fine-tuning."""
    rows = []
    for name, key, seed in experiment.cells():
        against = VARIANTS[key].against
        folder = experiment.folder(name, key, seed)
        other = None if against is None else experiment.folder(name, against, seed) / "eval"
        seconds = read_train_manifest(folder / "train").seconds
        about = {"data": name, "variant": key, "seed": seed, "against": against}
        rows.append({**about, **numbers(folder / "eval", other), "train seconds": seconds})
    return rows


def in_markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Write a table for each data set: each seed, and of several their mean and spread."""
    lines = [
        "# What GAIN changes",
        "",
        "Errors in percent, and the share of the maps' energy in the true boxes, of which more is",
        "better. In brackets the difference from the variant of the same seed that the second",
        "column names, with its paired 95 % interval over images. A mean is over seeds, with the",
        "lowest and the highest; its difference is the mean of the differences.",
    ]
    for name in dict.fromkeys(row["data"] for row in rows):
        of_set = [row for row in rows if row["data"] == name]
        lines += ["", f"## {name}, {of_set[0]['images']} images", ""]
        lines += ["| variant | against | seed | " + " | ".join(NUMBERS) + " | seconds |"]
        lines += ["|---|---|---" + "|---:" * (len(NUMBERS) + 1) + "|"]
        for variant in dict.fromkeys(row["variant"] for row in of_set):
            seeds = [row for row in of_set if row["variant"] == variant]
            lines += [_line(row, [_cell(row, number) for number in NUMBERS]) for row in seeds]
            if len(seeds) > 1:
                seconds = fmean(row["train seconds"] for row in seeds)
                mean = {**seeds[0], "seed": "mean", "train seconds": seconds}
                lines.append(_line(mean, [_mean_cell(seeds, number) for number in NUMBERS]))
    return "\n".join(lines) + "\n"


def _line(row: dict[str, Any], cells: list[str]) -> str:
    about = [row["variant"], row["against"] or "", str(row["seed"])]
    return "| " + " | ".join([*about, *cells, f"{row['train seconds']:.0f}"]) + " |"


def _cell(row: dict[str, Any], name: str) -> str:
    if row[f"{name} change"] is None:
        return f"{row[name]:.1f}"
    change, low, high = (row[f"{name} change{end}"] for end in ("", " from", " to"))
    return f"{row[name]:.1f} ({change:+.1f}, {low:+.1f} to {high:+.1f})"


def _mean_cell(rows: list[dict[str, Any]], name: str) -> str:
    values = [row[name] for row in rows]
    text = f"{fmean(values):.1f}, {min(values):.1f} to {max(values):.1f}"
    changes = [row[f"{name} change"] for row in rows]
    return text if None in changes else f"{text} ({fmean(changes):+.1f})"


def experiment_of(arguments: argparse.Namespace) -> Experiment:
    """Make the experiment that the command line describes."""
    data = {"demo": DATA["demo"]}
    if arguments.root is not None:
        tiny = DATA["tinyimagenet40"]
        root = f"data.root={arguments.root}"
        data["tinyimagenet40"] = replace(tiny, words=(*tiny.words, root))
    if arguments.quick:
        if arguments.root is not None:
            raise SystemExit("error: --quick uses the built-in set alone: leave out --root")
        words = ("data=demo", "data.n_train=36", "data.n_val=24")
        tuning = ("optim.epochs=null", "optim.iterations=2")
        data = {"demo": Data(words, ("optim.epochs=1",), tuning, "masks")}
    weights = {}
    for word in arguments.weights:
        name, _, file = word.partition("=")
        if name not in data or not Path(file).is_file():
            raise SystemExit(f"error: --weights {word}: DATA=FILE, DATA one of {', '.join(data)}")
        weights[name] = file
    return Experiment(data, weights, arguments.seeds, arguments.ablation_seeds, arguments.runs)


def main() -> None:
    """Run what has not been run, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--root", type=Path, help="folder of the 40 classes of Tiny ImageNet")
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--weights", nargs="*", default=[], metavar="DATA=FILE")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--ablation-seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--quick", action="store_true", help="a trial: few images, two iterations")
    arguments = parser.parse_args()
    experiment, output = experiment_of(arguments), arguments.output
    commands = list(experiment.commands())
    for command, *words in commands:
        line = [sys.executable, "-m", f"cam_repro.cli.{command}", *words]
        print(shlex.join([f"cam-{command}", *words]), flush=True)
        if subprocess.run(line).returncode:
            raise SystemExit("error: this command failed; mend it, and start again to go on")
    rows = table(experiment)
    output.mkdir(parents=True, exist_ok=True)
    columns = {key: [_rounded(row[key]) for row in rows] for key in rows[0]}
    write_columns(output / "gain.csv", columns)
    said = "\n".join(shlex.join([f"cam-{command}", *words]) for command, *words in commands)
    places = {**experiment.weights, "TINYIMAGENET40": arguments.root}
    for name, place in (places | {arguments.runs.name: arguments.runs}).items():
        said = said.replace(str(place), name)  # a table for others names no folder of this machine
    for file, text in (("gain.md", in_markdown(rows)), ("commands.txt", said + "\n")):
        with atomic_path(output / file) as temporary:
            temporary.write_text(text, encoding="utf-8")


def _rounded(value: object) -> object:
    return round(value, 3) if isinstance(value, float) else value


if __name__ == "__main__":
    main()
