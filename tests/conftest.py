"""Fixtures that several folders of tests share."""

import colorsys
import importlib
import logging
import os
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import hydra
import hypothesis
import numpy as np
import pytest
import quick_settings
import torch
from omegaconf import DictConfig
from PIL import Image
from run_builder import write_run

from cam_repro.commands.train import run_training
from cam_repro.config import config_dir
from cam_repro.words import compose

quick_settings.install()

# A shell lets what it starts in the background ignore Ctrl-C; tests send it to themselves.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def make_run(tmp_path):
    """Writes scored runs under ``tmp_path / "runs"``: ``make_run("vgg_gap", cls_right=2, n=3)``."""
    return partial(write_run, tmp_path / "runs")


@pytest.fixture(scope="session")
def tiny_tree(make_tree, tmp_path_factory):
    """``make_tree``'s tree, for reading only: 12 train, 6 val and 2 test images of 3 classes."""
    return make_tree(tmp_path_factory.mktemp("data") / "tiny")


@dataclass
class Finished:
    """How a command ended: exit status, what it wrote to either stream, and the error lines."""

    status: object
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        return [line for line in self.err.splitlines() if line.startswith("error:")]


@pytest.fixture
def command(monkeypatch, capsys, tmp_path):
    """Runs ``cam-NAME arguments`` in this process, in ``tmp_path``: quicker than a new one."""

    def run(name: str, *arguments: str) -> Finished:
        module = importlib.import_module(f"cam_repro.cli.{name}")
        monkeypatch.setattr(sys, "argv", [f"cam-{name}", *arguments])
        monkeypatch.chdir(tmp_path)
        root = logging.getLogger()
        before, root.handlers = root.handlers, []  # commands replace them; pytest wants its own
        capsys.readouterr()
        status: object = 0
        try:
            module.main()
        except SystemExit as stop:
            status = stop.code
        finally:
            root.handlers = before
        out, err = capsys.readouterr()
        return Finished(status, out, err)

    return run


@pytest.fixture(scope="session")
def compose_config():
    """Composes a command's configuration from its words: ``compose_config("train", "seed=1")``."""

    def composed(name: str, *overrides: str) -> DictConfig:
        with hydra.initialize_config_dir(str(config_dir()), version_base="1.3"):
            return compose(name, overrides)

    return composed


@pytest.fixture
def tiny_run(tiny_tree):
    """Words for ``cam-train`` that train a network of some thousand weights in a second."""
    return [
        "model=alexnet_gap",
        "model.width=0.05",
        "model.input_size=64",
        "model.resize_size=72",
        "data=ilsvrc",
        f"data.root={tiny_tree}",
        "loader.workers=0",
        "data.cache=null",
        "optim.iterations=6",
        "optim.batch_size=4",
        "optim.lr=0.01",
        "device=cpu",
        "precision=fp32",  # auto is bf16 on some processors
        "tensorboard=false",
    ]


@pytest.fixture(scope="session")
def once(tmp_path_factory):
    """Lets the first test that needs a folder make it, and copies it for the others.

    ``once(folder, make, "what", "it depends on")``: ``make()`` writes the folder.
    """
    kept: dict[tuple[str, ...], Path] = {}

    def once(folder: Path, make: Callable[[], object], *key: str) -> Path:
        if key in kept:
            shutil.copytree(kept[key], folder)
        else:
            make()
            kept[key] = Path(shutil.copytree(folder, tmp_path_factory.mktemp("once") / "copy"))
        return folder

    return once


@pytest.fixture
def train_once(once, compose_config):
    """Trains into a folder by words of ``cam-train``: once by the same ones, for all tests."""

    def train(folder: Path, *words: str) -> Path:
        def make() -> None:
            run_training(compose_config("train", *words, f"output={folder}"))

        return once(folder, make, "train", *words)

    return train


@pytest.fixture(scope="session")
def make_tree():
    """Writes a small ILSVRC tree in the Kaggle layout.

    Classes ``n00001000``, ``n00001010`` ... called ``class 0``, ``class 1`` ...; ``train`` and
    ``val`` images a class, ``test`` images in all, of ``size`` (width, height). An image is grey
    but for a rectangle of its class's hue, its true box, a quarter of the image: at
    (3 i mod W/2, 2 i mod H/2) for image i of its class (train) or of the split (val, test).
    Classes take turns in val and test. Val lists and solutions are not in file-name order.
    """

    def make(
        root: Path,
        classes: int = 3,
        train: int = 4,
        val: int = 2,
        test: int = 2,
        size: tuple[int, int] = (32, 24),
    ) -> Path:
        width, height = size
        wnids = [f"n{1000 + 10 * c:08d}" for c in range(classes)]
        inner = root / "ILSVRC"
        parts = {part: inner / part / "CLS-LOC" for part in ("Data", "Annotations", "ImageSets")}

        def write(folder: str, name: str, c: int, i: int) -> str:
            """One image and its annotation; returns what a solution says of it."""
            x, y = 3 * i % (width // 2), 2 * i % (height // 2)
            box = (x, y, x + width // 2 - 1, y + height // 2 - 1)
            pixels = np.full((height, width, 3), 128, np.uint8)
            hue = colorsys.hsv_to_rgb(c / classes, 1, 1)
            pixels[y : y + height // 2, x : x + width // 2] = np.multiply(hue, 255)
            image = parts["Data"] / folder / f"{name}.JPEG"
            image.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(image, quality=95, subsampling=0)
            if not folder.startswith("test"):
                corners = zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
                xml = parts["Annotations"] / folder / f"{name}.xml"
                xml.parent.mkdir(parents=True, exist_ok=True)
                xml.write_text(
                    f"<annotation><size><width>{width}</width><height>{height}</height></size>"
                    f"<object><name>{wnids[c]}</name><bndbox>"
                    + "".join(f"<{tag}>{value}</{tag}>" for tag, value in corners)
                    + "</bndbox></object></annotation>"
                )
            return f"{name},{wnids[c]} {' '.join(map(str, box))} "

        lists: dict[str, list[str]] = {"train_cls": [], "val": [], "test": []}
        solutions: dict[str, list[str]] = {"train": [], "val": []}
        for c, wnid in enumerate(wnids):
            for i in range(train):
                lists["train_cls"].append(f"{wnid}/{wnid}_{i}")
                solutions["train"].append(write(f"train/{wnid}", f"{wnid}_{i}", c, i))
        for split, count in (("val", classes * val), ("test", test)):
            for i in reversed(range(count)):
                name = f"ILSVRC2012_{split}_{i + 1:08d}"
                lists[split].append(name)
                line = write(split, name, i % classes, i)
                solutions.setdefault(split, []).append(line)

        parts["ImageSets"].mkdir(parents=True)
        for name, entries in lists.items():
            lines = [f"{entry} {number}\n" for number, entry in enumerate(entries, start=1)]
            (parts["ImageSets"] / f"{name}.txt").write_text("".join(lines))
        for split in ("train", "val"):
            lines = ["ImageId,PredictionString", *solutions[split]]
            (root / f"LOC_{split}_solution.csv").write_text("\n".join(lines) + "\n")
        mapping = [f"{wnid} class {c}, also kind {c}\n" for c, wnid in enumerate(wnids)]
        (root / "LOC_synset_mapping.txt").write_text("".join(mapping))
        return root

    return make


VOC_SIZE = 60, 40
VOC_IMAGES: dict[str, list[tuple[str, tuple[float, ...], int]]] = {
    "2008_000001": [("dog", (1, 1, 30, 20), 0), ("person", (31, 21, 40, 30), 0)],
    "2008_000002": [("person", (1, 1, 60, 40), 0)],
    "2008_000003": [("cat", (11, 11, 30, 30), 0), ("dog", (31, 1, 60, 40), 1)],
    "2008_000004": [("bus", (5.6, 2.2, 24.4, 20.9), 0), ("bus", (41, 1, 60, 20), 1)],
    "2008_000005": [
        ("cat", (1, 1, 10, 10), 0),
        ("cat", (21, 1, 30, 10), 0),
        ("person", (41, 1, 60, 20), 0),
    ],
    "2008_000006": [("sheep", (1, 1, 60, 20), 1)],
}
"""The images of ``make_voc``, each of ``VOC_SIZE``: their objects' classes, boxes as VOC writes
them (pixels counted from 1, fractions now and then), and whether they are difficult."""

VOC_LISTS = {"train": (1, 2, 3), "val": (4, 5, 6), "trainval": (1, 2, 3, 4, 5, 6), "test": (7,)}
VOC_MASKS = {"train": (1, 2), "val": (4, 5)}
"""The images in the lists of Main and of Segmentation, by the ends of their names. The test image
has no annotation."""


@pytest.fixture
def make_voc(tmp_path):
    """Writes a VOCdevkit of these images as VOC's documentation describes it; gives its folder.

    A mask has the number of the class in the box of each object, later objects over earlier ones,
    and 255 in those of difficult ones.
    """

    def make(year: int = 2012) -> Path:
        from cam_repro.data.voc.image_set import CLASSES

        root = tmp_path / "VOCdevkit" / f"VOC{year}"
        for folder in ("JPEGImages", "Annotations", "SegmentationClass"):
            (root / folder).mkdir(parents=True)
        palette = [value for colour in range(256) for value in (colour, 255 - colour, 128)]
        for name, objects in {**VOC_IMAGES, "2008_000007": []}.items():
            mask_HW = np.zeros(VOC_SIZE[::-1], np.uint8)
            xml = ["<annotation>", f"<filename>{name}.jpg</filename>"]
            xml += ["<size><width>60</width><height>40</height><depth>3</depth></size>"]
            for kind, box, is_difficult in objects:
                x0, y0, x1, y1 = (round(value) for value in box)
                mask_HW[y0 - 1 : y1, x0 - 1 : x1] = 255 if is_difficult else CLASSES.index(kind) + 1
                tags = zip(("xmax", "xmin", "ymax", "ymin"), (2, 0, 3, 1), strict=True)
                corners = "".join(f"<{tag}>{box[at]}</{tag}>" for tag, at in tags)
                part = "<part><name>head</name><bndbox><xmin>2</xmin></bndbox></part>"
                xml += [f"<object><name>{kind}</name><difficult>{is_difficult}</difficult>"]
                xml += [f"<bndbox>{corners}</bndbox>{part}</object>"]
            image = Image.fromarray(mask_HW)
            image.convert("RGB").save(root / "JPEGImages" / f"{name}.jpg", quality=95)
            if objects:
                text = "\n".join([*xml, "</annotation>"])
                (root / "Annotations" / f"{name}.xml").write_text(text)
            if int(name[-1]) in (*VOC_MASKS["train"], *VOC_MASKS["val"]):
                image.putpalette(palette)
                image.save(root / "SegmentationClass" / f"{name}.png")
        for kind, lists in (("Main", VOC_LISTS), ("Segmentation", VOC_MASKS)):
            (root / "ImageSets" / kind).mkdir(parents=True)
            for name, ends in lists.items():
                lines = "".join(f"2008_00000{end}\n" for end in ends)
                (root / "ImageSets" / kind / f"{name}.txt").write_text(lines)
        signs = [("2008_000001", " 1"), ("2008_000002", "-1"), ("2008_000003", " 0")]
        of_dogs = "".join(f"{name} {sign}\n" for name, sign in signs)
        (root / "ImageSets" / "Main" / "dog_train.txt").write_text(of_dogs)
        return root.parent

    return make


CUB_IMAGES = {
    "001.Black_footed_Albatross/Albatross_0009.jpg": ((60, 40), 1, "5.0 4.0 20.0 10.0"),
    "001.Black_footed_Albatross/Albatross_0002.jpg": ((60, 40), 0, "0.0 0.0 60.0 40.0"),
    "002.Laysan_Albatross/Laysan_0003.jpg": ((50, 30), 1, "9.6 8.4 11.2 10.3"),
    "002.Laysan_Albatross/Laysan_0001.jpg": ((50, 30), 0, "5.0 10.0 46.0 12.0"),
    "003.Sooty_Albatross/Sooty_0001.jpg": ((50, 30), 1, "1.0 2.0 3.0 4.0"),
    "003.Sooty_Albatross/Sooty_0002.jpg": ((50, 30), 0, "2.0 2.0 20.0 20.0"),
}
"""The images of ``make_cub``: size, whether of training, and the box as CUB writes it (of one with
fractions, of one a pixel beyond its image)."""


def noise(path: Path, size: tuple[int, int]) -> None:
    """Writes an image of random pixels, which depend on its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(list(path.name.encode()))
    Image.fromarray(rng.integers(0, 256, (*size[::-1], 3), np.uint8)).save(path)


@pytest.fixture
def make_cub(tmp_path):
    """Writes a CUB_200_2011 of 3 classes as its README describes it; gives its folder."""

    def make() -> Path:
        root = tmp_path / "CUB_200_2011"
        lines: dict[str, list[str]] = {}
        classes = sorted({name.partition("/")[0] for name in CUB_IMAGES})
        lines["classes"] = [f"{i} {name}" for i, name in enumerate(classes, start=1)]
        for i, (name, (size, is_training, box)) in enumerate(CUB_IMAGES.items(), start=1):
            noise(root / "images" / name, size)
            of_class = classes.index(name.partition("/")[0]) + 1
            words = {"images": name, "image_class_labels": of_class, "bounding_boxes": box}
            for file, word in {**words, "train_test_split": is_training}.items():
                lines.setdefault(file, []).append(f"{i} {word}")
        for file, rows in lines.items():
            (root / f"{file}.txt").write_text("\n".join(rows) + "\n")
        return root

    return make


@pytest.fixture
def make_wsol(tmp_path):
    """Writes images and a metadata folder of Choe et al., as their README has them.

    kind: CUB, with boxes; or OpenImages, with masks, of which one image has two and one to ignore.
    Gives the words of ``data=wsol`` that name both.
    """

    def make(kind: str) -> list[str]:
        root, metadata = tmp_path / "dataset" / kind, tmp_path / "metadata" / kind
        folders = ["001.Albatross", "002.Auklet"] if kind == "CUB" else ["01226z", "0138tl"]
        for split, count in (("train", 3), ("val", 2), ("test", 2)):
            lines: dict[str, list[str]] = {"image_ids": [], "class_labels": []}
            for label, folder in enumerate(folders):
                for i in range(count):
                    name = f"{folder}/{split}{label}{i}.jpg"
                    name = name if kind == "CUB" else f"{split}/{name}"
                    noise(root / name, (40, 30))
                    lines["image_ids"].append(name)
                    lines["class_labels"].append(f"{name},{label}")
                    if kind == "CUB":
                        lines.setdefault("image_sizes", []).append(f"{name},40,30")
                        lines.setdefault("localization", []).append(f"{name},{i},2,{20 + i},22")
                    elif split != "train":
                        lines.setdefault("localization", []).extend(_masks(root, name, i))
            if split == "train":
                lines["image_ids_proxy"] = lines["image_ids"][::3]
            (metadata / split).mkdir(parents=True)
            for file, rows in lines.items():
                (metadata / split / f"{file}.txt").write_text("\n".join(rows) + "\n")
        return ["data=wsol", f"data.root={root}", f"data.metadata={metadata}"]

    def _masks(root: Path, image: str, i: int) -> list[str]:
        stem = image.removesuffix(".jpg")
        ignore = f"{stem}_ignore.png" if i == 0 else ""
        rows = [f"{image},{stem}_m0.png,{ignore}"] + [f"{image},{stem}_m1.png,"] * (i == 0)
        boxes = {f"{stem}_m0.png": (4, 4, 20, 20), f"{stem}_m1.png": (30, 4, 40, 20)}
        for file, (x0, y0, x1, y1) in {**boxes, ignore: (50, 0, 60, 10)}.items():
            mask_HW = np.zeros((60, 80), np.uint8)  # twice as large as the image
            mask_HW[y0:y1, x0:x1] = 255
            if file in "".join(rows) and file:
                Image.fromarray(mask_HW).save(root / file)
        return rows

    return make


TINY_WNIDS = ["n02124075", "n01443537"]


@pytest.fixture
def make_tiny(tmp_path):
    """Writes a tiny-imagenet-200 of 2 classes, 3 training and 2 validation images of each."""

    def make() -> Path:
        root = tmp_path / "tiny-imagenet-200"
        for wnid in TINY_WNIDS:
            rows = []
            for i in range(3):
                noise(root / "train" / wnid / "images" / f"{wnid}_{i}.JPEG", (64, 64))
                rows.append(f"{wnid}_{i}.JPEG\t{i}\t10\t63\t58")
            (root / "train" / wnid / f"{wnid}_boxes.txt").write_text("\n".join(rows) + "\n")
        rows = []
        for i in range(4):
            noise(root / "val" / "images" / f"val_{i}.JPEG", (64, 64))
            rows.append(f"val_{i}.JPEG\t{TINY_WNIDS[i % 2]}\t0\t32\t{40 + i}\t62")
        (root / "val" / "val_annotations.txt").write_text("\n".join(rows) + "\n")
        noise(root / "test" / "images" / "test_0.JPEG", (64, 64))
        (root / "wnids.txt").write_text("\n".join(TINY_WNIDS) + "\n")
        words = ["n00001740\tentity", "n01443537\tgoldfish, Carassius auratus"]
        (root / "words.txt").write_text("\n".join([*words, "n02124075\tEgyptian cat"]) + "\n")
        return root

    return make


# Processors are shared, with the other workers of pytest-xdist at least: no example is too slow.
hypothesis.settings.register_profile("tests", deadline=None)
hypothesis.settings.load_profile("tests")


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Computes on one thread, in tests and in their fixtures: others use the other processors."""
    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    yield
    torch.set_num_threads(before[0])
    cv2.setNumThreads(before[1])


# Of launchers of jobs, and of this package.
VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_", "MASTER_", "SLURM_", "SUBMITIT_", "TORCHELASTIC_")
VARIABLES += ("CAM_REPRO_ILSVRC", "CAM_REPRO_VOC", "CAM_REPRO_CUB", "CAM_REPRO_CACHE")


@pytest.fixture(scope="session", autouse=True)
def _clean_environment(tmp_path_factory):
    """Hides what the shell or the job that runs the tests has set, and gives them a cache."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(VARIABLES):
                patch.delenv(name)
        patch.setenv("CAM_REPRO_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def says_yes(value: str) -> bool:
    """Tells what an environment variable means: empty, 0, false, no and off are no."""
    return value.strip().lower() not in ("", "0", "false", "no", "off")


@pytest.fixture(scope="session")
def shared_file():
    """Path of one of the real files beside the project; a test that needs it skips without it.

    Where CAM_REPRO_REQUIRE_SHARED says yes, as in CI, it fails instead.
    """
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("CAM_REPRO_SHARED", folder))

    def find(name: str) -> Path:
        path = folder / name
        if not path.is_file():
            required = says_yes(os.environ.get("CAM_REPRO_REQUIRE_SHARED", ""))
            miss = pytest.fail if required else pytest.skip
            miss(f"{path} is not there")
        return path

    return find
