"""The example of docs/methods.md that gives maps to Quantus, run on a small run."""

import numpy as np
import pytest
from pages import ROOT, blocks

pytest.importorskip("quantus")

(EXAMPLE,) = [block.text for block in blocks(ROOT / "docs" / "methods.md", "python")]


def test_the_example_runs_as_the_page_says(command):
    few = ("data.n_train=96", "data.n_val=24", "device=cpu")
    narrow = ("model=alexnet_gap", "model.width=0.1", "optim.epochs=1", "optim.warmup=0")
    assert command("train", *narrow, *few).status == 0
    assert command("eval", "model=alexnet_gap", "save_maps=true", *few).status == 0
    names = {}
    exec(compile(EXAMPLE, "methods.md", "exec"), names)
    assert np.array(names["scores"]).shape == (8, 24)  # three colours in steps of 28 rows
    assert ((np.array(names["scores"]) > 0) & (np.array(names["scores"]) < 1)).all()
