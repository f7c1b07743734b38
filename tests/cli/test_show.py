"""``cam-show``, from the command line to its pictures."""

import numpy as np
import pytest
from PIL import Image

from cam_repro.words import hydra_words


@pytest.fixture
def trained(train_once, tiny_run, tmp_path):
    """Words for ``cam-show`` that name a network of three classes."""
    weights = train_once(tmp_path / "trained", *tiny_run) / "last.pt"
    return ["model=alexnet_gap", f"model.weights={weights}", "device=cpu"]


@pytest.fixture
def photographs(tmp_path):
    """A folder of two photographs, one of them turned by its EXIF data, and a file of text."""
    folder = tmp_path / "my photos (1)"
    folder.mkdir()
    pixels = np.zeros((60, 80, 3), np.uint8)
    pixels[:30, :40] = [255, 0, 0]
    Image.fromarray(pixels).save(folder / "a, b.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(folder / "turned.JPG", exif=exif)
    (folder / "notes.txt").write_text("no image")
    return folder


def test_a_picture_of_each_class_and_a_sheet(command, trained, photographs):
    shown = command("show", str(photographs / "a, b.png"), *trained)
    assert shown.status == 0, shown.err
    names = sorted(path.name for path in photographs.parent.joinpath("shown", "a, b").iterdir())
    assert names[-1] == "sheet.png"
    assert [name[:2] for name in names[:-1]] == ["1-", "2-", "3-"]
    assert "cam of AlexNet-GAP, image of 80x60 pixels" in shown.out
    assert "(4 files)" in shown.err
    with Image.open(photographs.parent / "shown" / "a, b" / names[0]) as picture:
        assert picture.size == (480, 360)  # enlarged to 480 pixels


def test_a_folder_of_photographs_by_two_methods(command, trained, photographs):
    shown = command(
        *("show", f"image={photographs}", *trained, "saliency=[cam,backprop]", "class=n00001010"),
        *("output=there", "format=svg"),
    )
    assert shown.status == 0, shown.err
    there = photographs.parent / "there"
    assert sorted(str(path.relative_to(there)) for path in there.rglob("*.*")) == [
        "a, b/alexnet_gap-backprop-1-n00001010.svg",
        "a, b/alexnet_gap-cam-1-n00001010.svg",
        "a, b/sheet.svg",
        "turned/alexnet_gap-backprop-1-n00001010.svg",
        "turned/alexnet_gap-cam-1-n00001010.svg",
        "turned/sheet.svg",
    ]
    assert "turned.JPG (turned upright by its EXIF data, which scoring ignores)" in shown.out
    assert "image of 60x80 pixels" in shown.out
    sheet = (there / "turned" / "sheet.svg").read_text()
    for word in ("AlexNet-GAP", ">cam<", ">backprop<", "n00001010"):
        assert word in sheet


def test_a_broken_file_of_a_folder_is_left_out_by_name(command, trained, photographs):
    (photographs / "broken.jpg").write_bytes(b"no image")
    shown = command("show", str(photographs), *trained, "top=1")
    assert shown.status == 0, shown.err
    assert "left out:" in shown.err
    assert "broken.jpg: not a readable image" in shown.err
    assert f"{photographs}: left out are 1 others (notes.txt)" in shown.err
    assert {path.name for path in (photographs.parent / "shown").iterdir()} == {"a, b", "turned"}


def test_names_of_dots_stay_below_the_output(command, trained, photographs):
    folder = photographs.parent / "dots"
    folder.mkdir()
    for name in ("...jpg", "..jpg"):  # their stems are .. and .
        (folder / name).write_bytes((photographs / "turned.JPG").read_bytes())
    shown = command("show", str(folder / "*"), *trained, "class=0", "output=out/o")
    assert shown.status == 0, shown.err
    out = photographs.parent / "out"
    assert sorted(str(path.relative_to(out)) for path in out.rglob("sheet.png")) == [
        "o/...jpg/sheet.png",
        "o/..jpg/sheet.png",
    ]


def test_one_file_holds_the_class_alone_or_the_sheet(command, trained, photographs):
    one = str(photographs / "a, b.png")
    assert command("show", one, *trained, "class=0", "output=one.png").status == 0
    with Image.open(photographs.parent / "one.png") as picture:
        assert picture.size == (480, 360)
    assert command("show", one, *trained, "output=sheet.pdf").status == 0
    assert (photographs.parent / "sheet.pdf").read_bytes().startswith(b"%PDF")
    assert not (photographs.parent / "shown").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no image is given"),
        (["image="], "no image is given"),
        (["a**b.jpg"], "a**b.jpg: is no pattern of files"),
        (["nowhere.jpg"], "image=nowhere.jpg: there is no such file or folder"),
        (["{folder}", "output=x.png"], "there are 2 images"),
        (["{folder}/turned.JPG", "output=x.gif"], ".png, .pdf or .svg"),
        (["{folder}/a, b.png", "output={folder}/a, b.png"], "b.png: is read by this command"),
        (["{folder}/notes.txt"], "notes.txt: not a readable image"),
        (["{folder}/turned.JPG", "class=nn"], "class nn: the network has no class of this name"),
        (["{folder}/turned.JPG", "format=bmp"], "format=bmp"),
        (["{folder}/turned.JPG", "terminal=sixel"], "terminal=sixel"),
        (["{folder}/turned.JPG", "colours=rainbows"], "error: colours=rainbows: "),
        (
            ["{folder}/turned.JPG", "saliency=[cam,backprop]", "saliency.blur=0"],
            "saliency.NAME.blur",
        ),
    ],
)
def test_mistakes_end_in_one_line_and_leave_nothing(command, trained, photographs, words, message):
    words = [word.replace("{folder}", str(photographs)) for word in words]
    shown = command("show", *words, *trained)
    assert shown.status == 1
    (error,) = shown.errors
    assert message in error
    left = {path.name for path in photographs.parent.iterdir()}
    assert left <= {photographs.name, "trained", "shown"}
    assert not list(photographs.parent.glob("shown/*"))


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (
            ["it's, a (1).jpg", "class=tabby", "box.loose=0.3", "box=heuristic"],
            [
                "+box@box.heuristic=heuristic",
                "classes=['tabby']",
                "box.heuristic.loose=0.3",
                "image=['it\\'s, a (1).jpg']",
            ],
        ),
        (
            ["model=timm", "model.timm=resnet50", "model.timm.dropout=0.1"],
            [
                "+model@model.timm=timm",
                "+box@box.threshold=threshold",
                "model.timm.timm=resnet50",
                "model.timm.dropout=0.1",
            ],
        ),
        (
            ["model.weights=last.pt", "class=[1,2]", "--cfg", "job"],
            [
                "+box@box.threshold=threshold",
                "+model.default.weights=last.pt",
                "classes=[1,2]",
                *("--cfg", "job"),
            ],
        ),
        (
            ["class=carpenter's kit", "back\\slash.jpg"],
            [
                "+box@box.threshold=threshold",
                "classes=['carpenter\\'s kit']",
                "image=['back\\slash.jpg']",
            ],
        ),
    ],
)
def test_words_become_hydras(typed, expected):
    assert hydra_words("show", typed) == expected


def test_a_checkpoint_names_its_network_itself(command, trained, photographs):
    one = str(photographs / "a, b.png")
    shown = command("show", one, *trained[1:], "top=1", "output=own.png")
    assert shown.status == 0, shown.err
    assert "cam of AlexNet-GAP" in shown.out


def test_random_weights_show_nothing(command, photographs):
    one = str(photographs / "a, b.png")
    shown = command("show", one, "model=squeezenet", "model.weights=null")
    (error,) = shown.errors
    assert "model.weights=null: a network with random weights shows nothing: leave it out" in error


def test_a_setting_that_is_forced_is_not_lost(command, trained, photographs):
    one = str(photographs / "a, b.png")
    shown = command("show", one, "model=alexnet_gap", "++model.alexnet_gap.weights=nowhere.pt")
    (error,) = shown.errors
    assert "nowhere.pt: there is no such file" in error
