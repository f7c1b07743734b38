"""Images that cannot be read, when packed and after."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from packed_helpers import ORIGINALS, VAL, members, noise, pack_them, same_sets
from PIL import Image

from cam_repro.data.images import UnreadableImage
from cam_repro.data.loading import ViewImages
from cam_repro.data.packed.read import load_packed_set
from cam_repro.data.packed.write import Stored
from cam_repro.data.views import Squash
from cam_repro.errors import UserError


def spoil(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


@pytest.mark.parametrize("stored", [ORIGINALS, Stored(16)])
def test_an_unreadable_image_ends_it_and_leaves_nothing(source, tmp_path, stored):
    spoil(source[3].path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UserError, match=rf"{VAL}4\.JPEG: not a readable .* loader\.on_error=skip"):
        pack_them(tmp_path / "p", source, stored=stored)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("stored", [ORIGINALS, Stored(16)])
def test_or_it_stays_the_unreadable_one_among_the_same_images(source, tmp_path, stored):
    spoil(source[3].path)
    source[4].path.unlink()
    folder = pack_them(tmp_path / "p", source, stored=stored, on_error="skip")
    images = load_packed_set(folder, "val")
    assert same_sets(images, source)
    keys = {name.partition(".")[0] for name, _ in members(folder / "val/val-000000.tar")}
    assert keys == {"000000000", "000000001", "000000002", "000000005"}
    skipped = json.loads((folder / "manifest.json").read_text())["splits"]["val"]["skipped"]
    assert [message.partition(": ")[0] for message in skipped] == [
        *(str(source[index].path) for index in (3, 4))
    ]
    for read in (images.read, images.size, images.original):
        with pytest.raises(UnreadableImage) as caught:
            read(3)
        assert str(caught.value) == f"{folder}/val: image {VAL}4: could not be read when packed"
    assert isinstance(ViewImages(images, Squash(8, 8), keep_pixels=False)[4], UnreadableImage)
    assert images.read(5)[1] == (32, 24)


def test_without_decoding_a_broken_image_is_packed_as_it_is(source, tmp_path):
    path = source[5].path
    Image.fromarray(noise(64, 80)).save(path)
    path.write_bytes(path.read_bytes()[:-500])
    images = load_packed_set(pack_them(tmp_path / "p", source, decode=False), "val")
    assert images.size(5) == (80, 64)
    shard = tmp_path / "p/val/val-000000.tar"
    with pytest.raises(UnreadableImage) as caught:
        images.read(5)
    assert str(caught.value).startswith(f"{shard}: image {VAL}6: not a readable image (")
    assert images[5].path == shard


def test_a_damaged_image_is_named_with_its_shard(source, tmp_path):
    folder = pack_them(tmp_path / "p", source, shard_bytes=1)
    images = load_packed_set(folder, "val")
    shard = folder / "val/val-000002.tar"
    content = bytearray(shard.read_bytes())
    content[512:700] = bytes(188)
    shard.write_bytes(content)
    with pytest.raises(
        UnreadableImage, match=rf"val-000002\.tar: image {VAL}3: is not as it was packed"
    ):
        images.read(2)
    assert images.read(3)[1] == (40, 30)
    (folder / "val/val-000004.tar").unlink()  # after the check at opening
    with pytest.raises(UnreadableImage, match=rf"val-000004\.tar: image {VAL}5: cannot be read"):
        images.read(4)
