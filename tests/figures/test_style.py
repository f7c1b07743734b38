import logging

import pytest
from matplotlib.figure import Figure
from PIL import Image

from cam_repro.errors import UserError
from cam_repro.figures import style


def figure():
    made = Figure(figsize=(2, 1))
    made.text(0.1, 0.5, "tabby & é ✓ $5")
    return made


def test_the_suffix_tells_the_format(tmp_path):
    for suffix in (".png", ".pdf", ".svg", ".PDF"):
        style.save(figure(), tmp_path / f"a{suffix}")
    assert Image.open(tmp_path / "a.png").size == (400, 200)
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF-1.")
    assert (tmp_path / "a.PDF").read_bytes().startswith(b"%PDF-1.")
    svg = (tmp_path / "a.svg").read_text("utf-8")
    assert svg.startswith("<?xml")
    assert ">tabby &amp; é ✓ $5</text>" in svg  # text, not outlines


@pytest.mark.parametrize("name", ["a.jpg", "a", "a.json", ".png"])
def test_another_suffix_is_refused_before_anything_is_written(tmp_path, name):
    with pytest.raises(UserError, match=r"a figure is written as \.png, \.pdf or \.svg"):
        style.save(figure(), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg"])
def test_the_same_figure_is_the_same_file(tmp_path, suffix):
    for name in "ab":
        style.save(figure(), tmp_path / f"{name}{suffix}")
    one, two = ((tmp_path / f"{name}{suffix}").read_bytes() for name in "ab")
    assert one == two


def test_a_pdf_says_nothing_of_its_fonts(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        style.save(figure(), tmp_path / "a.pdf")
    assert caplog.messages == []
