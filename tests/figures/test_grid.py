import pytest

from cam_repro.figures.grid import Grid, fitted, text_width, wrapped

LONG = "Rhodesian ridgeback, a dog of Africa"


def test_text_is_cut_to_its_width():
    assert fitted("tabby", 1.0, 7.5) == "tabby"
    cut = fitted(LONG, 1.0, 7.5)
    assert cut.endswith("…")
    assert LONG.startswith(cut[:-1])
    assert 0.8 < text_width(cut, 7.5) <= 1.0
    assert fitted(LONG, 1.5, 7.5)[-2:] != ",…"
    assert fitted("mmmm", 0.01, 7.5) == "m…"


def test_the_second_part_is_never_cut():
    cut = fitted((LONG, " 0.75"), 1.0, 7.5)
    assert cut.endswith("… 0.75")
    assert text_width(cut, 7.5) <= 1.0
    assert fitted(("tabby", " 0.75"), 1.0, 7.5) == "tabby 0.75"


def test_notes_are_broken_into_lines():
    lines = wrapped("one two three four five six", 0.7, 6.5)
    assert lines == ["one two three", "four five six"]
    assert max(text_width(line, 6.5) for line in lines) <= 0.7
    assert wrapped("unbreakable", 0.1, 6.5) == ["unbreakable"]
    assert wrapped("", 1, 6.5) == []
    grid = Grid(1, 1, "A title of a few words more than there is room for in a narrow figure")
    title = [text.get_text() for text in grid.figure.texts]
    assert len(title) == 2
    assert " ".join(title) == grid.title


def test_cells_have_one_size_and_do_not_overlap():
    grid = Grid(2, 3, "A title", above=2, headings={(1, 0): "below"}, notes=["a note"])
    places = [grid.axes(row, column).get_position() for row in (0, 1) for column in (0, 1, 2)]
    width, height = grid.figure.get_size_inches()
    for place in places:
        assert (place.width * width, place.height * height) == pytest.approx((1.32, 1.0))
    assert places[0].x1 < places[1].x0 < places[1].x1 < places[2].x0
    # Between the rows: two lines of text and a heading, and the gap.
    between = (places[0].y0 - places[3].y1) * height
    assert between == pytest.approx(2 * 0.135 + 0.19 + 0.08)
    assert places[2].x1 * width == pytest.approx(width - 0.1)
