"""Masks of training images: which may be used, and that they stay on their objects."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from cam_repro.data.augment import RandomResizedCrop, SquashCrop
from cam_repro.data.demo.draw import draw
from cam_repro.data.demo.source import Demo
from cam_repro.data.ilsvrc.image_set import load_image_set
from cam_repro.data.images import UnreadableImage
from cam_repro.data.loading import TrainImages, ValidationImages, collate_labelled
from cam_repro.data.masks import UNKNOWN, TrainMasks, augmented
from cam_repro.errors import UserError
from cam_repro.truth import IGNORED, LabelSets, Masks, RaggedBoxes


class Given(Masks):
    """Masks by index; an index without one has none."""

    def __init__(self, masks):
        self.masks = masks

    def of(self, index):
        return self.masks.get(index)


@pytest.fixture
def images(tiny_tree):
    """Twelve images with boxes, four of each of three classes."""
    return load_image_set(tiny_tree, "train")


# --- which may be used ---------------------------------------------------------------------------


def test_a_share_of_the_images_is_chosen_by_the_seed(images):
    def chosen(share, seed=0):
        return set(np.flatnonzero(TrainMasks(images, "boxes", share, seed).usable_N).tolist())

    assert [len(chosen(share)) for share in (0.1, 0.25, 0.5, 1)] == [1, 3, 6, 12]
    assert chosen(0.25) < chosen(0.5) == chosen(0.5)
    assert chosen(0.5) != chosen(0.5, seed=1)
    masks = TrainMasks(images, "boxes", 0.25, 0)
    assert {i for i in range(12) if masks.of(i) is not None} == chosen(0.25)


def test_filled_boxes(images):
    mask_HW = TrainMasks(images, "boxes", 1, 0).of(5)
    width, height = images.size(5)
    expected = np.zeros((height, width), int)
    for x0, y0, x1, y1 in images.boxes.of(5).tolist():
        for y in range(y0, y1 + 1):
            for x in range(x0, x1 + 1):
                expected[y, x] = 2  # class 1
    assert expected.any()
    np.testing.assert_array_equal(mask_HW, expected)


def test_what_is_ignored_is_not_known(images):
    width, height = images.size(3)
    mask_HW = np.zeros((height, width), np.uint8)
    mask_HW[0, :2] = 2, IGNORED
    masks = TrainMasks(replace(images, masks=Given({3: mask_HW})), "masks", 1, 0)
    found_HW = masks.of(3)
    assert found_HW[0, :3].tolist() == [2, UNKNOWN, 0]
    assert not found_HW[1:].any()
    assert masks.of(4) is None


def test_how_many_masks_there_are_is_said_and_none_refused(images, caplog):
    """Of images that may use theirs, some have none."""
    caplog.set_level("INFO")
    empty = np.zeros(images.size(0)[::-1], np.uint8)
    given = replace(images, masks=Given(dict.fromkeys(range(6), empty)))
    TrainMasks(given, "masks", 1, 0)
    assert "train.masks_share=1: of 12 images 12 may use theirs, and 6 of these have one" in (
        caplog.text
    )
    boxes = RaggedBoxes.from_lists([[(0, 0, 3, 3)] * (i < 5) for i in range(12)])
    TrainMasks(replace(images, boxes=boxes), "boxes", 1, 0)
    assert "train.masks_share=1: of 12 images 12 may use theirs, and 5 of these have one" in (
        caplog.text
    )
    for share in (0, 0.04):
        with pytest.raises(UserError, match=rf"^train\.masks_share={share:g}: of 12 images 0 may "):
            TrainMasks(given, "masks", share, 0)
    with pytest.raises(UserError, match=r"and 0 of these have one: raise it, or use train\.masks="):
        TrainMasks(replace(images, masks=Given({})), "masks", 1, 0)


def test_a_mask_of_another_image_or_of_no_class_is_refused(images):
    """It would be stretched, and its unknown values taken for background."""
    width, height = images.size(0)
    stretched = np.zeros((height, width + 1), np.uint8)
    masks = TrainMasks(replace(images, masks=Given({0: stretched})), "masks", 1, 0)
    said = rf"^{images.ids[0]} is {width}x{height}, its mask {width + 1}x{height}$"
    with pytest.raises(UnreadableImage, match=said):
        masks.of(0)
    odd = np.full(images.size(1)[::-1], len(images.classes) + 1, np.uint8)
    masks = TrainMasks(replace(images, masks=Given({1: odd})), "masks", 1, 0)
    with pytest.raises(
        UnreadableImage, match=rf"^{images.ids[1]}: its mask has the value 4, and there are 3 "
    ):
        masks.of(1)


def test_masks_that_are_of_no_images_size_may_have_any(images):
    class Small(Given):
        of_image_size = False

    masks = TrainMasks(replace(images, masks=Small({0: np.ones((2, 3), np.uint8)})), "masks", 1, 0)
    assert masks.of(0).shape == (2, 3)


@pytest.mark.parametrize(
    ("source", "changes", "said"),
    [
        ("masks", {}, "has no masks of its training images; use train.masks=boxes or train.masks="),
        ("boxes", {"label_sets": LabelSets.from_lists([[0]] * 12)}, "images of .* several classes"),
    ],
)
def test_what_a_set_does_not_have_is_refused(images, source, changes, said):
    with pytest.raises(UserError, match=rf"^train\.masks={source}: .*{said}"):
        TrainMasks(replace(images, **changes), source, 1, 0)


def test_a_set_without_boxes_is_refused(tiny_tree):
    with pytest.raises(UserError, match=r"^train\.masks=boxes: tiny has no boxes of its training"):
        TrainMasks(load_image_set(tiny_tree, "train", with_boxes=False), "boxes", 1, 0)


# --- the way of the image ------------------------------------------------------------------------


@pytest.mark.parametrize("augmentation", [SquashCrop(12, 20), RandomResizedCrop(12, 20)])
def test_a_mask_is_cropped_and_mirrored_as_its_image(augmentation):
    """A picture that shows where each pixel is from, and a mask that tells it, stay together."""
    rows, columns = np.mgrid[0:40, 0:60]
    pixels = np.stack([4 * columns, 6 * rows, 0 * rows], 2).astype(np.uint8)
    prepared = augmentation.prepare(Image.fromarray(pixels))
    for seed in range(8):
        varied = augmentation.vary(prepared, np.random.default_rng(seed)).astype(int)
        size = prepared.shape[1::-1]
        column_HW, row_HW = (
            augmented(augmentation, numbers, size, np.random.default_rng(seed))
            for numbers in (columns, rows)
        )
        # Interpolated in the picture, the nearest in the mask: apart by two pixels at most.
        assert abs(varied[..., 0] / 4 - column_HW).max() <= 2.5
        assert abs(varied[..., 1] / 6 - row_HW).max() <= 2.5
        assert len(np.unique(column_HW)) > 3


def test_the_numbers_of_a_mask_are_not_mixed():
    mask_HW = np.full((30, 30), UNKNOWN)
    mask_HW[::2, ::2], mask_HW[1::2, 1::2] = 1000, 70_000
    found = augmented(SquashCrop(7, 9), mask_HW, (9, 9), np.random.default_rng(0))
    assert set(np.unique(found)) <= {UNKNOWN, 1000, 70_000}
    assert len(np.unique(found)) == 3


def test_the_mask_of_an_image_stored_smaller_is_of_what_is_seen():
    mask_HW = np.zeros((80, 120), int)
    mask_HW[:, :60] = 3  # the left half
    found = augmented(RandomResizedCrop(8, 9), mask_HW, (60, 40), np.random.default_rng(4))
    stored = np.zeros((40, 60, 3), np.uint8)
    stored[:, :30] = 255
    seen = RandomResizedCrop(8, 9).vary(stored, np.random.default_rng(4))[..., 0]
    assert set(np.unique(found)) == {0, 3}
    assert (abs(found / 3 - seen / 255) < 0.51).all()


# --- batches -------------------------------------------------------------------------------------


def test_a_batch_has_the_masks_of_its_images(images):
    masks = TrainMasks(images, "boxes", 0.5, 0)
    train = TrainImages(images, SquashCrop(16, 20), 3, "no", masks=masks)
    used, unused = (int(np.flatnonzero(masks.usable_N == flag)[0]) for flag in (True, False))
    batch = collate_labelled([train[(0, used)], train[(0, unused)]])
    masks_NHW = batch.truth.masks_NHW
    assert masks_NHW.shape == (2, 16, 16)
    assert set(masks_NHW[0].unique().tolist()) == {0, int(images.labels_N[used]) + 1}
    assert (masks_NHW[1] == UNKNOWN).all()
    # The same pixels as without masks.
    plain = TrainImages(images, SquashCrop(16, 20), 3, "no")[(0, used)]
    np.testing.assert_array_equal(train[(0, used)].pixels_HW3, plain.pixels_HW3)
    assert plain.mask_HW is None


def test_a_mask_that_cannot_be_read_is_a_fault_of_its_image(images):
    class Broken(Masks):
        def of(self, index):
            raise UnreadableImage("m.png: broken")

    masks = TrainMasks(replace(images, masks=Broken()), "masks", 1, 0)
    assert str(TrainImages(images, SquashCrop(16, 20), 0, "no", masks=masks)[(0, 1)]) == (
        "m.png: broken"
    )


def test_all_classes_come_where_they_are_asked_for(images):
    several = replace(images, label_sets=LabelSets.from_lists([[0, 2]] * 11 + [[1]]))
    view = SquashCrop(16, 20).validation_view()
    for made in (
        collate_labelled(
            [TrainImages(several, SquashCrop(16, 20), 0, "no", all_classes=True)[0, 11]]
        ),
        collate_labelled([ValidationImages(several, view, "no", all_classes=True)[11]]),
    ):
        assert made.truth.has_NC.tolist() == [[False, True, False]]
        assert made.truth.are_true(made.labels_N[:, None]).tolist() == [[False]]  # the label is 2
    assert collate_labelled([ValidationImages(several, view, "no")[0]]).truth.has_NC is None
    one = collate_labelled([ValidationImages(images, view, "no", all_classes=True)[0]]).truth
    assert one.has_NC is None
    assert one.are_true(one.labels_N[:, None]).tolist() == [[True]]


def test_the_built_in_set_gives_the_masks_that_it_was_drawn_with(tmp_path, monkeypatch):
    monkeypatch.setenv("CAM_REPRO_CACHE", str(tmp_path))
    source = Demo(n_train=12, n_val=12)
    val = source.open("val", with_boxes=False)
    for index in (0, 7):
        drawing = draw("val", index)
        expected = np.any(drawing.masks, axis=0) * (drawing.label + 1)
        found = val.masks.of(index)
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, expected)
    assert source.open("train").masks.of(3).max() == source.open("train").labels_N[3] + 1
    assert source.open("test").masks is None
