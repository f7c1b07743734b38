"""The built-in data set: same pixels everywhere, true boxes, a complete tree or none."""

from __future__ import annotations

import csv
import hashlib
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cam_repro.data.demo import draw as pictures
from cam_repro.data.demo import tree as files
from cam_repro.data.demo.draw import CLASSES, draw
from cam_repro.data.demo.tree import DEMO_VERSION, demo_root, make_demo, tree_fingerprint
from cam_repro.data.ilsvrc.image_set import load_image_set
from cam_repro.errors import UserError

SIZES = {"n_train": 26, "n_val": 48, "n_test": 3}
FINGERPRINT = "2ed65da5470dfa079ceb0224a32451cc83361b1b5c40006e67008ac3e8203b1a"
"""Of the val images."""


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("demo") / "tree"
    make_demo(root, progress=False, **SIZES)
    return root


@pytest.fixture(scope="module")
def drawings():
    return [draw("val", index) for index in range(120)]


def read_boxes(xml: Path) -> tuple[ElementTree.Element, list[tuple[int, ...]]]:
    top = ElementTree.parse(xml).getroot()
    sides = ("xmin", "ymin", "xmax", "ymax")
    return top, [tuple(int(box.findtext(s)) for s in sides) for box in top.iter("bndbox")]


def read_csv(path: Path) -> dict[str, str]:
    with path.open(newline="") as file:
        return {row["ImageId"]: row["PredictionString"] for row in csv.DictReader(file)}


# --- pixels --------------------------------------------------------------------------------------


# Whoever changes what is drawn raises DEMO_VERSION and writes the new hashes here.
@pytest.mark.parametrize(
    ("split", "index", "mode", "shape", "boxes", "sha256"),
    [
        (
            "train",
            1,
            "RGB",
            (92, 116, 3),
            [(73, 9, 114, 45), (3, 8, 43, 49)],
            "7a8895aeaceeebc3eb5344b3e1a920f09fe0f212b3a470072e4eb8cf7b52e9c9",
        ),
        (
            "val",
            45,
            "L",
            (133, 106),
            [(0, 23, 77, 103)],
            "1b4cf48ca074ddea0f78e696e5617715d77340e3d256b6ebb45bacfbdc194473",
        ),
        (
            "val",
            37,
            "CMYK",
            (139, 139, 4),
            [(24, 4, 101, 81)],
            "0ac1e0c5fdac9b32e1ff619d82e38718da7465ceeea48f9381c5f37599fdae8e",
        ),
        (
            "test",
            7,
            "RGB",
            (152, 152, 3),
            [(20, 13, 85, 95)],
            "1426df6de859883c0f6fc98c7d981da06ac7d1998a3115e96bda191ed5b22466",
        ),
    ],
)
def test_pixels_are_the_same_on_every_machine(split, index, mode, shape, boxes, sha256):
    drawing = draw(split, index)
    assert drawing.mode == mode
    assert drawing.pixels.shape == shape
    assert drawing.boxes == boxes
    assert hashlib.sha256(drawing.pixels.tobytes()).hexdigest() == sha256


def test_seed_split_and_index_each_change_the_image():
    images = [draw("val", 3), draw("train", 3), draw("val", 15), draw("val", 3, seed=1)]
    assert len({drawing.pixels.tobytes() for drawing in images}) == 4
    assert [drawing.label for drawing in images] == [3, 3, 3, 3]


def test_dice_are_pcg64s_raw_output():
    dice, raw = pictures._Dice(5, "val", 9), np.random.PCG64(np.random.SeedSequence([5, 1, 9]))
    first, second = (int(word) for word in raw.random_raw(2))
    assert dice.roll(10, 16) == 10 + first % 7
    assert dice.bytes(2, 3).tolist() == [
        [second >> 8 * k & 255 for k in r] for r in [(0, 1, 2), (3, 4, 5)]
    ]


def piece(shape: str, centre: tuple[int, int], radii: tuple[int, int], **changes):
    values = {
        "material": "striped",
        "angle": 0,
        "grain_angle": 0,
        "period": 24,
        "light": np.full((3, 1, 1), 200, np.int32),
        "dark": np.full((3, 1, 1), 40, np.int32),
    }
    return pictures._Piece(shape=shape, centre=centre, radii=radii, **(values | changes))


@pytest.mark.parametrize(
    ("shape", "area"), [("disc", 452), ("square", 576), ("triangle", 288), ("cross", 320)]
)
def test_a_shape_fills_its_box(shape, area):
    # Centre (20, 25) and radii of 12 pixels: pixels 8..31 across, 13..36 down.
    mask = pictures._paint(np.zeros((3, 50, 60), np.int32), piece(shape, (80, 100), (48, 48)))
    left, top, right, bottom = pictures._tight_box(mask)
    assert (left, right, bottom) == (8, 31, 36)
    assert top in (13, 14)  # the tip of a triangle covers less than half a pixel
    assert mask.sum() == pytest.approx(area, rel=0.04)


def test_stripes_have_the_tones_and_the_period_asked_for():
    canvas = np.zeros((3, 50, 60), np.int32)
    pictures._paint(canvas, piece("square", (80, 100), (40, 40)))
    # Period 24 quarter pixels, from the centre at 20: three pixels light, three dark.
    assert canvas[0, 25, 10:30].tolist() == [
        *(200, 40, 40, 40, 200, 200, 200, 40, 40, 40),
        *(200, 200, 200, 40, 40, 40, 200, 200, 200, 40),
    ]
    assert canvas[:, :, :10].max() == 0


def test_masks_say_where_the_paint_is():
    turned = piece("cross", (90, 70), (60, 44), angle=4, grain_angle=11, rim=True, shade=(40, -40))
    black, white = np.zeros((3, 40, 50), np.int32), np.full((3, 40, 50), 255, np.int32)
    mask = pictures._paint(black, turned)
    assert np.array_equal(mask, pictures._paint(white, turned))
    # What shines through is what was not painted.
    assert np.array_equal(mask, (white - black)[0] < 130)


def test_boxes_are_tight_and_inside(drawings):
    for drawing in drawings:
        height, width = drawing.pixels.shape[:2]
        assert 1 <= len(drawing.boxes) == len(drawing.masks) <= 3
        for mask, (x0, y0, x1, y1) in zip(drawing.masks, drawing.boxes, strict=True):
            assert 0 <= x0 < x1 <= width - 1
            assert 0 <= y0 < y1 <= height - 1
            assert mask.shape == (height, width)
            assert mask[y0 : y1 + 1, x0 : x1 + 1].sum() == mask.sum()
            for edge in (mask[y0, :], mask[y1, :], mask[:, x0], mask[:, x1]):
                assert edge.any()


def test_instances_do_not_hide_each_other(drawings):
    for drawing in drawings:
        assert np.sum(drawing.masks, axis=0).max() == 1
    counts = Counter(len(drawing.boxes) for drawing in drawings)
    assert counts[1] > counts[2] > counts[3] > 0


def test_sides_and_modes_are_mixed(drawings):
    sizes = {drawing.pixels.shape[:2] for drawing in drawings}
    assert min(min(size) for size in sizes) >= 64
    assert max(max(size) for size in sizes) <= 160
    assert {np.sign(height - width) for height, width in sizes} == {-1, 0, 1}
    modes = Counter(drawing.mode for drawing in drawings)
    assert modes["RGB"] > 100
    assert modes["L"] >= 1
    assert modes["CMYK"] >= 1


def test_the_box_of_the_whole_image_is_hardly_ever_right(drawings):
    def largest(drawing):
        areas = [(x1 - x0 + 1) * (y1 - y0 + 1) for x0, y0, x1, y1 in drawing.boxes]
        return max(areas) / (drawing.pixels.shape[0] * drawing.pixels.shape[1])

    # The intersection with the whole image is the box itself, so this is the IoU.
    right = np.mean([largest(drawing) >= 0.5 for drawing in drawings])
    assert 0 < right < 0.15


def test_neither_shape_nor_material_tells_the_class():
    assert len(CLASSES) == 12
    assert [kind.wnid for kind in CLASSES] == sorted(f"n{90000010 + k}" for k in range(12))
    assert set(Counter(kind.shape for kind in CLASSES).values()) == {3}
    assert set(Counter(kind.material for kind in CLASSES).values()) == {2}


# --- the tree ------------------------------------------------------------------------------------


def test_the_layout_is_that_of_ilsvrc(tree):
    files = {path.relative_to(tree).as_posix() for path in tree.rglob("*") if path.is_file()}
    assert len(files) == 26 + 48 + 3 + 26 + 48 + 26 + 48 + 3 + 3
    assert {
        "Data/CLS-LOC/train/n90000010/n90000010_1.JPEG",
        "Annotations/CLS-LOC/train/n90000010/n90000010_3.xml",
        "Masks/CLS-LOC/train/n90000010/n90000010_3.png",
        "Masks/CLS-LOC/val/demo_val_00000048.png",
        "Data/CLS-LOC/val/demo_val_00000048.JPEG",
        "Annotations/CLS-LOC/val/demo_val_00000048.xml",
        "Data/CLS-LOC/test/demo_test_00000003.JPEG",
        "ImageSets/CLS-LOC/train_cls.txt",
        "ImageSets/CLS-LOC/val.txt",
        "ImageSets/CLS-LOC/test.txt",
        "LOC_train_solution.csv",
        "LOC_val_solution.csv",
        "LOC_synset_mapping.txt",
    } <= files
    mapping = (tree / "LOC_synset_mapping.txt").read_text().splitlines()
    assert mapping[0] == "n90000010 striped disc"
    assert [line.split()[0] for line in mapping] == [kind.wnid for kind in CLASSES]


def test_classes_are_balanced(tree):
    for split in ("train", "val"):
        truth = read_csv(tree / f"LOC_{split}_solution.csv")
        counts = Counter(text.split()[0] for text in truth.values())
        assert set(counts) == {kind.wnid for kind in CLASSES}
        assert max(counts.values()) - min(counts.values()) <= 1


@pytest.mark.parametrize("split", ["train", "val"])
def test_lists_annotations_and_tables_agree(tree, split):
    listing = tree / "ImageSets" / "CLS-LOC" / ("train_cls.txt" if split == "train" else "val.txt")
    names, numbers = zip(*(line.split() for line in listing.read_text().splitlines()), strict=True)
    assert [int(number) for number in numbers] == list(range(1, SIZES[f"n_{split}"] + 1))
    table = read_csv(tree / f"LOC_{split}_solution.csv")
    assert [name.split("/")[-1] for name in names] == list(table)
    for name in names:
        top, boxes = read_boxes(tree / "Annotations" / "CLS-LOC" / split / f"{name}.xml")
        words = table[name.split("/")[-1]].split()
        wnids = {obj.findtext("name") for obj in top.iter("object")}
        assert words == [str(word) for box in boxes for word in (*wnids, *box)]
        assert top.findtext("filename") == name.split("/")[-1]
        if split == "train":
            assert {name.split("/")[0]} == wnids == {top.findtext("folder")}
        with Image.open(tree / "Data" / "CLS-LOC" / split / f"{name}.JPEG") as image:
            told = [int(top.findtext(f"size/{key}")) for key in ("width", "height", "depth")]
            assert told == [*image.size, len(image.getbands())]


def test_files_hold_what_was_drawn(tree):
    seen = Counter()
    for index in range(SIZES["n_val"]):
        drawing = draw("val", index)
        name = f"demo_val_{index + 1:08d}"
        _, boxes = read_boxes(tree / "Annotations" / "CLS-LOC" / "val" / f"{name}.xml")
        assert boxes == drawing.boxes
        with Image.open(tree / "Data" / "CLS-LOC" / "val" / f"{name}.JPEG") as image:
            assert (image.format, image.mode) == ("JPEG", drawing.mode)
            difference = np.asarray(image).astype(int) - drawing.pixels
        assert abs(difference).mean() < 14  # JPEG halves the resolution of colours
        seen[drawing.mode] += 1
    assert set(seen) == {"RGB", "L", "CMYK"}


def test_masks_are_what_was_drawn(tree):
    for index in range(SIZES["n_val"]):
        drawing = draw("val", index)
        name = f"demo_val_{index + 1:08d}"
        with Image.open(tree / "Masks" / "CLS-LOC" / "val" / f"{name}.png") as image:
            assert image.mode == "L"
            mask_HW = np.asarray(image)
        assert set(np.unique(mask_HW)) == {0, 255}
        union_HW = np.zeros(mask_HW.shape, bool)
        for of_object_HW, (x0, y0, x1, y1) in zip(drawing.masks, drawing.boxes, strict=True):
            union_HW |= of_object_HW
            inside_HW = mask_HW[y0 : y1 + 1, x0 : x1 + 1] == 255
            assert all(inside_HW.any(axis).all() for axis in (0, 1))  # the box is tight
        assert ((mask_HW == 255) == union_HW).all()


def test_masks_change_nothing_that_is_known_of_the_set(tree):
    """The fingerprint is that of version 2, which had no masks."""
    assert load_image_set(tree, "val").fingerprint == FINGERPRINT


def test_inks_print_the_colour_they_stand_for():
    rgb = np.array([[200, 90, 10], [0, 0, 0], [255, 255, 255], [60, 120, 61]])
    inks = pictures._cmyk(rgb.T[:, None, :])[:, 0].T
    printed = (255 - inks[:, :3]) * (255 - inks[:, 3:]) / 255
    assert abs(printed - rgb).max() < 2
    assert inks[0].tolist() == [32, 155, 244, 27]


def test_the_same_tree_twice(tree, tmp_path):
    make_demo(tmp_path / "again", progress=False, n_train=4, n_val=3, n_test=2)
    make_demo(tmp_path / "once more", progress=False, n_train=4, n_val=3, n_test=2)
    make_demo(tmp_path / "other", progress=False, n_train=4, n_val=3, n_test=2, seed=1)
    prints = [tree_fingerprint(tmp_path / name) for name in ("again", "once more", "other")]
    assert prints[0] == prints[1] != prints[2]
    # An image does not depend on how many there are.
    same = "Data/CLS-LOC/val/demo_val_00000003.JPEG"
    assert (tmp_path / "again" / same).read_bytes() == (tree / same).read_bytes()


def test_fingerprint_is_of_names_and_contents(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x").write_bytes(b"two")
    (tmp_path / "a").write_bytes(b"one")
    whole = hashlib.sha256(b"a\x003\x00one" + b"b/x\x003\x00two").hexdigest()
    assert tree_fingerprint(tmp_path) == whole


# --- whole or not at all -------------------------------------------------------------------------


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_interrupted_making_leaves_nothing(monkeypatch, tmp_path, error):
    calls = []

    def draw_some(*args):
        calls.append(args)
        if len(calls) > 3:
            raise error
        return draw(*args)

    monkeypatch.setattr(files, "draw", draw_some)
    with pytest.raises(error):
        make_demo(tmp_path / "demo", progress=False)
    assert len(calls) == 4
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_removed_and_what_another_draws_is_not(tmp_path):
    root = tmp_path / "demo"
    killed = tmp_path / ".demo-0123abcd"
    (killed / "Data").mkdir(parents=True)
    mine = tmp_path / ".demo-of-mine"
    mine.mkdir()
    with files._unfinished(root) as drawn_by_another:
        make_demo(root, n_train=1, n_val=1, n_test=1, progress=False)
        assert drawn_by_another.is_dir()
        lock = drawn_by_another.with_name(f"{drawn_by_another.name}.lock")
        assert set(tmp_path.iterdir()) == {root, mine, drawn_by_another, lock}
    assert set(tmp_path.iterdir()) == {root, mine}


def test_an_existing_folder_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(UserError, match="exists already"):
        make_demo(tmp_path, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file.demo .*CAM_REPRO_CACHE"):
        make_demo(tmp_path / "file" / "demo", progress=False)


@pytest.mark.parametrize(
    "settings",
    [{"seed": -1}, {"n_train": 0}, {"n_val": 2.5}, {"n_test": True}, {"seed": 2**31}],
)
def test_impossible_settings_are_refused(tmp_path, settings):
    with pytest.raises(UserError, match=next(iter(settings))):
        make_demo(tmp_path / "demo", progress=False, **settings)
    with pytest.raises(UserError, match=next(iter(settings))):
        demo_root(tmp_path, **settings)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_setting_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"'n_trian'.*n_train"):
        demo_root(tmp_path, n_trian=3)


def test_the_cache_is_made_once_for_each_setting(tmp_path, monkeypatch):
    small = {"n_train": 1, "n_val": 1, "n_test": 1, "progress": False}
    first = demo_root(tmp_path, **small)
    assert first.parent == tmp_path
    assert first.name.startswith(f"demo-{DEMO_VERSION}-")
    assert demo_root(tmp_path, seed=1, **small) != first
    monkeypatch.delattr(files, "make_demo")  # nothing is made from here on
    assert demo_root(tmp_path, **small) == first
    assert demo_root(tmp_path, seed=0, **small) == first


def test_the_loser_of_a_race_takes_the_winners_tree(tmp_path, monkeypatch):
    write_split = files._write_split

    def overtaken(root, split, *args):
        write_split(root, split, *args)
        if split == "test":
            winner = root.with_name(root.name[1:].rsplit("-", 1)[0])
            winner.mkdir()
            (winner / "winner").touch()

    monkeypatch.setattr(files, "_write_split", overtaken)
    root = demo_root(tmp_path, n_train=1, n_val=1, n_test=1, progress=False)
    assert [path.name for path in root.iterdir()] == ["winner"]
    assert list(tmp_path.iterdir()) == [root]


def test_a_file_in_the_way_of_the_cache_is_named(tmp_path):
    small = {"n_train": 1, "n_val": 1, "n_test": 1, "progress": False}
    root = demo_root(tmp_path / "a", **small)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / root.name).touch()
    with pytest.raises(UserError, match=root.name):
        demo_root(tmp_path / "b", **small)


def test_where_the_cache_is(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(
        files, "make_demo", lambda root, **_: made.append(root) or root.mkdir(parents=True)
    )
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("CAM_REPRO_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert demo_root().parent == tmp_path / "home" / ".cache" / "cam_repro"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert demo_root().parent == tmp_path / "xdg" / "cam_repro"
    monkeypatch.setenv("CAM_REPRO_CACHE", str(tmp_path / "own"))
    assert demo_root().parent == tmp_path / "own"
    assert len(made) == 3
