"""The paper's Figures 3 to 6: which images and maps they show, and what is written."""

import numpy as np
import pytest
from matplotlib.colors import to_hex
from run_builder import PICTURE, prediction, write_example_run

from cam_repro.errors import UserError
from cam_repro.figures import style
from cam_repro.figures.base import Wanted
from cam_repro.figures.best_classes import BestClasses
from cam_repro.figures.class_maps import ClassMaps
from cam_repro.figures.localization import Localization
from cam_repro.figures.side_by_side import SideBySide
from cam_repro.types import NO_LABEL

LEFT_HALF = np.kron([[1, 0]], np.ones((4, 3))).astype(np.float32)


def texts(figure):
    return [text.get_text() for text in figure.texts]


def pictures(figure):
    """Of each picture of the figure, but the legend's: the pixels in its left and right half."""
    shown = [image.get_array() for axes in figure.axes for image in axes.images]
    pixels = [np.asarray(one) for one in shown if one.ndim == 3]
    return [(tuple(p[20, 5].tolist()), tuple(p[20, -5].tolist())) for p in pixels]


def boxes(figure):
    """Of each picture with boxes: colour, x, y, width and height of each."""
    return [
        [
            (to_hex(box.get_edgecolor()), *box.get_xy(), box.get_width(), box.get_height())
            for box in axes.patches
        ]
        for axes in figure.axes
        if axes.patches
    ]


def draw(kind, *folders, **more):
    return kind.draw(Wanted(names="runs", folders=folders, **more))


# Inferno's ends over the picture's grey (105), as style and weights have them.
HOT, COLD, PLAIN = (215, 217, 149), (74, 74, 75), PICTURE


def is_near(found, expected):
    return np.abs(np.array(found) - expected).max() <= 3


def test_figure_3_shows_images_of_a_class_side_by_side(tmp_path):
    labels = {"a": 0, "b": 1, "c": 0, "d": 5, "e": NO_LABEL, "f": 1, "g": 1}
    images = [prediction(name, label=label) for name, label in labels.items()]
    folder = write_example_run(tmp_path, images)
    figure = draw(ClassMaps(columns=4), folder)
    said = texts(figure)
    # Three of class 1; the two of class 0 do not fit beside them, and that of class 5 does there.
    names = [text for text in said if text.startswith("class")]
    assert names == ["class 1"] * 3 + ["class 0"] * 2 + ["class 5"]
    found = [text for text in said if text.startswith("probability")]
    assert [text.split()[1] for text in found] == ["0.25"] * 3 + ["0.75"] * 2 + ["0.01"]
    for picture, over in zip(pictures(figure)[::2], pictures(figure)[1::2], strict=True):
        assert is_near(picture, (PLAIN, PLAIN))
        assert is_near(over, (HOT, COLD))
    unknown = write_example_run(tmp_path / "u", [prediction(label=NO_LABEL)])
    with pytest.raises(UserError, match="no true class is known"):
        draw(ClassMaps(), unknown)


def test_figure_4_shows_the_best_classes_of_one_image(tmp_path):
    heats = {"b": np.stack([LEFT_HALF, LEFT_HALF[:, ::-1], *[0 * LEFT_HALF] * 4])}
    one, other = prediction("a"), prediction("b", label=7, classes=(3, 4, 0, 1, 2))
    other.probabilities += [0.0, 0.0, 0.0]
    one.probabilities = [0.9999, 0.0001]
    folder = write_example_run(tmp_path, [one, other], heats)
    figure = draw(BestClasses(), folder)
    assert texts(figure)[:7] == [
        *("nin, cam on demo, val: maps of the best classes", "class 0", "a"),
        *("✓ class 0", "1.000", "class 1", "under 0.001"),
    ]
    figure = draw(BestClasses(), folder, images=["b"])
    assert texts(figure)[1:7] == ["class 7", "b", "class 3", "0.750", "class 4", "0.250"]
    assert texts(figure)[-1] == "images: named by hand"
    picture, best, second, *others = pictures(figure)
    assert len(others) == 3  # the map of the true class, none of the best, is not shown
    assert is_near(picture, (PLAIN, PLAIN))
    assert is_near(best, (HOT, COLD))
    assert is_near(second, (COLD, HOT))


def test_figure_5_shows_the_true_classs_map_by_each_run(tmp_path):
    one = prediction("a", label=1)
    left = {"a": np.stack([0 * LEFT_HALF, LEFT_HALF])}
    right = {"a": np.stack([0 * LEFT_HALF, LEFT_HALF[:, ::-1]])}
    folders = [
        write_example_run(tmp_path / "cam", [one], left),
        write_example_run(tmp_path / "backprop", [one], right, saliency="backprop"),
    ]
    figure = draw(SideBySide(), *folders)
    assert texts(figure)[:7] == [
        "Maps of the true class, demo, val",
        *("image", "nin, cam", "nin, backprop", "class 1", "0.25", "0.25"),
    ]
    assert is_near(pictures(figure), [(PLAIN, PLAIN), (HOT, COLD), (COLD, HOT)])
    assert boxes(figure) == [[(style.TRUE, 9.5, 9.5, 20, 20)]] * 3
    # Two runs of one name are told apart by their folders.
    figure = draw(SideBySide(), folders[0], write_example_run(tmp_path / "x", [one]))
    assert {"nin, cam", f"({folders[0]})", f"({tmp_path / 'x'})"} <= set(texts(figure))
    unknown = write_example_run(
        tmp_path / "u", [prediction(label=NO_LABEL, truth=[])], has_labels=False
    )
    said = texts(draw(SideBySide(), unknown))
    assert said[0] == "Maps of the best class, demo, val"
    assert said[3:5] == ["a", "class 0 0.75"]


def test_figure_6_shows_boxes_of_one_run_and_of_two(tmp_path):
    first = write_example_run(tmp_path / "a", [prediction(name) for name in "abc"])
    boxes_of_first = [(style.TRUE, 9.5, 9.5, 20, 20), (style.GUESSED, 9.5, 9.5, 20, 20)]
    figure = draw(Localization(columns=2), first)
    assert texts(figure)[:4] == [
        *("Localization on demo, val", "nin, cam", "✓ class 0 0.75", "IoU 1.00")
    ]
    assert boxes(figure) == [boxes_of_first] * 3
    second = write_example_run(
        tmp_path / "b", [prediction(name, box=(0, 0, 9, 9)) for name in "abc"], saliency="gradcam"
    )
    figure = draw(Localization(columns=2), first, second, count=2)
    assert texts(figure)[1:3] == ["nin, cam", "nin, gradcam"]
    assert boxes(figure)[2:] == [[boxes_of_first[0], (style.GUESSED, -0.5, -0.5, 10, 10)]] * 2
    # The whole image, set in by 6 % of the shorter side.
    figure = draw(Localization(), first, box="whole_image", count=1)
    assert boxes(figure)[0][1] == (
        style.GUESSED,
        pytest.approx(1.9),
        pytest.approx(1.9),
        55.2,
        35.2,
    )


@pytest.mark.parametrize("kind", [ClassMaps, Localization])
def test_columns_are_at_least_one(kind):
    with pytest.raises(UserError, match=r"figure\.columns=0: must be a whole number, 1 or more"):
        kind(columns=0)


def test_colours_are_those_of_matplotlib():
    assert BestClasses(colours="jet").colours == "jet"
    with pytest.raises(UserError, match=r"figure\.colours=blue: matplotlib has no colours"):
        BestClasses(colours="blue")
