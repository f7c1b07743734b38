"""Fixtures of the tests that train, and of those that run a network over a few images."""

import pytest
from PIL import Image

from cam_repro.commands.train import run_training
from cam_repro.data.ilsvrc.image_set import load_image_set

WNIDS = ["n00000001", "n00000002", "n00000003"]


@pytest.fixture
def start(compose_config, tiny_run, tmp_path):
    """Trains into ``tmp_path / name`` with further words; returns the folder."""

    def start(name, *words):
        cfg = compose_config("train", *tiny_run, *words, f"output={tmp_path / name}")
        return run_training(cfg)

    return start


@pytest.fixture
def image_set(tmp_path):
    """Makes a val split from ``{name: (pixels HW3, label, box)}``, losslessly."""

    def make(images):
        folder = tmp_path / "set" / "Data" / "CLS-LOC" / "val"
        folder.mkdir(parents=True)
        lines = ["ImageId,PredictionString"]
        for name, (pixels, label, box) in images.items():
            Image.fromarray(pixels).save(folder / f"{name}.JPEG", "PNG")
            lines.append(f"{name},{WNIDS[label]} {' '.join(map(str, box))} ")
        root = tmp_path / "set"
        (root / "LOC_val_solution.csv").write_text("\n".join(lines) + "\n")
        (root / "LOC_synset_mapping.txt").write_text("".join(f"{w} {w}\n" for w in WNIDS))
        return load_image_set(root, "val")

    return make
