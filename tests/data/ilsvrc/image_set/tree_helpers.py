"""What the tests of ILSVRC's image sets share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.io import savemat

from cam_repro.data.ilsvrc import image_set as ilsvrc

ANNOTATIONS = "ILSVRC/Annotations/CLS-LOC"
IMAGES = "ILSVRC/Data/CLS-LOC"
VAL = "ILSVRC2012_val_0000000"


def write_xml(root: Path, image: str, objects: list[tuple[str, tuple[object, ...]]]) -> None:
    text = "".join(
        f"<object><name>{wnid}</name><bndbox><ymax>{y1}</ymax><xmin>{x0}</xmin>"
        f"<ymin>{y0}</ymin><xmax>{x1}</xmax></bndbox></object>"
        for wnid, (x0, y0, x1, y1) in objects
    )
    (root / ANNOTATIONS / f"{image}.xml").write_text(f"<annotation>{text}</annotation>")


def as_tuples(images: ilsvrc.ImageSet) -> list[tuple[str, int, list[list[int]]]]:
    return [(s.id, s.label, s.boxes_M4.tolist()) for s in (images[i] for i in range(len(images)))]


def write_meta(path: Path, id_of: dict[str, int]) -> None:
    """A ``meta.mat`` as the development kit's: an n x 1 struct array ``synsets``."""
    fields = [("ILSVRC2012_ID", object), ("WNID", object), ("words", object)]
    synsets = np.array([(number, wnid, f"w{number}, v") for wnid, number in id_of.items()], fields)
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"synsets": synsets[:, None]})


IDS = {"n00001020": 1, "n00009999": 1001, "n00001000": 3, "n00001010": 2}
