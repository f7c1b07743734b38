"""Write the built-in data set ``demo`` to a folder tree, on first use; nothing is downloaded.

The tree has the layout of ILSVRC as Kaggle distributes it (``Data/CLS-LOC/train/<wnid>`` ...), and
beside it ``Masks/CLS-LOC``: which pixels belong to objects, a PNG for each image with annotation.
``draw.py`` draws the pictures, with the same pixels on every machine; the bytes of the JPEG files
also depend on Pillow's encoder.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from cam_repro.data.demo.draw import CLASSES, Drawing, draw
from cam_repro.errors import UserError
from cam_repro.files import at_home
from cam_repro.locks import sole_writer
from cam_repro.progress import Bar

DEMO_VERSION = 3
"""Increase it with any change to the tree: cached trees of another version are not used.

Version 3 has the images of version 2, and masks besides.
"""

DEFAULTS = {"seed": 0, "n_train": 2000, "n_val": 500, "n_test": 200}
MASKS = "Masks/CLS-LOC"
"""The folder of masks within the tree."""

JPEG_QUALITY = 90
JPEG_SUBSAMPLING = "4:2:0"


# --- the tree ------------------------------------------------------------------------------------


def _xml(folder: str, name: str, wnid: str, drawing: Drawing) -> str:
    height, width = drawing.pixels.shape[:2]
    lines = [
        "<annotation>",
        f"\t<folder>{folder}</folder>",
        f"\t<filename>{name}</filename>",
        "\t<source>",
        "\t\t<database>cam_repro_demo</database>",
        "\t</source>",
        "\t<size>",
        f"\t\t<width>{width}</width>",
        f"\t\t<height>{height}</height>",
        f"\t\t<depth>{len(Image.new(drawing.mode, (1, 1)).getbands())}</depth>",
        "\t</size>",
        "\t<segmented>0</segmented>",
    ]
    for box, truncated in zip(drawing.boxes, drawing.truncated, strict=True):
        lines += [
            "\t<object>",
            f"\t\t<name>{wnid}</name>",
            "\t\t<pose>Unspecified</pose>",
            f"\t\t<truncated>{int(truncated)}</truncated>",
            "\t\t<difficult>0</difficult>",
            "\t\t<bndbox>",
            f"\t\t\t<xmin>{box[0]}</xmin>",
            f"\t\t\t<ymin>{box[1]}</ymin>",
            f"\t\t\t<xmax>{box[2]}</xmax>",
            f"\t\t\t<ymax>{box[3]}</ymax>",
            "\t\t</bndbox>",
            "\t</object>",
        ]
    return "\n".join([*lines, "</annotation>", ""])


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())  # bytes: the same line ends on every system


def _write_mask(path: Path, drawing: Drawing) -> None:
    """Write a PNG of the image's size, mode L: 255 where an object is, 0 elsewhere."""
    path.parent.mkdir(parents=True, exist_ok=True)
    mask_HW = np.any(drawing.masks, axis=0)
    Image.fromarray(np.where(mask_HW, 255, 0).astype(np.uint8)).save(path)


def _write_split(root: Path, split: str, count: int, seed: int, bar: Bar) -> None:
    rows: list[tuple[str, str, str]] = []  # name in the list file, id, prediction string
    for index in range(count):
        drawing = draw(split, index, seed)
        wnid = CLASSES[drawing.label].wnid
        if split == "train":
            folder, name = f"train/{wnid}", f"{wnid}_{index // len(CLASSES) + 1}"
            listed = f"{wnid}/{name}"
        else:
            folder = split
            name = listed = f"demo_{split}_{index + 1:08d}"
        image = root / "Data" / "CLS-LOC" / folder / f"{name}.JPEG"
        image.parent.mkdir(parents=True, exist_ok=True)
        size = drawing.pixels.shape[1::-1]
        picture = Image.frombytes(drawing.mode, size, drawing.pixels.tobytes())
        picture.save(image, "JPEG", quality=JPEG_QUALITY, subsampling=JPEG_SUBSAMPLING)
        if split != "test":
            xml = root / "Annotations" / "CLS-LOC" / folder / f"{name}.xml"
            _write(xml, _xml(Path(folder).name, name, wnid, drawing))
            _write_mask(root / MASKS / folder / f"{name}.png", drawing)
        truth = "".join(f"{wnid} {x0} {y0} {x1} {y1} " for x0, y0, x1, y1 in drawing.boxes)
        rows.append((listed, name, truth))
        bar.update()

    if split == "train":
        # As in Kaggle's list: class by class, numbers ascending.
        rows.sort(key=lambda row: (row[0].split("/")[0], int(row[1].split("_")[1])))
    listing = "".join(f"{listed} {k}\n" for k, (listed, _, _) in enumerate(rows, 1))
    list_name = "train_cls.txt" if split == "train" else f"{split}.txt"
    _write(root / "ImageSets" / "CLS-LOC" / list_name, listing)
    if split != "test":
        # Rows end in a blank, as Kaggle's do.
        table = ["ImageId,PredictionString\n", *(f"{name},{truth}\n" for _, name, truth in rows)]
        _write(root / f"LOC_{split}_solution.csv", "".join(table))


class _AlreadyThereError(UserError):
    """Report that something exists already where the tree should be made."""


def _check_settings(settings: dict[str, int]) -> None:
    for name, value in settings.items():
        if name not in DEFAULTS:
            raise UserError(f"demo data has no setting {name!r}; it has {', '.join(DEFAULTS)}")
        low = 0 if name == "seed" else 1
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value < 2**31:
            raise UserError(
                f"demo data: {name} must be an integer of {low}..2^31 - 1, not {value!r}"
            )


def make_demo(
    root: Path,
    *,
    seed: int = DEFAULTS["seed"],
    n_train: int = DEFAULTS["n_train"],
    n_val: int = DEFAULTS["n_val"],
    n_test: int = DEFAULTS["n_test"],
    progress: bool = True,
) -> None:
    """Write the data set as a new folder ``root``, whole or not at all.

    seed: 0..2^31 - 1. n_train, n_val, n_test: number of images in each split, at least 1; numbers
    of images of two classes differ by one at most. progress: show a bar on standard error.

    Raises UserError where a setting is impossible, or ``root`` exists already or cannot be made.
    """
    counts = {"train": n_train, "val": n_val, "test": n_test}
    _check_settings({"seed": seed, **{f"n_{split}": n for split, n in counts.items()}})
    root = Path(root).absolute()
    if root.exists():
        raise _AlreadyThereError(f"{root} exists already: remove it or choose another folder")
    _remove_leftovers(root)
    with _unfinished(root) as temporary:
        with Bar(sum(counts.values()), "drawing the built-in set", disable=not progress) as bar:
            for split, count in counts.items():
                _write_split(temporary, split, count, seed, bar)
        mapping = "".join(f"{kind.wnid} {kind.name}\n" for kind in CLASSES)
        _write(temporary / "LOC_synset_mapping.txt", mapping)
        os.sync()  # all files at once: a power cut must not leave a folder of empty ones
        try:
            temporary.rename(root)
        except OSError:
            if root.exists():
                raise _AlreadyThereError(f"{root} was made by another process") from None
            raise


@contextlib.contextmanager
def _unfinished(root: Path) -> Iterator[Path]:
    """Make a folder beside ``root`` to fill and rename; remove it if it is still there at the end.

    It is locked, so that other processes can tell it from one whose process was killed.
    """
    temporary = root.with_name(f".{root.name}-{secrets.token_hex(4)}")
    with contextlib.ExitStack() as held:
        try:
            root.parent.mkdir(parents=True, exist_ok=True)
            held.enter_context(sole_writer(temporary, _lock_of(temporary)))
            temporary.mkdir()
        except OSError as error:
            raise UserError(
                f"cannot make {root} ({error.strerror}): name a folder that can be written, "
                "for the cache with CAM_REPRO_CACHE"
            ) from error
        try:
            yield temporary
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _remove_leftovers(root: Path) -> None:
    """Remove what processes left beside ``root`` that were killed while they drew."""
    for folder in root.parent.glob(f".{glob.escape(root.name)}-????????"):
        with contextlib.suppress(UserError), sole_writer(folder, _lock_of(folder)):
            shutil.rmtree(folder, ignore_errors=True)


def _lock_of(folder: Path) -> Path:
    """Give the lock of an unfinished folder, which lies beside it: the folder is renamed."""
    return folder.with_name(f"{folder.name}.lock")


def _default_cache() -> Path:
    if own := os.environ.get("CAM_REPRO_CACHE"):
        return at_home(own)
    shared = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return at_home(shared) / "cam_repro"


def demo_root(cache: Path | None = None, *, progress: bool = True, **settings: int) -> Path:
    """Give the data set's folder, ``<cache>/demo-<version>-<settings hash>``; make it on first use.

    cache: default ``$CAM_REPRO_CACHE``, else ``$XDG_CACHE_HOME/cam_repro``, else
    ``~/.cache/cam_repro``. settings: those of ``make_demo``. If two processes make it at once, the
    one that is done first wins, and both give the same complete folder.

    Raises UserError where a setting is unknown or impossible.
    """
    _check_settings(settings)
    key = json.dumps(DEFAULTS | settings, sort_keys=True).encode()
    name = f"demo-{DEMO_VERSION}-{hashlib.sha256(key).hexdigest()[:10]}"
    root = (Path(cache) if cache is not None else _default_cache()) / name
    if not root.is_dir():
        with contextlib.suppress(_AlreadyThereError):
            make_demo(root, progress=progress, **settings)
    if not root.is_dir():
        raise UserError(f"{root} is not a folder, and the demo data belong there: remove it")
    return root


def tree_fingerprint(root: Path) -> str:
    """Compute a SHA-256 of the names (relative, sorted) and contents of all files in ``root``."""
    root = Path(root)
    digest = hashlib.sha256()
    files = {path.relative_to(root).as_posix(): path for path in root.rglob("*") if path.is_file()}
    for name in sorted(files):
        content = files[name].read_bytes()
        # With the length between them, no other pair of name and content gives the same bytes.
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()
