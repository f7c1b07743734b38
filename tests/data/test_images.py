"""Every kind of file that ILSVRC holds is decoded to the same RGB; bad files are named.

Sizes are those of the pixels as stored, also where the header alone is read.
"""

from __future__ import annotations

import io
import logging
import os
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from cam_repro.data.images import (
    MAX_MEGAPIXELS,
    ErrorPolicy,
    UnreadableImage,
    read_image,
    read_size,
    read_upright,
)
from cam_repro.errors import UserError

ORIENTATION = 0x0112  # EXIF tag

# Two halves, 16 x 16 each, so that JPEG keeps their colours apart.
LEFT, RIGHT = (200, 40, 90), (30, 160, 220)


def halves(left: int | tuple[int, ...], right: int | tuple[int, ...], dtype=np.uint8) -> np.ndarray:
    pixels = np.zeros((16, 32, *np.shape(left)), dtype)
    pixels[:, :16], pixels[:, 16:] = left, right
    return pixels


def check(image: Image.Image, left, right, tolerance: int = 0) -> None:
    """Both halves have their colour, everywhere, and the image its size."""
    assert image.mode == "RGB"
    assert image.size == (32, 16)
    expected = halves(left, right).astype(int)
    assert abs(np.asarray(image).astype(int) - expected).max() <= tolerance


def test_rgb_jpeg(tmp_path):
    path = tmp_path / "a.JPEG"
    Image.fromarray(halves(LEFT, RIGHT)).save(path, quality=95, subsampling=0)
    check(read_image(path), LEFT, RIGHT, 3)


def test_grey_jpeg(tmp_path):
    path = tmp_path / "a.JPEG"
    Image.fromarray(halves(40, 200)).save(path, quality=95)
    assert Image.open(path).mode == "L"
    check(read_image(path), (40, 40, 40), (200, 200, 200), 1)


def test_cmyk_jpeg(tmp_path):
    path = tmp_path / "a.JPEG"
    # Ink: no cyan and all of magenta and yellow is red; all cyan and half black is a dark cyan.
    pixels = halves((0, 255, 255, 0), (255, 0, 0, 127))
    Image.fromarray(pixels, mode="CMYK").save(path, quality=95, subsampling=0)
    assert Image.open(path).mode == "CMYK"
    check(read_image(path), (255, 0, 0), (0, 128, 128), 4)


def test_palette_png(tmp_path):
    path = tmp_path / "a.png"
    image = Image.fromarray(halves(0, 1), mode="P")
    image.putpalette([*LEFT, *RIGHT])
    image.save(path)
    assert Image.open(path).mode == "P"
    check(read_image(path), LEFT, RIGHT)


def test_png_named_jpeg(tmp_path):
    path = tmp_path / "n02105855_2933.JPEG"
    Image.fromarray(halves(LEFT, RIGHT)).save(path, format="png")
    check(read_image(path), LEFT, RIGHT)


def test_the_alpha_channel_is_dropped(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(halves((*LEFT, 0), (*RIGHT, 255))).save(path)
    check(read_image(path), LEFT, RIGHT)


def test_grey_of_16_bits_keeps_its_high_byte(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(halves(0x28FF, 0xC800, np.uint16)).save(path)
    assert Image.open(path).mode.startswith("I")
    check(read_image(path), (0x28,) * 3, (0xC8,) * 3)


def test_exif_orientation_is_ignored(tmp_path):
    path = tmp_path / "a.JPEG"
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # a viewer turns it by 90 degrees
    Image.fromarray(halves(LEFT, RIGHT)).save(path, quality=95, subsampling=0, exif=exif)
    assert Image.open(path).getexif()[ORIENTATION] == 6
    check(read_image(path), LEFT, RIGHT, 3)
    assert read_size(path) == (32, 16)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_size_is_that_of_the_decoded_image(tmp_path, mode):
    path = tmp_path / "a.JPEG"
    Image.new(mode, (31, 7)).save(path)
    assert read_size(path) == read_image(path).size == (31, 7)


def test_size_of_a_png_named_jpeg(tmp_path):
    path = tmp_path / "n02105855_2933.JPEG"
    Image.new("P", (5, 9)).save(path, format="png")
    assert read_size(path) == (5, 9)


def test_size_needs_the_header_alone(tmp_path):
    path = tmp_path / "a.JPEG"
    _truncated(path)
    assert read_size(path) == (64, 64)
    with pytest.raises(UnreadableImage):
        read_image(path)


def _truncated(path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _text(path: Path) -> None:
    path.write_text("<html>404 not found</html>")


def _empty(path: Path) -> None:
    path.touch()


def _missing(path: Path) -> None:
    pass


@pytest.mark.parametrize(
    ("read", "write", "words"),
    [
        (read_image, _truncated, "not a readable image"),  # its header is whole
        *[
            (read, write, words)
            for read in (read_image, read_size)
            for write, words in (
                (_text, "not a readable image"),
                (_empty, "not a readable image"),
                (Path.mkdir, "not a readable image"),
                (os.mkfifo, "not a readable image (a pipe, a socket or a device, not a file)"),
                (_missing, "listed but missing"),
            )
        ],
    ],
)
def test_a_bad_file_is_named(tmp_path, read, write, words):
    path = tmp_path / "n01440764_1.JPEG"
    write(path)
    with pytest.raises(UnreadableImage) as caught:
        read(path)
    assert isinstance(caught.value, UserError)
    assert str(caught.value).startswith(f"{path}: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


# --- grey of more than 8 bits


def _tiff(pixels: np.ndarray, **tags: int) -> bytes:
    """A TIFF file of one strip, as Pillow writes it; tags: what is changed of it."""
    file = io.BytesIO()
    info = TiffImagePlugin.ImageFileDirectory_v2()
    Image.fromarray(pixels).save(file, "TIFF", tiffinfo=info)
    content = bytearray(file.getvalue())
    for entry in tags.items():
        number = {"bits": 258, "colours": 262}[entry[0]]
        at = content.index(struct.pack("<HHI", number, 3, 1))
        content[at + 8 : at + 10] = struct.pack("<H", entry[1])
    return bytes(content)


def test_16_bits_in_other_formats(tmp_path):
    pixels = halves(0x28FF, 0xC800, np.uint16)
    for name in ("a.tif", "a.pgm"):
        Image.fromarray(pixels).save(tmp_path / name)
        check(read_image(tmp_path / name), (0x28,) * 3, (0xC8,) * 3)
    (tmp_path / "b.tif").write_bytes(_tiff(pixels, colours=0))  # 0 is white
    check(read_image(tmp_path / "b.tif"), (0xD7,) * 3, (0x37,) * 3)
    grey = cv2.imencode(".png", np.full((2, 2, 3), 0x8040, np.uint16))[1].tobytes()
    assert np.asarray(read_image(io.BytesIO(grey), "grey")).tolist() == [[[0x80] * 3] * 2] * 2


def test_12_bits_are_12_bits(tmp_path):
    pixels = halves(0x28F, 0xC80, np.uint16)
    packed = np.zeros((16, 48), np.uint8)  # two values in three bytes
    packed[:, 0::3] = pixels[:, 0::2] >> 4
    packed[:, 1::3] = (pixels[:, 0::2] & 15) << 4 | pixels[:, 1::2] >> 8
    packed[:, 2::3] = pixels[:, 1::2] & 255
    content = _tiff(halves(0, 0, np.uint16), bits=12)
    (tmp_path / "a.tif").write_bytes(content[: -pixels.nbytes] + packed.tobytes() + bytes(256))
    check(read_image(tmp_path / "a.tif"), (0x28,) * 3, (0xC8,) * 3)


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_what_nobody_can_know_the_white_of_is_refused(tmp_path, dtype):
    path = tmp_path / "a.tif"
    Image.fromarray(halves(0, 1, dtype)).save(path)
    assert read_size(path) == (32, 16)
    for read in (read_image, read_upright):
        with pytest.raises(UnreadableImage) as caught:
            read(path)
        message = str(caught.value)
        assert message.startswith(f"{path}: not a readable image (its pixels are ")
        assert message.endswith("; save it with 8 or 16 bits)")


def test_a_file_that_is_cut_short_is_called_unreadable_once(tmp_path):
    path = tmp_path / "a.jpg"
    Image.effect_noise((64, 64), 90).save(path)
    path.write_bytes(path.read_bytes()[:1500])
    for read in (read_image, read_upright):
        with pytest.raises(UnreadableImage) as caught:
            read(path)
        assert str(caught.value).startswith(f"{path}: not a readable image (image file is trunc")
        assert str(caught.value).count("not a readable image") == 1


def test_a_palette_with_transparency_keeps_its_colours_without_a_warning(tmp_path, recwarn):
    path = tmp_path / "a.png"
    image = Image.fromarray(halves(0, 1), mode="P")
    image.putpalette([*LEFT, *RIGHT])
    image.save(path, transparency=bytes([0, 128]))
    recwarn.clear()
    check(read_image(path), LEFT, RIGHT)
    assert not recwarn


# --- files that unpack to gigabytes


@pytest.mark.parametrize("limit", ["1", "3"])
def test_a_huge_image_is_refused_before_it_is_unpacked(tmp_path, monkeypatch, limit):
    """3 million pixels are over twice the limit of 1, where Pillow itself refuses."""
    path = tmp_path / "bomb.png"
    Image.new("1", (2000, 1501)).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
    monkeypatch.setenv(MAX_MEGAPIXELS, limit)
    for read in (read_image, read_size, read_upright):
        with pytest.raises(UnreadableImage) as error:
            read(path)
        assert str(error.value) == (
            f"{path}: has 4 million pixels, which may be meant to fill the memory: if you trust "
            "the file, set CAM_REPRO_MAX_MEGAPIXELS=4"
        )
    monkeypatch.setenv(MAX_MEGAPIXELS, "4")
    assert read_image(path).size == (2000, 1501)


def test_the_limit_of_pixels_is_a_whole_number(tmp_path, monkeypatch):
    monkeypatch.setenv(MAX_MEGAPIXELS, "1e3")
    with pytest.raises(UserError, match=r"^CAM_REPRO_MAX_MEGAPIXELS=1e3: give a whole number"):
        read_image(tmp_path / "a.png")


def test_stop_names_the_first_bad_file_and_the_way_on():
    policy = ErrorPolicy("stop")
    policy.handle([])
    with pytest.raises(UserError) as caught:
        policy.handle([UnreadableImage("a.JPEG: cut short"), UnreadableImage("b.JPEG: no image")])
    assert str(caught.value).startswith("a.JPEG: cut short; ")
    assert "loader.on_error=skip" in str(caught.value)


def test_skip_counts_and_names_each_bad_file_once(caplog):
    policy = ErrorPolicy("skip")
    with caplog.at_level(logging.WARNING):
        for _ in range(2):  # two epochs
            policy.handle([UnreadableImage("a.JPEG: cut short")])
            policy.handle([UnreadableImage("b.JPEG: no image")])
    assert policy.skipped == ["a.JPEG: cut short", "b.JPEG: no image"]
    assert [record.getMessage() for record in caplog.records] == [
        "skipped (1 so far): a.JPEG: cut short",
        "skipped (2 so far): b.JPEG: no image",
    ]
