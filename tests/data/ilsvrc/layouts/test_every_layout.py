"""One small set of images in every layout that people have: the same ImageSet each time."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from layout_trees import (
    EXPECTED,
    Lay,
    Parts,
    _image_folder_boxes_elsewhere,
    _kaggle,
    _kaggle_solutions_only,
    _official,
    as_tuples,
    image_folder,
    kaggle,
    official,
    write_train_boxes,
    write_val_boxes,
)

from cam_repro.classes import ilsvrc_classes
from cam_repro.commands.evaluate import run_evaluation
from cam_repro.commands.train import run_training
from cam_repro.data.ilsvrc.image_set import load_image_set
from cam_repro.data.ilsvrc.layouts import Places, find_layout

# --- the layouts ----------------------------------------------------------------------------------


def _kaggle_without_outer_folder(root: Path, parts: Parts) -> None:
    kaggle(root, parts, inner="")


def _kaggle_without_lists(root: Path, parts: Parts) -> None:
    kaggle(root, parts)
    shutil.rmtree(root / "ILSVRC/ImageSets")


def _kaggle_val_sorted(root: Path, parts: Parts) -> None:
    kaggle(root, parts, sort=True)


def _kaggle_without_mapping(root: Path, parts: Parts) -> None:
    kaggle(root, parts)
    (root / "LOC_synset_mapping.txt").unlink()


def _kaggle_with_kit(root: Path, parts: Parts) -> None:
    kaggle(root, parts)
    shutil.copytree(parts.kit, root / "ILSVRC2012_devkit_t12/data")


def _official_boxes_by_archive(root: Path, parts: Parts) -> None:
    official(root, parts, boxes="ILSVRC2012_bbox_{split}_v3/{split}")


def _official_boxes_flat_by_archive(root: Path, parts: Parts) -> None:
    official(root, parts, boxes="ILSVRC2012_bbox_{split}_v3")


def _official_folders_by_archive(root: Path, parts: Parts) -> None:
    official(root, parts)
    for split in ("train", "val", "test"):
        (root / split).rename(root / f"ILSVRC2012_img_{split}")


def _official_without_kit(root: Path, parts: Parts) -> None:
    official(root, parts)
    shutil.rmtree(root / "ILSVRC2012_devkit_t12")


def _official_labels_without_meta(root: Path, parts: Parts) -> None:
    official(root, parts)
    (root / "ILSVRC2012_devkit_t12/data/meta.mat").unlink()


def _kit_beside_the_images(root: Path, parts: Parts) -> None:
    official(root, parts)
    shutil.copytree(parts.kit, root, dirs_exist_ok=True)
    shutil.rmtree(root / "ILSVRC2012_devkit_t12")


def _xml_among_the_images(root: Path, parts: Parts) -> None:
    official(root, parts)
    shutil.rmtree(root / "bbox")
    (root / "train").unlink()
    shutil.copytree(parts.train, root / "train")
    write_train_boxes(root / "train")
    write_val_boxes(root / "val")


def _image_folder_with_boxes(root: Path, parts: Parts) -> None:
    image_folder(root, parts)
    write_train_boxes(root / "boxes/train")
    write_val_boxes(root / "boxes/val", sort=True)


def _image_folder_boxes_of_a_kaggle_tree(root: Path, parts: Parts) -> Places:
    image_folder(root, parts)
    kaggle(root.parent / "kaggle", parts)
    return Places(boxes=str(root.parent / "kaggle"))


def _images_elsewhere(root: Path, parts: Parts) -> Places:
    root.mkdir()
    other = root.parent / "disk"
    official(other, parts)
    write_train_boxes(root / "annotations/train")
    write_val_boxes(root / "annotations/val")
    return Places(**{split: str(other / split) for split in ("train", "val", "test")})


def _everything_named(root: Path, parts: Parts) -> Places:
    root.mkdir()
    other = root.parent / "disk"
    official(other, parts)
    (other / "ILSVRC2012_devkit_t12").rename(other / "kit")
    (other / "bbox").rename(other / "xml")
    images = {part: str(other / part) for part in ("train", "val", "test")}
    return Places(**images, boxes=str(other / "xml"), devkit=str(other / "kit"))


LAYOUTS: dict[Lay, tuple[str, str, str]] = {
    # kind, where the val labels come from, where its boxes come from
    _kaggle: ("Kaggle", "", "ILSVRC/Annotations/CLS-LOC/val"),
    _kaggle_without_outer_folder: ("Kaggle", "", "Annotations/CLS-LOC/val"),
    _kaggle_solutions_only: ("Kaggle", "", "LOC_val_solution.csv"),
    _kaggle_without_lists: ("Kaggle", "", "ILSVRC/Annotations/CLS-LOC/val"),
    _kaggle_val_sorted: ("Kaggle", "class folders", "ILSVRC/Annotations/CLS-LOC/val"),
    _kaggle_without_mapping: ("Kaggle", "", "ILSVRC/Annotations/CLS-LOC/val"),
    _kaggle_with_kit: ("Kaggle", "{kit}", "ILSVRC/Annotations/CLS-LOC/val"),
    _official: ("official archives", "{kit}", "bbox/val"),
    _official_boxes_by_archive: ("official archives", "{kit}", "ILSVRC2012_bbox_val_v3/val"),
    _official_boxes_flat_by_archive: ("official archives", "{kit}", "ILSVRC2012_bbox_val_v3"),
    _official_folders_by_archive: ("official archives", "{kit}", "bbox/val"),
    _official_without_kit: ("official archives", "", "bbox/val"),
    _official_labels_without_meta: ("official archives", "{kit}", "bbox/val"),
    _kit_beside_the_images: ("official archives", "{labels}", "bbox/val"),
    _xml_among_the_images: ("official archives", "{kit}", "val"),
    _image_folder_with_boxes: ("ImageFolder", "class folders", "boxes/val"),
    _image_folder_boxes_elsewhere: ("ImageFolder", "class folders", "{above}/elsewhere/val"),
    _image_folder_boxes_of_a_kaggle_tree: (
        "ImageFolder",
        "class folders",
        "{above}/kaggle/ILSVRC/Annotations/CLS-LOC/val",
    ),
    _images_elsewhere: ("official archives", "", "annotations/val"),
    _everything_named: (
        "official archives",
        "{above}/disk/kit/data/{labels}",
        "{above}/disk/xml/val",
    ),
}


@pytest.mark.parametrize("lay", LAYOUTS, ids=lambda lay: lay.__name__.strip("_"))
def test_every_layout_is_the_same_image_set(lay, reference, parts, tmp_path):
    root = tmp_path / "root"
    places = lay(root, parts)
    for split in ("train", "val", "test"):
        images, wanted = load_image_set(root, split, places=places), reference(split)
        assert as_tuples(images) == EXPECTED[split]
        assert images.classes.wnids == ilsvrc_classes().wnids
        assert images.classes.names == ilsvrc_classes().names
        assert images.classes.devkit_ids_C.tolist() == ilsvrc_classes().devkit_ids_C.tolist()
        assert images.fingerprint == wanted.fingerprint
        assert images.name == "root"  # it is not the complete ILSVRC
        assert not images.is_ilsvrc
        for index in range(len(images)):
            assert images[index].path.is_file()
            assert images[index].path.read_bytes() == wanted[index].path.read_bytes()
        # Labels do not depend on whether boxes are read.
        without = load_image_set(root, split, places=places, with_boxes=False)
        assert without.labels_N.tolist() == images.labels_N.tolist()
        assert without.ids == images.ids

    kind, labels, boxes = LAYOUTS[lay]
    words = {"labels": "ILSVRC2012_validation_ground_truth.txt", "above": tmp_path}
    words["kit"] = f"ILSVRC2012_devkit_t12/data/{words['labels']}"
    labels, boxes = labels.format(**words), boxes.format(**words)
    expected = f"labels from {labels}, boxes from {boxes}"
    assert load_image_set(root, "val", places=places).described == f"layout {kind}, " + (
        expected if labels else f"labels and boxes from {boxes}"
    )


def test_image_one_is_490_in_the_kit_and_65_in_the_arrays(parts, tmp_path):
    official(tmp_path / "root", parts)
    images = load_image_set(tmp_path / "root", "val")
    labels = (tmp_path / "root/ILSVRC2012_devkit_t12/data").glob("*_validation_ground_truth.txt")
    assert next(labels).read_text().splitlines()[0] == "490"
    assert images[0].label == 65
    assert images.classes.submission_labels_C[65] == 490
    assert images.classes.labels_are == "ILSVRC2012_ID of the development kit"


def test_an_image_folder_without_boxes(parts, tmp_path):
    image_folder(tmp_path / "root", parts)
    for split in ("train", "val"):
        images = load_image_set(tmp_path / "root", split)
        assert as_tuples(images) == [(name, label, []) for name, label, _ in EXPECTED[split]]
        assert not images.has_boxes
        assert images.sizes_N2 is None
        assert images.described == "layout ImageFolder, labels from class folders, no boxes"


@pytest.mark.parametrize("given", ["", "ILSVRC", "ILSVRC/Data/CLS-LOC"])
def test_the_root_may_be_named_at_three_depths_of_a_kaggle_tree(
    parts, given, reference, tmp_path, monkeypatch
):
    kaggle(tmp_path / "root", parts)
    for split in ("train", "val", "test"):
        images = load_image_set(tmp_path / "root" / given, split)
        assert images.fingerprint == reference(split).fingerprint
        assert images.described.startswith("layout Kaggle")
    layout = find_layout(tmp_path / "root" / given)
    assert layout.synset_mapping == tmp_path / "root/LOC_synset_mapping.txt"
    assert layout.solutions["val"] == tmp_path / "root/LOC_val_solution.csv"
    monkeypatch.chdir(tmp_path / "root" / given)
    assert load_image_set(".", "val").fingerprint == reference("val").fingerprint


# --- what comes of it -----------------------------------------------------------------------------


def test_predictions_are_equal_byte_for_byte(parts, compose_config, tmp_path):
    network = ["model=alexnet_gap", "model.width=0.05", "model.input_size=64"]
    network += [
        "model.resize_size=72",
        "device=cpu",
        "loader.workers=0",
        f"runs={tmp_path / 'runs'}",
    ]
    kaggle(tmp_path / "kaggle", parts)
    words = [*network, "data=ilsvrc", f"data.root={tmp_path / 'kaggle'}", "tensorboard=false"]
    words += ["optim.iterations=1", "optim.batch_size=2", f"output={tmp_path / 'trained'}"]
    trained = run_training(compose_config("train", *words))

    results = []
    lays = (_kaggle, _kaggle_solutions_only, _official, _image_folder_boxes_elsewhere)
    for number, lay in enumerate(lays):
        root = tmp_path / str(number) / "root"
        root.parent.mkdir()
        places = lay(root, parts)
        words = [*network, f"model.weights={trained / 'last.pt'}", "examples=0"]
        words += ["data=ilsvrc", f"data.root={root}", f"output={tmp_path / f'out{number}'}"]
        words += [] if places is None else [f"data.boxes={places.boxes}"]
        (folder,) = run_evaluation(compose_config("eval", *words), words)
        names = ["predictions.parquet", "scores.json"]
        names += sorted(path.name for path in folder.glob("submission_*"))
        assert len(names) > 2
        results.append({name: (folder / name).read_bytes() for name in names})
    assert results[1:] == results[:1] * 3
