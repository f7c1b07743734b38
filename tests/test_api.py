"""``cam_repro.explain``: what a notebook gets, and that it is what the commands find."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import cam_repro
from cam_repro.errors import UserError
from cam_repro.models.resnet import ResNet18
from cam_repro.runs.predictions import read_predictions


class HandWeighted(nn.Module):
    """Class 0 sees red, class 1 sees green; maps have a place for each of the input's pixels."""

    def __init__(self):
        super().__init__()
        self.features = nn.Conv2d(3, 2, 1, bias=False)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(2, 2, bias=False)
        with torch.no_grad():
            self.features.weight.copy_(torch.tensor([[1.0, 0, 0], [0, 1, 0]]).view(2, 3, 1, 1))
            self.fc.weight.copy_(torch.eye(2))

    def forward(self, x):
        return self.fc(self.pool(self.features(x)).flatten(1))


@pytest.fixture
def network():
    return cam_repro.load_network(
        HandWeighted(),
        layer="features",
        class_names=["red", "green"],
        input_size=4,
        pixel_mean=(0.0, 0.0, 0.0),
        pixel_std=(1.0, 1.0, 1.0),
        device="cpu",
        precision="fp32",
    )


@pytest.fixture
def image():
    """Four by four: a red square of 2x2 at the upper left, one green pixel at the lower right."""
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels[:2, :2, 0] = 255
    pixels[3, 3, 1] = 255
    return pixels


def test_importing_the_package_imports_no_torch():
    code = "import sys, cam_repro; assert 'torch' not in sys.modules; cam_repro.explain"
    code += "; assert 'torch' in sys.modules and 'explain' in dir(cam_repro)"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'explane'"):
        cam_repro.explane  # noqa: B018


def test_classes_scores_maps_and_boxes_of_a_hand_weighted_network(network, image):
    e = network.explain(image, box=["threshold", "whole_image"])
    assert e.classes == [0, 1]
    assert e.names == ["red", "green"]
    expected = np.exp([4 / 16, 1 / 16]) / np.exp([4 / 16, 1 / 16]).sum()
    np.testing.assert_allclose(e.scores, expected, atol=1e-6)
    np.testing.assert_allclose(e.maps, np.stack([image[..., 0], image[..., 1]]) / 255, atol=1e-6)
    np.testing.assert_allclose(e.map(1), image[..., 1] / 255, atol=1e-6)
    assert e.boxes == {
        "threshold": [(0, (0, 0, 1, 1)), (1, (3, 3, 3, 3))],
        "whole_image": [(0, (0, 0, 3, 3)), (1, (0, 0, 3, 3))],
    }
    assert e.box(1) == (3, 3, 3, 3)
    assert e.box(1, "whole_image") == (0, 0, 3, 3)
    assert repr(e).splitlines() == [
        "cam of HandWeighted, image of 4x4 pixels",
        " class   prob.  name                     boxes (x0, y0, x1, y1)",
        "     0   54.7%  red                      threshold (0, 0, 1, 1)  whole_image (0, 0, 3, 3)",
        "     1   45.3%  green                    threshold (3, 3, 3, 3)  whole_image (0, 0, 3, 3)",
    ]


def test_classes_that_are_asked_for_keep_their_order(network, image):
    e = network.explain(image, classes=["GREEN", 0])
    assert e.classes == [1, 0]
    assert e.boxes["threshold"] == [(1, (3, 3, 3, 3)), (0, (0, 0, 1, 1))]
    assert network.explain(image, classes="green").classes == [1]
    assert network.explain(image, top=1).classes == [0]
    assert network.explain(image, classes=np.array([1])).classes == [1]
    with pytest.raises(UserError, match="rule=heuristic: choose one of threshold"):
        network.explain(image).box(0, "heuristic")
    # A rule sees each class that was asked for alone: loose and tight of both.
    e = network.explain(image, classes=[1, 0], box="heuristic")
    assert [index for index, _ in e.boxes["heuristic"]] == [1, 1, 0, 0]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"classes": ["gren"]}, ["class gren", "did you mean green?"]),
        ({"classes": [2]}, ["class 2", "2 classes, 0 to 1"]),
        ({"classes": []}, ["classes is empty"]),
        ({"classes": 1.5}, ["class 1.5: give a name, a WordNet id or an index"]),
        ({"classes": [True]}, ["class True: give a name"]),
        ({"classes": [None]}, ["class None: give a name"]),
        ({"top": 2.5}, ["top=2.5"]),
        ({"saliency": 3}, ["saliency=3: give a name"]),
        ({"view": {"size": 3}}, ["view={'size': 3}: give a name, or settings with a name"]),
        ({"top": 0}, ["top=0"]),
        ({"saliency": "gradcamm"}, ["saliency=gradcamm", "did you mean gradcam"]),
        ({"box": "treshold"}, ["box=treshold", "did you mean threshold"]),
        ({"view": {"name": "tenn"}}, ["view=tenn", "did you mean ten"]),
    ],
)
def test_what_cannot_be_understood_is_said_in_one_line(network, image, settings, words):
    with pytest.raises(UserError) as caught:
        network.explain(image, **settings)
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_more_than_five_classes_have_boxes_too():
    torch.manual_seed(0)
    network = cam_repro.load_network(
        ResNet18(num_classes=9, width=0.05), input_size=64, device="cpu"
    )
    e = network.explain(np.full((20, 30, 3), 128, np.uint8), top=7)
    assert [index for index, _ in e.boxes["threshold"]] == e.classes
    assert len(e.classes) == 7


def test_images_of_every_form_are_the_same_image(network, image, tmp_path):
    Image.fromarray(image).save(tmp_path / "image.png")
    forms = [image, Image.fromarray(image), tmp_path / "image.png", str(tmp_path / "image.png")]
    for e in cam_repro.explain(forms, model=network):
        np.testing.assert_allclose(e.map(0), image[..., 0] / 255, atol=1e-6)
    each = network.explain_each(form for form in forms[2:])
    assert [e.box(0) for e in each] == [(0, 0, 1, 1)] * 2
    batch = cam_repro.explain(np.stack([image, image[::-1]]), model=network)
    assert [e.box(0) for e in batch] == [(0, 0, 1, 1), (0, 2, 1, 3)]
    assert cam_repro.explain(image, model=network).box(0) == (0, 0, 1, 1)
    assert network.explain(image[..., 0]).image.mode == "RGB"  # a grey one


def test_several_images_are_for_explain_each(network, image):
    with pytest.raises(UserError, match="explain_each takes several"):
        network.explain([image, image])
    with pytest.raises(UserError, match="explain_each takes several images; explain takes one"):
        next(network.explain_each("cat.jpg"))


def test_what_takes_the_place_of_cam_is_said(image, caplog):
    module = HandWeighted()
    module.pool = nn.AdaptiveMaxPool2d(1)
    network = cam_repro.load_network(module, layer="features", input_size=4, device="cpu")
    assert network.explain(image).saliency == "backprop"
    assert "HandWeighted has no CAM (its class score is not the mean" in caplog.text
    assert "saliency=backprop is used" in caplog.text


def test_a_loaded_network_is_told_in_a_line(network):
    assert repr(network) == "LoadedNetwork(HandWeighted, 2 classes, input of 4x4 pixels, cpu)"


@pytest.mark.parametrize("array", [np.zeros((4, 4, 3)), np.zeros((4, 4, 4), np.uint8)])
def test_an_array_that_is_no_image_is_refused(network, array):
    with pytest.raises(UserError, match="is no image: give uint8"):
        network.explain(array)


def test_a_photograph_is_turned_upright_by_its_exif_data(network, image, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    Image.fromarray(image).save(tmp_path / "turned.png", exif=exif)
    e = network.explain(tmp_path / "turned.png")
    assert e.box(0) == (2, 0, 3, 1)  # red is at the upper right now
    assert e.box(1) == (0, 3, 0, 3)


def test_a_module_is_left_as_it_is(image):
    module = HandWeighted()
    module.train()
    network = cam_repro.load_network(module, layer="features", input_size=4, device="cpu")
    network.explain(image)
    assert module.training
    assert all(parameter.requires_grad for parameter in module.parameters())
    assert network.names == ["class 0", "class 1"]


@pytest.mark.parametrize(
    ("model", "settings", "words"),
    [
        ("vgg_gap", {}, ["model=vgg_gap", "weights=FILE", "cam-train"]),
        ("vgg_gapp", {}, ["model=vgg_gapp", "did you mean vgg_gap"]),
        ("resnet18", {"layer": "layer4"}, ["layer=layer4", "nn.Module"]),
        ("resnet18", {"weights": "nowhere.pt"}, ["nowhere.pt", "no such file"]),
        ("none", {}, ["model=none is no network"]),
        ("resnet18", {"precision": "fp16"}, ["precision=fp16", "choose one of auto, fp32, bf16"]),
        (HandWeighted(), {}, ["layer is not given"]),
        (HandWeighted(), {"layer": "features", "weights": "a.pt"}, ["weights=a.pt", "module"]),
        (ResNet18(num_classes=3, width=0.05), {"layer": "layer4"}, ["is a CamNetwork"]),
        (HandWeighted(), {"layer": "features", "width": 2}, ["width", "input_size"]),
        (HandWeighted(), {"layer": "features", "class_names": ["a"]}, ["1 names", "2 classes"]),
    ],
)
def test_a_network_that_cannot_be_had_is_answered_with_the_remedy(model, settings, words):
    with pytest.raises(UserError) as caught:
        cam_repro.load_network(model, device="cpu", **settings)
    for word in words:
        assert word in str(caught.value)


def test_a_network_of_ours_needs_no_layer(image):
    torch.manual_seed(0)
    own = ResNet18(num_classes=3, width=0.05).eval()
    own.layer1.train()  # a part of it in another mode
    network = cam_repro.load_network(own, input_size=32, device="cpu")
    assert network.explain(image).maps.shape == (3, 1, 1)
    assert not own.training
    assert own.layer1.training
    assert own.fc.weight.requires_grad


def test_pictures_are_written_by_suffix_and_shown_in_notebooks(network, image, tmp_path):
    e = network.explain(image)
    for name in ("a.png", "a.pdf", "a.svg"):
        e.save(tmp_path / name)
        e.save_sheet(tmp_path / f"sheet-{name}")
    assert (tmp_path / "a.pdf").read_bytes().startswith(b"%PDF")
    assert "<svg" in (tmp_path / "sheet-a.svg").read_text()
    assert e._repr_png_().startswith(b"\x89PNG")
    with pytest.raises(UserError, match=r"\.png, \.pdf or \.svg"):
        e.save(tmp_path / "a.gif")
    assert not (tmp_path / "a.gif").exists()


@pytest.mark.parametrize(
    "words", [["view=squash"], ["view=ten"], ["saliency=backprop"], ["saliency=gradcam"]]
)
def test_boxes_are_those_of_cam_eval_to_the_pixel(
    command, train_once, tiny_run, tiny_tree, tmp_path, words
):
    weights = train_once(tmp_path / "trained", *tiny_run) / "last.pt"
    of_eval = command(
        *("eval", "model=alexnet_gap", f"model.weights={weights}", *tiny_run[1:6]),
        *("loader.workers=0", "device=cpu", "precision=fp32", "output=scored"),
        *("box=[threshold,heuristic,dt_box]", *words),
    )
    assert of_eval.status == 0, of_eval.err
    predictions = read_predictions(tmp_path / "scored")
    choice = dict(word.split("=") for word in words)
    network = cam_repro.load_network(weights=weights, device="cpu", precision="fp32")
    files = {path.stem: path for path in tiny_tree.rglob("val/*.JPEG")}
    rules = ["threshold", "heuristic", "dt_box"]
    images = network.explain_each([files[one] for one in predictions.ids], box=rules, **choice)
    for row, e in enumerate(images):
        for rule in rules:
            table = predictions.rules[rule]
            theirs = [
                (int(index), tuple(box.tolist()))
                for index, box in zip(table.classes_N5[row], table.boxes_N54[row], strict=True)
                if index >= 0
            ]
            assert e.boxes[rule] == theirs
        assert e.classes == predictions.classes_N5[row][: len(e.classes)].tolist()


def test_a_checkpoint_names_its_network_and_another_is_refused(train_once, tiny_run, tmp_path):
    weights = train_once(tmp_path / "trained", *tiny_run) / "last.pt"
    network = cam_repro.load_network(weights=weights, device="cpu")
    assert network.name == "alexnet_gap"
    assert network.settings["input_size"] == 64
    assert network.wnids == ("n00001000", "n00001010", "n00001020")
    with pytest.raises(UserError, match="holds the network alexnet_gap, not vgg_gap"):
        cam_repro.load_network("vgg_gap", weights=weights)


def test_scores_that_are_no_numbers_are_no_explanation(network, image, tmp_path):
    Image.fromarray(image).save(tmp_path / "cat.png")
    with torch.no_grad():
        broken = next(network.network.parameters())
        broken.fill_(torch.nan)
    with pytest.raises(UserError, match=r"cat\.png: the network's class scores of this image are"):
        network.explain(tmp_path / "cat.png")


def test_a_network_of_ones_own_that_promises_cam_is_tried():
    class Own(ResNet18):
        def forward_head(self, A_NKhw):
            return self.fc(A_NKhw.amax((2, 3)))

    with pytest.raises(UserError, match="Own: its class scores are not the mean of the class"):
        cam_repro.load_network(Own(num_classes=3, width=0.05), input_size=96, device="cpu")
