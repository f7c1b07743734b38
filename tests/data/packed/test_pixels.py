"""Pixels of packed images: those of the source, squashed or as they are."""

from __future__ import annotations

import io

import numpy as np
import pytest
from packed_helpers import members, pack_them
from PIL import Image

from cam_repro.data.images import read_image
from cam_repro.data.loading import ViewImages
from cam_repro.data.packed.read import load_packed_set
from cam_repro.data.packed.write import Stored
from cam_repro.data.views import Ten, squash


@pytest.mark.parametrize("format", ["webp", "png", None])
@pytest.mark.parametrize("size", [20, 256])
def test_lossless_pixels_are_those_of_the_squashed_image(source, tmp_path, format, size):
    images = load_packed_set(pack_them(tmp_path / "p", source, stored=Stored(size, format)), "val")
    for index in range(6):
        original = read_image(source[index].path)
        image, stated = images.read(index)
        assert image.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(image), squash(original, size))
        assert stated == images.size(index) == source.size(index) == original.size
    assert images.sizes_N2.tolist() == [[32, 24], [32, 24], [47, 31], [40, 30], [20, 20], [32, 24]]


@pytest.mark.parametrize("quality", [None, 40])
def test_a_jpg_is_the_squashed_image_at_that_quality(source, tmp_path, quality):
    stored = Stored(64, "jpg", quality)
    images = load_packed_set(pack_them(tmp_path / "p", source, stored=stored), "val")
    content = dict(members(tmp_path / "p/val/val-000000.tar"))
    for index in range(6):
        buffer = io.BytesIO()
        wanted = Image.fromarray(squash(read_image(source[index].path), 64))
        wanted.save(buffer, "jpeg", quality=quality or 95)
        assert content[f"{index:09d}.jpg"] == buffer.getvalue()
        image, size = images.read(index)
        np.testing.assert_array_equal(np.asarray(image), np.asarray(Image.open(buffer)))
        assert size == source.size(index)


@pytest.mark.parametrize("decode", [True, False])
def test_originals_keep_their_bytes(source, tmp_path, decode):
    images = load_packed_set(pack_them(tmp_path / "p", source, decode=decode), "val")
    content = members(tmp_path / "p/val/val-000000.tar")
    assert [name for name, _ in content[::2]] == [f"{index:09d}.jpeg" for index in range(6)]
    for index in range(6):
        assert content[2 * index][1] == source[index].path.read_bytes()
        image, size = images.read(index)
        np.testing.assert_array_equal(np.asarray(image), np.asarray(source.read(index)[0]))
        assert size == images.size(index) == image.size


def test_what_boxes_refer_to_is_the_original_size(source, tmp_path):
    images = load_packed_set(pack_them(tmp_path / "p", source, stored=Stored(24)), "val")
    for index, size in ((2, (47, 31)), (3, (40, 30)), (4, (20, 20))):
        stretched = images.read(index)[0].resize(size, Image.Resampling.BILINEAR)
        assert images.original(index).size == size
        np.testing.assert_array_equal(np.asarray(images.original(index)), np.asarray(stretched))
        seen, crops_V3HW = ViewImages(images, Ten(20, 24), keep_pixels=True)[index]
        assert seen.size == size
        np.testing.assert_array_equal(seen.pixels_HW3, np.asarray(stretched))
        of_source, wanted = ViewImages(source, Ten(20, 24), keep_pixels=False)[index]
        assert of_source.size == size
        np.testing.assert_array_equal(crops_V3HW, wanted)
