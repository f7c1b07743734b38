"""How the sets of Table 5 are parted: by their lists, or at random."""

import re
from dataclasses import replace

import numpy as np
import pytest
from omegaconf import OmegaConf

from cam_repro.config import build
from cam_repro.errors import UserError
from cam_repro.generic.partitions import (
    Labelled,
    ListedByClass,
    ListedPartition,
    Partition,
    RandomPartition,
)

IMAGES = Labelled(
    [f"{name}/{number}" for name in ("cat", "dog", "junk") for number in range(5)],
    np.repeat([0, 1, 2], 5).astype(np.int32),
    ["cat", "dog", "junk"],
)


def of_class(parted, rows):
    return np.bincount(parted.images.labels_N[rows], minlength=len(parted.images.classes)).tolist()


def test_a_random_partition_draws_for_each_class():
    partition = RandomPartition("a", train=3, test=1, repeats=2, seed=4)
    parted = partition.part(IMAGES, 0)
    assert of_class(parted, parted.train) == [3, 3, 3]
    assert of_class(parted, parted.test) == [1, 1, 1]
    assert not set(parted.train) & set(parted.test)
    again, other = partition.part(IMAGES, 0), partition.part(IMAGES, 1)
    assert again.train.tolist() == parted.train.tolist() != other.train.tolist()
    rest = RandomPartition("a", train=3).part(IMAGES, 0)
    assert sorted([*rest.train, *rest.test]) == list(range(15))


def test_classes_that_are_left_out_are_no_classes():
    parted = RandomPartition("a", train=4, without=["dog"]).part(IMAGES, 0)
    assert parted.images.classes == ["cat", "junk"]
    assert {IMAGES.ids[row].partition("/")[0] for row in parted.train} == {"cat", "junk"}
    assert of_class(parted, parted.test) == [1, 1]


def test_a_name_that_is_no_class_cannot_be_left_out():
    """Left as it is, it would leave the class in, as 101/BACKGROUND_Google."""
    deeper = replace(IMAGES, classes=["cat", "dog", "101/junk"])
    with pytest.raises(UserError, match=r"no class is called junk: is it 101/junk\?"):
        RandomPartition("a", train=3, without=["junk"]).part(deeper, 0)
    with pytest.raises(UserError, match="no class is called cow: take it out of the list"):
        RandomPartition("a", train=3, without=["dog", "cow"]).part(IMAGES, 0)
    with pytest.raises(UserError, match=r"without=junkyard: give a list .*without=\[junkyard\]"):
        RandomPartition("a", train=3, without="junkyard")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["indoor67", "repeats=0"], "partition.repeats=0: give a whole number of 1 or more"),
        (["indoor67", "repeats=x"], "partition.repeats=x: give a whole number of 1 or more"),
        (["indoor67", "train=5"], "partition.train=5: is a name of lists here"),
        (["action40", "test=5"], "partition.test=5: is a name of lists here"),
        (["random", "seed=-1"], "partition.seed=-1: give a whole number of 0 or more"),
        (["random", "seed=x"], "partition.seed=x: give a whole number of 0 or more"),
        (["indoor67", "repeats=5"], "partition.repeats=5: the lists are one, as their names have"),
        (["sun397", "train='a_{x}.txt'"], "{} alone stands for the number of the repeat"),
    ],
)
def test_settings_that_cannot_be_are_said(compose_config, words, message):
    name, setting = words
    config = compose_config("generic", f"partition={name}", f"partition.{setting}")
    with pytest.raises(UserError, match=re.escape(message)):
        build(Partition, "partition", OmegaConf.to_container(config.partition))


def test_lists_of_classes_have_one_repeat(lists):
    """More would train the same SVM again, and say that the results have no spread."""
    partition = ListedByClass("a", "_train.txt", "_test.txt", lists())
    assert partition.repeats == 1
    settings = {"_target_": "cam_repro.generic.partitions.ListedByClass", "name": "a"}
    with pytest.raises(UserError, match="repeats"):
        build(
            Partition,
            "partition",
            {**settings, "train": "_train.txt", "test": "_test.txt", "repeats": 5},
        )


def test_a_class_of_too_few_images_is_refused():
    with pytest.raises(UserError, match=r"partition.train=5: class cat has 5 images"):
        RandomPartition("a", train=5).part(IMAGES, 0)
    with pytest.raises(UserError, match=r"partition.test=0"):
        RandomPartition("a", train=5, test=0)


def test_images_without_labels_are_no_class_of_few_images(lists):
    images = replace(IMAGES, labels_N=np.full(15, -1, np.int32))
    none = r"cat/\d: has no label \({} images have none\).* data=folder with a folder for each"
    with pytest.raises(UserError, match=none.format("15 of 15")):
        RandomPartition("a", train=3).part(images, 0)
    folder = lists(a=["cat/1.jpg"], b=["dog/1.jpg", "dog/2.jpg"])
    with pytest.raises(UserError, match=none.format("3 of 3")):
        ListedPartition("a", "a.txt", "b.txt", folder).part(images, 0)
    images.labels_N[:14] = 0
    with pytest.raises(UserError, match=r"junk/4: has no label \(1 of 15"):
        RandomPartition("a", train=3).part(images, 0)


@pytest.fixture
def lists(tmp_path):
    def write(**texts):
        for name, lines in texts.items():
            (tmp_path / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))
        return str(tmp_path)

    return write


def test_lists_name_the_images(lists, caplog):
    folder = lists(
        train_01=["/cat/1.jpg", "dog/0.jpg"], test_01=["cat/2.jpg", "dog/9.jpg"], train_02=[]
    )
    partition = ListedPartition("a", "train_{:02d}.txt", "test_{:02d}.txt", folder, repeats=2)
    parted = partition.part(IMAGES, 0)
    assert [IMAGES.ids[row] for row in parted.train] == ["cat/1", "dog/0"]
    assert [IMAGES.ids[row] for row in parted.test] == ["cat/2"]
    assert "1 of its 2 images are not among the features, and left out (the first: dog/9)" in (
        caplog.text
    )
    with pytest.raises(UserError, match=r"train_02.txt: none of its 0 images"):
        partition.part(IMAGES, 1)


def test_lists_that_share_images_or_are_of_others_are_refused(lists):
    folder = lists(a=["cat/1.jpg"], b=["cat/1.jpg", "dog/1.jpg"], c=["cow/1.jpg"])
    with pytest.raises(UserError, match="cat/1: is listed for training and for test"):
        ListedPartition("a", "a.txt", "b.txt", folder).part(IMAGES, 0)
    with pytest.raises(UserError, match=r"\(the first: cow/1; theirs is cat/0\)"):
        ListedPartition("a", "c.txt", "b.txt", folder).part(IMAGES, 0)
    with pytest.raises(UserError, match=r"d.txt: missing"):
        ListedPartition("a", "d.txt", "b.txt", folder).part(IMAGES, 0)
    with pytest.raises(UserError, match="lists is not given"):
        ListedPartition("a", "a.txt", "b.txt").part(IMAGES, 0)


def test_lists_of_classes_tell_the_labels(lists):
    """As Stanford's 40 actions: all images lie side by side."""
    images = Labelled(["run_1", "run_2", "sit_1", "sit_2"], np.full(4, -1), ["a"])
    folder = lists(
        sit_train=["sit_1.jpg"],
        sit_test=["sit_2.jpg"],
        run_train=["run_2.jpg"],
        run_test=["run_1.jpg"],
        train=["run_2.jpg", "sit_1.jpg"],
        actions=["action_name number_of_images"],
    )
    parted = ListedByClass("a", "_train.txt", "_test.txt", folder).part(images, 0)
    assert parted.images.classes == ["run", "sit"]
    assert [(images.ids[row], parted.images.labels_N[row]) for row in parted.train] == [
        ("run_2", 0),
        ("sit_1", 1),
    ]
    assert [images.ids[row] for row in parted.test] == ["run_1", "sit_2"]
    with pytest.raises(UserError, match=r"has no file NAME_no.txt"):
        ListedByClass("a", "_no.txt", "_test.txt", folder).part(images, 0)


def test_an_image_counts_once(lists):
    """It would be trained on or tested twice, or have the label of the last class."""
    folder = lists(
        a=["cat/1.jpg", "cat/2.jpg", "/cat/1.jpg"],
        b=["dog/1.jpg"],
        run_train=["cat/1.jpg"],
        sit_train=["cat/2.jpg"],
        run_test=["cat/3.jpg"],
        sit_test=["cat/4.jpg", "cat/3.jpg"],
        sit_other=["cat/1.jpg"],
        run_other=["cat/0.jpg"],
    )
    for train, test in (("a.txt", "b.txt"), ("b.txt", "a.txt")):
        with pytest.raises(UserError, match=r"a.txt: lists cat/1 more than once \(1 images are"):
            ListedPartition("a", train, test, folder).part(IMAGES, 0)
    for end, message in (
        ("_test.txt", "sit_test.txt: lists cat/3, which is listed as run too"),
        ("_other.txt", "sit_other.txt: lists cat/1, which is listed as run too"),
    ):
        with pytest.raises(UserError, match=message):
            ListedByClass("a", "_train.txt", end, folder).part(IMAGES, 0)
