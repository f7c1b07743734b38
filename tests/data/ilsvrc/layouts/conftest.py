"""Parts of the trees that take long to make, made once."""

from __future__ import annotations

import numpy as np
import pytest
from layout_trees import DEVKIT_ID, VAL, Parts, kaggle, write_train
from scipy.io import savemat

from cam_repro.classes import ilsvrc_classes
from cam_repro.data.ilsvrc.image_set import load_image_set


@pytest.fixture(scope="session")
def parts(tmp_path_factory):
    classes = ilsvrc_classes()
    assert classes.devkit_ids_C is not None
    kit = tmp_path_factory.mktemp("kit")
    rows = list(zip(classes.devkit_ids_C.tolist(), classes.wnids, classes.names, strict=True))
    rows = [(number, wnid, f"{name}, and so on", 0) for number, wnid, name in sorted(rows)]
    fields = ("ILSVRC2012_ID", "WNID", "words", "num_children")
    synsets = np.array(
        [*rows, (1001, "n00001740", "entity", 8)], [(name, object) for name in fields]
    )
    savemat(kit / "meta.mat", {"synsets": synsets[:, None]})
    ids = [DEVKIT_ID[wnid] for wnid, _ in VAL.values()]
    (kit / "ILSVRC2012_validation_ground_truth.txt").write_text("\n".join(map(str, ids)) + "\n")
    (kit / "ILSVRC2012_validation_blacklist.txt").write_text("36\n")

    train = tmp_path_factory.mktemp("images") / "train"
    for wnid in classes.wnids:
        (train / wnid).mkdir(parents=True)
    write_train(train)
    return Parts(kit, train)


@pytest.fixture(scope="session")
def reference(tmp_path_factory, parts):
    """A split of the Kaggle tree, which all others must equal."""
    root = tmp_path_factory.mktemp("reference") / "root"
    kaggle(root, parts)
    return lambda split: load_image_set(root, split)
