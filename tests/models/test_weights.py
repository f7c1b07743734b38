"""Loading: torchvision's form exactly, folding, what is taken and what is left, bad files."""

from __future__ import annotations

import copy
import json
import logging
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from model_helpers import build, randomise_norms
from safetensors.torch import load_file, save_file
from torch import nn

from cam_repro.errors import UserError
from cam_repro.models import CamNetwork, load_weights
from cam_repro.models.base import IMAGENET_MEAN, IMAGENET_STD
from cam_repro.models.weights import _grouped, fold_batch_norm

# our network, settings, torchvision's, its settings
TWINS: list[tuple[str, dict[str, Any], str, dict[str, Any]]] = [
    ("alexnet", {}, "alexnet", {}),
    ("vgg", {}, "vgg16", {"init_weights": False}),
    ("googlenet", {"norm": "batch"}, "googlenet", {"init_weights": False}),
    ("googlenet", {"norm": "none"}, "googlenet", {"init_weights": False}),
    ("squeezenet", {}, "squeezenet1_0", {}),
    ("resnet18", {}, "resnet18", {}),
    ("resnet50", {}, "resnet50", {}),
]


def _images(side: int = 72, n: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (n, 3, side, side), dtype=torch.uint8, generator=generator)


def _imagenet(images_N3HW: torch.Tensor) -> torch.Tensor:
    """The input as torchvision's networks want it, by torchvision's own function."""
    x_NCHW: torch.Tensor = torchvision.transforms.functional.normalize(
        images_N3HW.float() / 255, IMAGENET_MEAN, IMAGENET_STD
    )
    return x_NCHW


def _save(network: nn.Module, path: Path) -> str:
    torch.save(network.state_dict(), path)
    return str(path)


def _initial(network: CamNetwork) -> dict[str, torch.Tensor]:
    return copy.deepcopy(network.state_dict())


def _same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(tensor, two[key]) for key, tensor in one.items())


@pytest.mark.parametrize(
    ("name", "settings", "twin", "twin_settings"),
    TWINS,
    ids=["-".join([name, *settings.values()]) for name, settings, _, _ in TWINS],
)
def test_torchvision_weights_give_torchvision_outputs(
    name, settings, twin, twin_settings, tmp_path
):
    torch.manual_seed(2)
    theirs = torchvision.models.get_model(twin, weights=None, num_classes=11, **twin_settings)
    randomise_norms(theirs)
    if twin == "googlenet":
        theirs.transform_input = True  # as torchvision does with its own weights
    theirs.eval()
    network = build(name, num_classes=11, width=1.0, **settings)
    report = load_weights(network, _save(theirs, tmp_path / "w.pt"), name=name, strict=True)
    assert report.left == []
    assert report.mismatched == []
    assert all(key.startswith(("aux1.", "aux2.")) for key in report.unused)
    assert bool(report.unused) == (twin == "googlenet")
    images_N3HW = _images()
    with torch.no_grad():
        expected_NC = theirs(_imagenet(images_N3HW))
        logits_NC = network(network.normalize(images_N3HW))
    assert expected_NC.std() > 0
    torch.testing.assert_close(logits_NC, expected_NC, rtol=1e-5, atol=1e-5)
    if settings.get("norm") != "none":
        own = sum(p.numel() for p in network.parameters())
        aux = sum(p.numel() for key, p in theirs.named_parameters() if key.startswith("aux"))
        assert own == sum(p.numel() for p in theirs.parameters()) - aux


def test_vgg_with_batch_norm_has_the_names_of_vgg16_bn():
    with torch.device("meta"):
        theirs = torchvision.models.vgg16_bn(weights=None)
    own = build("vgg", num_classes=1000, norm="batch", width=0.0625).state_dict()
    assert set(own) - {"pixel_mean", "pixel_std"} == set(theirs.state_dict())


def test_torchvision_source_is_matched_as_a_file_is(monkeypatch):
    """The download replaced by weights of torchvision's form."""
    theirs = torchvision.models.resnet18(weights=None)
    asked: list[str] = []

    def state(entry, *_, **__):
        asked.append(str(entry))
        weights: dict[str, torch.Tensor] = theirs.state_dict()
        return weights

    monkeypatch.setattr(torchvision.models.WeightsEnum, "get_state_dict", state)
    network = build("resnet18", num_classes=1000, width=1.0)
    report = load_weights(network, "torchvision", name="resnet18", strict=True)
    assert asked == ["ResNet18_Weights.IMAGENET1K_V1"]
    assert report.source == "torchvision"
    assert torch.equal(network.state_dict()["layer4.1.conv2.weight"], theirs.layer4[1].conv2.weight)


def test_a_failed_download_says_what_to_do(monkeypatch):
    def fail(*_, **__):
        raise OSError("no route\nto host")

    monkeypatch.setattr(torchvision.models.WeightsEnum, "get_state_dict", fail)
    with pytest.raises(UserError, match=r"no route to host.*https://.*model\.weights=FILE"):
        load_weights(build("alexnet"), "torchvision", name="alexnet")


@pytest.mark.parametrize("name", ["nin", "resnet18b"])
def test_rows_that_torchvision_lacks_say_so(name):
    with pytest.raises(UserError, match=f"torchvision has none for {name}"):
        load_weights(build(name), "torchvision", name=name)


def test_null_leaves_the_random_values():
    network = build("squeezenet")
    before = _initial(network)
    report = load_weights(network, None, strict=True)
    assert report.taken == []
    assert report.left[0] == "features.0"
    assert len(report.left) == 26
    assert _same(before, network.state_dict())


def test_real_half_precision_safetensors(shared_file):
    path = shared_file("squeezenet1_0_imagenet_fp16.safetensors")
    network = build("squeezenet", num_classes=1000, width=1.0)
    report = load_weights(network, str(path), name="squeezenet", strict=True)
    assert len(report.taken) == 26
    weight = network.state_dict()["classifier.1.weight"]
    assert weight.dtype == torch.float32
    assert torch.equal(weight, load_file(path)["classifier.1.weight"].float())


def test_folding_is_exact():
    with_norm = build("googlenet_gap", norm="batch", groups=2).double()
    randomise_norms(with_norm)
    state, folded = fold_batch_norm(with_norm.state_dict())
    without = build("googlenet_gap", norm="none", groups=2, seed=5).double()
    without.load_state_dict(state)
    assert len(folded) == 3 + 7 * 6 + 1
    x_NCHW = with_norm.normalize(_images()).double()
    with torch.no_grad():
        expected_NKhw = with_norm.forward_features(x_NCHW)
        A_NKhw = without.forward_features(x_NCHW)
    assert expected_NKhw.max() > 0.01
    torch.testing.assert_close(A_NKhw, expected_NKhw, rtol=1e-9, atol=1e-12)


def test_folding_one_block_by_hand():
    """gamma 2, beta 1, mean 3, variance 0.999 + eps 0.001: y = 2 (w x - 3) + 1."""
    state = {
        "a.conv.weight": torch.full((1, 1, 1, 1), 5.0),
        "a.bn.weight": torch.tensor([2.0]),
        "a.bn.bias": torch.tensor([1.0]),
        "a.bn.running_mean": torch.tensor([3.0]),
        "a.bn.running_var": torch.tensor([0.999]),
        "a.bn.num_batches_tracked": torch.tensor(9),
        "fc.weight": torch.ones(2, 1),
    }
    folded, blocks = fold_batch_norm(state)
    assert blocks == ["a"]
    assert set(folded) == {"a.conv.weight", "a.conv.bias", "fc.weight"}
    assert folded["a.conv.weight"].item() == pytest.approx(10.0, rel=1e-6)
    assert folded["a.conv.bias"].item() == pytest.approx(-5.0, rel=1e-6)


@pytest.mark.parametrize("strict", [False, True])
def test_a_normalisation_of_another_shape_changes_nothing(strict, tmp_path):
    state = build("alexnet", seed=1).state_dict()
    network = build("alexnet")
    before, file = _initial(network), str(tmp_path / "f.pt")
    torch.save({**state, "pixel_mean": torch.ones(4, 1)}, file)
    with pytest.raises(UserError, match=r"f\.pt: pixel_mean is 4x1, not 3x1x1, one"):
        load_weights(network, file, strict=strict)
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key]), key
    torch.save({**state, "pixel_mean": torch.tensor([0.1, 0.2, 0.3])}, file)
    load_weights(network, file)
    assert network.pixel_mean[:, 0, 0].tolist() == pytest.approx([0.1, 0.2, 0.3])


@pytest.mark.parametrize(
    ("plain", "gap", "taken", "left"),
    [
        ("alexnet", "alexnet_gap", 5, {"cam_conv.conv", "cam_fc"}),
        ("vgg", "vgg_gap", 13, {"cam_conv.conv", "cam_fc"}),
        ("googlenet", "googlenet_gap", 3 + 7 * 6, {"cam_conv.conv", "cam_fc"}),
        ("googlenet", "googlenet_gmp", 3 + 7 * 6, {"cam_conv.conv", "cam_fc"}),
        ("alexnet", "alexnet_star_gap", 4, {"cam_conv6.conv", "cam_conv7.conv", "cam_fc"}),
    ],
)
@pytest.mark.parametrize("norm", ["none", "batch"])
def test_a_gap_network_takes_the_layers_of_its_plain_one(plain, gap, taken, left, norm, tmp_path):
    source = build(plain, norm=norm, seed=1)
    randomise_norms(source)
    with torch.no_grad():
        source.pixel_mean.fill_(0.25)
    network = build(gap, norm=norm)
    before = _initial(network)
    report = load_weights(network, _save(source, tmp_path / "plain.pt"), name=gap)
    after, theirs = network.state_dict(), source.state_dict()
    convs = [layer for layer in report.taken if after[f"{layer}.weight"].dim() == 4]
    assert len(convs) == taken
    assert {layer for layer in report.left if ".bn" not in layer} - left == set()
    assert left - set(report.left) == set()
    unfit = {key.rpartition(".")[0] for key, _, _ in report.mismatched}
    for key in before:
        layer = key.rpartition(".")[0]
        if layer in report.taken:
            assert torch.equal(after[key], theirs[key]), key
        elif layer:
            assert layer in {*report.left, *unfit}
            assert torch.equal(after[key], before[key]), key
    assert network.pixel_mean.flatten().tolist() == [0.25] * 3
    if gap == "alexnet_star_gap":
        assert ("features.10.weight", (32, 32, 3, 3), (48, 32, 3, 3)) in report.mismatched
    else:
        assert report.mismatched == []
    assert all(key.startswith(("classifier.", "inception5", "fc.")) for key in report.unused)


def test_blocks_are_named_in_a_line_and_each_layer_at_level_debug(tmp_path, caplog):
    path = _save(build("alexnet", seed=1), tmp_path / "plain.pt")
    with caplog.at_level(logging.DEBUG, "cam_repro"):
        load_weights(build("alexnet_star_gap"), path, name="alexnet_star_gap")
    every = [(each.levelno, " ".join(each.getMessage().split())) for each in caplog.records]
    assert [line for level, line in every if level == logging.INFO][1:] == [
        "taken features.0-8 (4 layers)",
        "left cam_conv6.conv, cam_conv7.conv, cam_fc (not in the file)",
        "not used classifier.1-6 (3 layers) (in the file)",
    ]
    lines = [line for _, line in every]
    assert lines[0].startswith(f"weights {path}: 4 layers taken, 3 not in the file and left")
    assert "taken features.0" in lines
    assert "left cam_conv6.conv (not in the file)" in lines
    assert "left features.10.weight (32x32x3x3 in the file, 48x32x3x3 in the network)" in lines
    assert "not used classifier.6 (in the file)" in lines


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        (["features.0", "features.3", "features.28"], "features.0-28 (3 layers)"),
        (["features.0.conv", "features.0.bn", "fc"], "features.0 (2 layers), fc"),
        (
            ["conv1.conv", "inception3a.b1.conv", "inception3a.b2.conv"],
            "conv1.conv, inception3a (2 layers)",
        ),
        (["fc"], "fc"),
        (["fc", "fc.inner"], "fc (2 layers)"),
    ],
)
def test_layers_of_a_block_are_said_together(layers, said):
    assert _grouped(layers) == said


def test_many_layers_of_another_shape_are_counted(tmp_path, caplog):
    path = _save(build("vgg", seed=1, width=0.25), tmp_path / "plain.pt")
    state = torch.load(path, weights_only=True)
    network = build("vgg", width=0.125)
    fits = network.state_dict()["features.0.bias"]
    state["features.0.weight"], state["features.0.bias"] = torch.zeros(8, 3, 3, 3), fits
    torch.save(state, path)
    with caplog.at_level(logging.DEBUG):
        report = load_weights(network, path, name="vgg")
    warned = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warned) == 4
    more = len(report.mismatched) - 3
    assert warned[-1] == f"  left       {more} more of another shape (listed in the run's log file)"
    listed = [r for r in caplog.records if "in the file," in r.getMessage()]
    assert len(listed) == len(report.mismatched)


def _without(state: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in state.items() if key not in keys}


@pytest.mark.parametrize("form", ["flat", "model", "state_dict", "module", "half", "safetensors"])
def test_every_form_of_file(form, tmp_path):
    source = build("squeezenet", seed=1)
    state = source.state_dict()
    path = tmp_path / ("w.safetensors" if form == "safetensors" else "w.pt")
    if form == "safetensors":
        save_file(state, path)
    elif form in {"model", "state_dict"}:
        torch.save({form: state, "model_config": {"width": 0.125}, "classes": ["n1"]}, path)
    elif form == "module":
        torch.save({f"module.{key}": tensor for key, tensor in state.items()}, path)
    elif form == "half":
        torch.save({key: tensor.half() for key, tensor in state.items()}, path)
    else:
        torch.save(state, path)
    network = build("squeezenet")
    load_weights(network, str(path), name="squeezenet", strict=True)
    for key, tensor in network.state_dict().items():
        assert tensor.dtype == torch.float32
        expected = state[key].half().float() if form == "half" else state[key]
        assert torch.equal(tensor, expected)


def test_strict_names_what_is_missing_or_too_much(tmp_path):
    state = build("alexnet_gap", seed=1).state_dict()
    path = tmp_path / "w.pt"
    cases: list[tuple[dict[str, torch.Tensor], str]] = [
        (_without(state, "features.3.weight", "features.3.bias"), "not in the file: features.3"),
        (_without(state, "features.3.bias"), r"features\.3\.bias is missing in the file"),
        ({**state, "extra.weight": torch.ones(1)}, r"without a place: extra\.weight"),
        ({**state, "features.3.other": torch.ones(1)}, r"features\.3\.other is 1 in the file"),
    ]
    for content, message in cases:
        torch.save(content, path)
        network = build("alexnet_gap")
        before = _initial(network)
        with pytest.raises(UserError, match=message):
            load_weights(network, str(path), name="alexnet_gap", strict=True)
        assert _same(before, network.state_dict()), "half loaded"


@pytest.mark.parametrize("name", ["vgg_gap", "squeezenet", "resnet18", "alexnet"])
def test_another_class_count_is_said_in_those_words(name, tmp_path):
    path = _save(build(name, num_classes=1000, seed=1, width=0.0625), tmp_path / "w.pt")
    network = build(name, num_classes=40, width=0.0625)
    with pytest.raises(UserError, match="has 1000 classes, the data set has 40"):
        load_weights(network, path, name=name, strict=True)
    before = _initial(network)
    report = load_weights(network, path, name=name, strict=False)
    layer = network.class_layer_name
    assert {key.rpartition(".")[0] for key, _, _ in report.mismatched} == {layer}
    assert torch.equal(before[f"{layer}.weight"], network.state_dict()[f"{layer}.weight"])


def test_a_layer_is_taken_whole_or_not_at_all(tmp_path):
    """VGG-16's file numbers clash with those of its batch-norm form; biases alone would fit."""
    path = _save(build("vgg", seed=1), tmp_path / "w.pt")
    network = build("vgg_gap", norm="batch")
    before = _initial(network)
    report = load_weights(network, path, name="vgg_gap")
    for key, tensor in network.state_dict().items():
        if key.rpartition(".")[0] not in [*report.taken, ""]:
            assert torch.equal(tensor, before[key]), key
    with pytest.raises(UserError):
        load_weights(network, path, name="vgg_gap", strict=True)


@pytest.mark.parametrize(("plain", "gap"), [("alexnet", "alexnet_gap"), ("vgg", "vgg_gap")])
def test_batch_norm_weights_for_a_network_without_are_refused(plain, gap, tmp_path):
    path = _save(build(plain, norm="batch", seed=1), tmp_path / "w.pt")
    with pytest.raises(UserError, match=r"trained with batch norm.*set model\.norm=batch"):
        load_weights(build(gap), path, name=gap)


def test_nothing_that_fits_is_an_error(tmp_path):
    path = _save(build("resnet18", seed=1), tmp_path / "w.pt")
    network = build("vgg_gap", norm="batch")
    before = _initial(network)
    with pytest.raises(UserError, match="do not fit vgg_gap: no layer"):
        load_weights(network, path, name="vgg_gap")
    assert _same(before, network.state_dict())
    wide = build("vgg_gap", width=0.25)
    with pytest.raises(UserError, match="no layer has the same name and shapes"):
        load_weights(wide, _save(build("vgg_gap"), tmp_path / "n.pt"), name="vgg_gap")


def test_old_files_without_batch_counters_are_whole(tmp_path):
    state = build("resnet18", seed=1).state_dict()
    path = tmp_path / "w.pt"
    torch.save({k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}, path)
    report = load_weights(build("resnet18"), str(path), name="resnet18", strict=True)
    assert "layer1.0.bn1" in report.taken


def test_normalisation_of_a_file_without_one(tmp_path):
    for name, mean in (("googlenet", (0.5, 0.5, 0.5)), ("resnet18", IMAGENET_MEAN)):
        state = _without(build(name, seed=1).state_dict(), "pixel_mean", "pixel_std")
        torch.save(state, tmp_path / "w.pt")
        network = build(name)
        load_weights(network, str(tmp_path / "w.pt"), name=name, strict=True)
        assert network.pixel_mean.flatten().tolist() == pytest.approx(mean)


class _Code:
    """A class that a pickle would have to import."""


def test_bad_files_are_one_line(tmp_path):
    good = tmp_path / "good.pt"
    torch.save(build("squeezenet").state_dict(), good)
    contents: dict[str, bytes] = {
        "truncated.pt": good.read_bytes()[:-1000],
        "empty.pt": b"",
        "text.pt": b"<html>not found</html>",
        "code.pt": pickle.dumps(_Code(), protocol=2),
        "text.safetensors": b"<html>not found</html>",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    torch.save(_Code(), tmp_path / "object.pt")
    torch.save(torch.ones(3), tmp_path / "tensor.pt")
    torch.save({"a": "b"}, tmp_path / "words.pt")
    torch.save({}, tmp_path / "nothing.pt")
    network = build("squeezenet")
    before = _initial(network)
    bad = [*contents, "object.pt", "tensor.pt", "words.pt", "nothing.pt", "absent.pt"]
    for name in bad:
        with pytest.raises(UserError, match=name) as caught:
            load_weights(network, str(tmp_path / name), name="squeezenet")
        assert "\n" not in str(caught.value)
    assert _same(before, network.state_dict())


# --- values that are no numbers


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("classifier.1.weight", float("nan"), r"1 of 320 values of classifier\.1\.weight are NaN"),
        ("features.3.squeeze.bias", float("-inf"), r"1 of 8 values of features\.3\.squeeze\.bias"),
        ("pixel_mean", float("inf"), "1 of 3 values of pixel_mean are NaN or infinite"),
        (
            "pixel_mean",
            103.9,
            r"pixel_mean=\[0.485,0.456,103.9\] is of colours of 0 to 255, and here "
            "they are in \\[0, 1\\]: state model.pixel_mean divided by 255",
        ),
        ("pixel_std", 58.4, r"pixel_std=\[0.229,0.224,58.4\] is of colours of 0 to 255"),
        ("pixel_std", 0.0, "pixel_std is not above 0 for each colour"),
    ],
)
def test_weights_that_are_no_numbers_are_named(key, value, said, strict, tmp_path):
    state = build("squeezenet", seed=1).state_dict()
    state[key].flatten()[2] = value
    torch.save(state, tmp_path / "w.pt")
    network = build("squeezenet")
    before = _initial(network)
    with pytest.raises(UserError, match=said):
        load_weights(network, str(tmp_path / "w.pt"), strict=strict)
    assert _same(before, network.state_dict())


@pytest.mark.parametrize("name", ["last.pt", "network.pt"])
@pytest.mark.parametrize("strict", [False, True])
def test_a_runs_file_that_changed_since_is_refused(name, strict, tmp_path):
    network = build("alexnet_gap")
    weights = _save(build("alexnet_gap"), tmp_path / name)
    (tmp_path / "manifest.json").write_text(json.dumps({"files": {name: "0" * 64}}))
    before = _initial(network)
    with pytest.raises(UserError) as refused:
        load_weights(network, weights, strict=strict)
    assert str(refused.value) == (
        f"{weights} is not as it was written: its SHA-256 is not the one in manifest.json: restore"
        " it, or run the command that wrote it again, with overwrite=true"
    )
    assert _same(network.state_dict(), before)


def test_what_is_not_taken_may_be_no_number(tmp_path):
    state = {**build("vgg", seed=1).state_dict(), "best_loss": torch.tensor(torch.inf)}
    state["classifier.6.bias"][0] = torch.nan
    torch.save(state, tmp_path / "w.pt")
    assert len(load_weights(build("vgg_gap"), str(tmp_path / "w.pt")).taken) == 13


# --- what a file does not say

HALF = [0.5, 0.5, 0.5]
THEIRS = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


@pytest.fixture
def foreign(tmp_path):
    """Saves weights of a network without their normalisation, as another program would."""

    def save(name, **settings):
        state = build(name, seed=1, **settings).state_dict()
        torch.save(_without(state, "pixel_mean", "pixel_std"), tmp_path / "w.pth")
        return str(tmp_path / "w.pth")

    return save


def _warned(caplog):
    return [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]


@pytest.mark.parametrize(
    ("name", "said", "maps"),
    [
        ("resnet50", "[0.485,0.456,0.406] model.pixel_std=[0.229,0.224,0.225] (ImageNet's)", "7x7"),
        ("vgg", "[0.485,0.456,0.406] model.pixel_std=[0.229,0.224,0.225] (ImageNet's)", "14x14"),
        ("googlenet", "[0.5,0.5,0.5] model.pixel_std=[0.5,0.5,0.5] (those of torchvision's", "7x7"),
    ],
)
def test_what_is_assumed_of_a_file_is_said_in_a_line(name, said, maps, foreign, caplog):
    path = foreign(name)
    load_weights(build(name), path, name=name, strict=True, input_size=224)
    (line,) = _warned(caplog)
    start = f"weights {path}: not in the file, so assumed: model.pixel_mean={said}"
    assert line.startswith(start)
    assert ("transform_input=False" in line) == (name == "googlenet")
    end = f"; strides, paddings and dilations of {name}, with {maps} maps of 224x224 pixels"
    others = " (Choe et al.'s ResNet50-CAM, with other strides, is model=resnet50_cam)"
    assert line.endswith(end + others * (name == "resnet50"))


def test_a_normalisation_of_a_class_of_ones_own_is_not_called_imagenets(foreign, caplog):
    network = build("resnet18")
    network.file_pixel_mean = (0.5, 0.5, 0.5)
    load_weights(network, foreign("resnet18"), strict=True)
    (line,) = _warned(caplog)
    assert "model.pixel_mean=[0.5,0.5,0.5] model.pixel_std=[0.229,0.224,0.225]; strides" in line


def test_nothing_is_assumed_of_files_of_our_own(tmp_path, caplog):
    path = _save(build("resnet18", seed=1), tmp_path / "own.pt")
    load_weights(build("resnet18"), path, strict=True, input_size=224)
    assert _warned(caplog) == []


def test_a_stated_normalisation_is_used_and_not_called_assumed(foreign, caplog):
    network = build("googlenet", pixel_mean=THEIRS[0], pixel_std=THEIRS[1])
    path = foreign("googlenet")
    load_weights(network, path, name="googlenet", strict=True)
    assert network.pixel_mean.flatten().tolist() == pytest.approx(THEIRS[0])
    assert network.pixel_std.flatten().tolist() == pytest.approx(THEIRS[1])
    (line,) = _warned(caplog)
    assert line == (
        f"weights {path}: not in the file, so assumed: strides, paddings and dilations of googlenet"
    )


def test_a_stated_normalisation_wins_over_the_files_and_that_is_said(tmp_path, caplog):
    path = _save(build("resnet18", seed=1), tmp_path / "own.pt")
    network = build("resnet18", pixel_mean=HALF)
    load_weights(network, path, strict=True)
    assert network.pixel_mean.flatten().tolist() == HALF
    assert network.pixel_std.flatten().tolist() == pytest.approx(IMAGENET_STD)
    assert _warned(caplog) == [
        "model.pixel_mean=[0.5,0.5,0.5] is used, although the file of weights has"
        " [0.485,0.456,0.406]"
    ]


def test_googlenet_without_transform_input_is_torchvisions(tmp_path):
    torch.manual_seed(2)
    theirs = torchvision.models.googlenet(
        weights=None, num_classes=11, init_weights=False, transform_input=False
    ).eval()
    randomise_norms(theirs)
    path = _save(theirs, tmp_path / "w.pth")
    images_N3HW = _images()
    x_NCHW = _imagenet(images_N3HW)
    assumed = build("googlenet", 11, width=1.0, norm="batch")
    load_weights(assumed, path, strict=True)
    assert (assumed.normalize(images_N3HW) - x_NCHW).abs().max() > 0.5
    colours = {"pixel_mean": THEIRS[0], "pixel_std": THEIRS[1]}
    stated = build("googlenet", 11, width=1.0, norm="batch", **colours)
    load_weights(stated, path, strict=True)
    with torch.no_grad():
        logits_NC, expected_NC = stated(stated.normalize(images_N3HW)), theirs(x_NCHW)
    torch.testing.assert_close(logits_NC, expected_NC, rtol=1e-5, atol=1e-5)
