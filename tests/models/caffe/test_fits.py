"""Weights of Caffe's files in our networks: names, shapes, and what does not fit."""

from __future__ import annotations

import logging
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from caffe_files import caffemodel, layers_of, randomise, write
from caffe_helpers import numbered_blobs
from model_helpers import build

from cam_repro.errors import UserError
from cam_repro.models import CamNetwork, load_weights


def test_a_class_layer_without_a_bias_has_the_bias_0(tmp_path):
    network = randomise(build("vgg_gap", variant="caffe"))
    layers = layers_of(network)
    del layers["CAM_fc"][1]
    load_weights(network, write(tmp_path / "w.caffemodel", layers), name="vgg_gap", strict=True)
    assert network.cam_fc.bias.tolist() == [0.0] * 5
    assert np.array_equal(network.cam_fc.weight.detach().numpy(), layers["CAM_fc"][0])


def test_auxiliary_classifiers_are_passed_over(tmp_path):
    network = build("googlenet", variant="caffe")
    layers = layers_of(network)
    aux = {
        f"loss{i}/{part}": numbered_blobs((2, 2), (2,))
        for i in (1, 2)
        for part in ("fc", "classifier")
    }
    path = write(tmp_path / "w.caffemodel", {**layers, **aux}, form=1)
    report = load_weights(network, path, name="googlenet", strict=True)
    assert len(report.taken) == 58
    path = write(tmp_path / "w.caffemodel", {**layers, "loss4/fc": numbered_blobs((2, 2))})
    with pytest.raises(UserError, match=r"without a place: loss4/fc\.weight"):
        load_weights(network, path, name="googlenet", strict=True)


def test_a_layer_that_does_not_fit_is_named(tmp_path, caplog):
    """CaffeNet's conv5 has 256 units, that of the authors' network 384 (here 32 and 48)."""
    path = write(tmp_path / "w.caffemodel", layers_of(build("alexnet", variant="caffe")), form=1)
    network = build("alexnet_star_gap", variant="caffe")
    misfit = r"conv5 \(features\.10\.weight\) is 32x24x3x3 in the file, 48x24x3x3 in the network"
    with pytest.raises(UserError, match=f"not those of alexnet_star_gap: other shapes: {misfit}"):
        load_weights(network, path, name="alexnet_star_gap", strict=True)
    with caplog.at_level(logging.DEBUG):
        report = load_weights(network, path, name="alexnet_star_gap")
    assert report.taken == ["features.0", "features.3", "features.6", "features.8"]
    assert report.unused == [
        f"{layer}.{part}" for layer in ("fc6", "fc7", "fc8") for part in ("weight", "bias")
    ]
    lines = [" ".join(record.getMessage().split()) for record in caplog.records]
    assert "taken conv4 (features.8)" in lines
    assert (
        "left conv5 (features.10.weight) (32x24x3x3 in the file, 48x24x3x3 in the network)" in lines
    )
    assert "left conv6 (cam_conv6.conv) (not in the file)" in lines
    assert "not used fc6 (in the file)" in lines
    without = layers_of(network)
    del without["conv7"]
    path = write(tmp_path / "w.caffemodel", without)
    with pytest.raises(UserError, match=r"not in the file: conv7 \(cam_conv7\.conv\)$"):
        load_weights(network, path, name="alexnet_star_gap", strict=True)


def test_another_class_count_is_said_in_those_words(tmp_path):
    layers = layers_of(build("googlenet_gap", num_classes=12, variant="caffe"))
    path = write(tmp_path / "w.caffemodel", layers, form=1)
    network = build("googlenet_gap", variant="caffe")
    with pytest.raises(UserError, match=r"CAM_fc \(cam_fc\) has 12 classes, the data set has 5"):
        load_weights(network, path, name="googlenet_gap", strict=True)
    report = load_weights(network, path, name="googlenet_gap")
    assert len(report.taken) == 46


def test_a_layer_twice_is_refused(tmp_path):
    network = build("nin", variant="caffe")
    content = caffemodel(layers_of(network))
    (tmp_path / "w.caffemodel").write_bytes(content + content)
    with pytest.raises(UserError, match=r"w\.caffemodel: has two layers conv1"):
        load_weights(network, str(tmp_path / "w.caffemodel"), name="nin")


@pytest.mark.parametrize("name", ["alexnet", "alexnet_gap", "alexnet_star_gap"])
def test_the_order_of_pool_and_normalisation_is_the_files(name, tmp_path):
    """CaffeNet and AlexNet have the same shapes: only the order of their layers tells."""
    first, *rest = layers_of(build(name, variant="caffe")).items()
    caffenet = dict([first, ("pool1", []), ("norm1", []), *rest])
    alexnet = dict([first, ("norm1", []), ("pool1", []), *rest])
    for layers, right, wrong in (
        (caffenet, "caffe", "bvlc_alexnet"),
        (alexnet, "bvlc_alexnet", "caffe"),
    ):
        for form in (1, 2):
            path = write(tmp_path / "w.caffemodel", layers, form)
            load_weights(build(name, variant=right), path, name=name, strict=True)
            with pytest.raises(UserError, match=f"set model.variant={right}$"):
                load_weights(build(name, variant=wrong), path, name=name)


@pytest.mark.parametrize("name", ["alexnet", "alexnet_gap", "alexnet_star_gap", "googlenet_gap"])
def test_torchvisions_networks_refuse_caffes_weights(name, tmp_path):
    path = write(tmp_path / "w.caffemodel", layers_of(build(name, variant="caffe")))
    with pytest.raises(UserError, match=r"w\.caffemodel.*: set model\.variant=caffe$"):
        load_weights(build(name), path, name=name)


@pytest.mark.parametrize("name", ["vgg", "nin"])
def test_networks_that_are_alike_take_them_in_either_variant(name, tmp_path):
    caffe = randomise(build(name, variant="caffe"))
    path = write(tmp_path / "w.caffemodel", layers_of(caffe), form=1)
    plain = build(name, seed=1)
    load_weights(caffe, path, name=name, strict=True)
    load_weights(plain, path, name=name, strict=True)
    generator = torch.Generator().manual_seed(3)
    images = torch.randint(0, 256, (1, 3, 96, 96), dtype=torch.uint8, generator=generator)
    with torch.no_grad():
        logits_NC = caffe(caffe.normalize(images))
        assert torch.equal(plain(plain.normalize(images)), logits_NC)
    assert logits_NC.std() > 0.1


def test_vgg_gap_in_torchvisions_form_says_what_the_authors_file_wants(tmp_path):
    path = write(tmp_path / "w.caffemodel", layers_of(build("vgg_gap", variant="caffe")))
    misfit = r"CAM_conv \(cam_conv\.conv\.weight\) is 128x32x3x3 in the file, 128x64x3x3 in the"
    with pytest.raises(UserError, match=rf"{misfit} network.*; set model\.variant=caffe$"):
        load_weights(build("vgg_gap"), path, name="vgg_gap", strict=True)


def test_networks_that_caffe_lacks_say_so(tmp_path):
    path = write(tmp_path / "w.caffemodel", layers_of(build("vgg", variant="caffe")))
    with pytest.raises(UserError, match=r"w\.caffemodel: there are no Caffe weights for resnet18"):
        load_weights(build("resnet18"), path, name="resnet18")


def _trained(network: CamNetwork) -> float:
    """One step's loss."""
    x_NCHW = 50 * torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.SGD(network.parameters(), 1e-3)
    loss = F.cross_entropy(network.train()(x_NCHW), torch.tensor([0, 4]))
    loss.backward()
    optimizer.step()
    return loss.item()


@pytest.mark.parametrize(
    ("plain", "gap", "taken", "left"),
    [
        ("alexnet", "alexnet_gap", 5, ["cam_conv.conv", "cam_fc"]),
        ("vgg", "vgg_gap", 13, ["cam_conv.conv", "cam_fc"]),
        ("googlenet", "googlenet_gap", 45, ["cam_conv.conv", "cam_fc"]),
        ("googlenet", "googlenet_gmp", 45, ["cam_conv.conv", "cam_fc"]),
    ],
)
def test_a_gap_network_is_fine_tuned_from_the_plain_ones_file(plain, gap, taken, left, tmp_path):
    layers = layers_of(randomise(build(plain, variant="caffe")))
    network = build(gap, variant="caffe", seed=1)
    report = load_weights(network, write(tmp_path / "w.caffemodel", layers, form=1), name=gap)
    assert len(report.taken) == taken
    assert report.left == left
    assert report.mismatched == []
    assert math.isfinite(_trained(network))
    # What was trained is scored again from its checkpoint, with its normalisation.
    torch.save(network.state_dict(), tmp_path / "last.pt")
    again = build(gap, variant="caffe", seed=2)
    load_weights(again, str(tmp_path / "last.pt"), name=gap, strict=True)
    assert again.pixel_std.flatten().tolist() == pytest.approx([1 / 255] * 3)


def test_other_weights_for_a_caffe_network_have_to_say_their_normalisation(tmp_path):
    network = build("googlenet", variant="caffe")
    state = {key: value for key, value in network.state_dict().items() if "pixel" not in key}
    torch.save(state, tmp_path / "w.pt")
    with pytest.raises(UserError, match=r"w\.pt do not say how colours are normalised"):
        load_weights(network, str(tmp_path / "w.pt"), name="googlenet", strict=True)
    with pytest.raises(UserError, match=r"none for googlenet with model\.variant=caffe"):
        load_weights(network, "torchvision", name="googlenet")
