"""Files of weights as other programs write them, damaged ones, and those that would do harm."""

from __future__ import annotations

import argparse
import io
import logging
import os
import pathlib
import pickle
import zipfile
from collections import OrderedDict
from functools import partial

import numpy as np
import pytest
import torch
from model_helpers import build
from torch.optim.swa_utils import AveragedModel

from cam_repro.errors import UserError
from cam_repro.models import load_weights
from cam_repro.models.weight_files import Inert, find_weights, load_torch

SOURCE = partial(build, "squeezenet", seed=1)


def before(prefix, state):
    return {f"{prefix}{key}": tensor for key, tensor in state.items()}


def forms():
    """What is saved, by what is said of it."""
    state = SOURCE().state_dict()
    options = argparse.Namespace(lr=0.1, out=pathlib.PurePosixPath("a"), seen=np.float64(3))
    optimizer = torch.optim.SGD(SOURCE().parameters(), lr=0.1, momentum=0.9)
    sum(parameter.sum() for parameter in optimizer.param_groups[0]["params"]).backward()
    optimizer.step()
    beside = {"epoch": 3, "optimizer": optimizer.state_dict(), "best": torch.tensor(0.5)}
    lightning = before("model.", state) | {"criterion.weight": torch.ones(3)}
    averaged = AveragedModel(SOURCE()).state_dict()
    return {
        "": state,
        " (entry model_state_dict)": {"model_state_dict": state, **beside},
        " (entry net)": {"net": state, "args": options},
        " (entry state_dict, state_dict_ema would fit too)": {
            "state_dict_ema": state,
            "state_dict": state,
            "args": options,
        },
        " (entry generator.weights)": {"generator": {"weights": state}, "epoch": np.int64(3)},
        " ('module.' dropped before names)": before("module.", state),
        " ('_orig_mod.module.' dropped before names)": before("_orig_mod.module.", state),
        " ('module.' dropped before names, 1 other tensor left out)": averaged,
        " (entry state_dict, 'model.' dropped before names, 1 other tensor left out)": {
            "state_dict": lightning,
            "hyper_parameters": {"lr": np.array([1.0, 2.0])},
            **beside,
        },
        " (entry state_dict, 'net.backbone.module.' dropped before names)": {
            "state_dict": before("net.backbone.module.", state)
        },
        " (entry model)": {"model": OrderedDict(state), "scheduler": {"best": np.float32(2)}},
    }


@pytest.mark.parametrize("said", forms())
def test_every_form_is_loaded_and_said(said, tmp_path, caplog):
    path = str(tmp_path / "w.pth")
    torch.save(forms()[said], path)
    network = build("squeezenet")
    with caplog.at_level(logging.INFO):
        load_weights(network, path, name="squeezenet", strict=True)
    assert caplog.messages[0] == f"weights {path}{said}: all 26 layers taken"
    for key, tensor in SOURCE().state_dict().items():
        assert torch.equal(network.state_dict()[key], tensor), key


def test_of_several_networks_in_a_file_the_one_that_fits_is_taken(tmp_path):
    other = build("alexnet", seed=2).state_dict()
    torch.save({"model": other, "student": SOURCE().state_dict()}, tmp_path / "w.pt")
    network = build("squeezenet")
    report = load_weights(network, str(tmp_path / "w.pt"), strict=True)
    assert report.part == " (entry student)"


def test_a_plain_network_before_whose_names_is_a_prefix_starts_its_gap_network(tmp_path):
    torch.save({"state_dict": before("model.", build("vgg").state_dict())}, tmp_path / "w.ckpt")
    network = build("vgg_gap")
    report = load_weights(network, str(tmp_path / "w.ckpt"))
    assert (len(report.taken), report.left) == (13, ["cam_conv.conv", "cam_fc"])


def test_a_block_is_no_network_behind_a_prefix(tmp_path):
    """``layer1.0.conv1`` ends as ``conv1`` of a ResNet does."""
    torch.save(before("stem.", build("resnet18").layer1[0].state_dict()), tmp_path / "w.pt")
    with pytest.raises(UserError, match="no layer has the same name and shapes"):
        load_weights(build("resnet18"), str(tmp_path / "w.pt"))


# --- code


class Harmful:
    """Runs a function when it is unpickled by ``pickle.load``."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


class Config:
    """A class that only the program that wrote a file has."""


HARMFUL = {
    "system": (os.system, "touch {0}"),
    "open": (open, "{0}", "w"),
    "eval": (eval, "open({0!r}, 'w')"),
    "exec": (exec, "open({0!r}, 'w')"),
    "mkdir": (os.makedirs, "{0}"),
    "numpy": (np.save, "{0}", [1]),
    "load": (pickle.loads, pickle.dumps(Harmful(os.makedirs, "x"))),
    "getattr": (getattr, "{0}", "upper"),
    "inert": (pathlib.Path.touch, "{0}"),
    "config": (Config,),
}


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("name", HARMFUL)
def test_no_code_of_a_file_is_run(name, legacy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mark, path = str(tmp_path / "mark"), tmp_path / "w.pt"
    function, *words = HARMFUL[name]
    words = [word.format(mark) if isinstance(word, str) else word for word in words]
    content = {"state_dict": SOURCE().state_dict(), "x": Harmful(function, *words)}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    network = build("squeezenet")
    if name == "numpy" and not legacy:  # a stand-in takes the arguments, and does nothing
        load_weights(network, str(path), strict=True)
    else:
        with pytest.raises(UserError, match=r"w\.pt: holds .* save the tensors alone there") as no:
            load_weights(network, str(path), strict=True)
        assert "\n" not in str(no.value)
    assert [each.name for each in tmp_path.iterdir()] == ["w.pt"]


def test_what_a_harmless_package_made_is_an_empty_thing(tmp_path):
    torch.save({"at": argparse.Namespace(a=1), "n": np.float64(2)}, tmp_path / "w.pt")
    content = load_torch(tmp_path / "w.pt")
    assert [type(value) for value in content.values()] == [Inert, Inert]
    assert vars(content["at"]) == {}


def test_a_whole_network_is_refused_with_the_remedy(tmp_path):
    torch.save(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1)), tmp_path / "w.pt")
    with pytest.raises(UserError, match=r"can make \(torch\.nn\.\S*\.Sequential, "):
        load_torch(tmp_path / "w.pt")


# --- damage


def flipped(path, part, place):
    """Change a byte of a part of a torch file."""
    with zipfile.ZipFile(path) as archive:
        info = next(info for info in archive.infolist() if info.filename.endswith(part))
    content = bytearray(path.read_bytes())
    name, extra = np.frombuffer(content[info.header_offset + 26 :][:4], "<u2").tolist()
    content[info.header_offset + 30 + name + extra + place] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize("part", ["data/0", "data/30", "data.pkl", "byteorder", "version"])
def test_a_changed_byte_is_noticed(part, tmp_path):
    path = tmp_path / "w.pt"
    torch.save(SOURCE().state_dict(), path)
    flipped(path, part, 1 if part != "version" else 0)
    with pytest.raises(UserError, match=rf"w\.pt: is damaged, w/\S*{part} in it does not"):
        load_torch(path)


def test_an_archive_that_would_go_on_elsewhere_is_damaged(tmp_path):
    # Python's zipfile does not even answer whether such a file is an archive.
    path = tmp_path / "w.pt"
    torch.save({"a": torch.ones(2)}, path)
    content = bytearray(path.read_bytes())
    locator = content.rindex(b"PK\x06\x07")  # signature, disk, offset, number of disks
    content[locator + 16 : locator + 20] = (2).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"w\.pt: cannot be read as a torch file; it is damaged"):
        load_torch(path)


def test_a_file_without_checksums_is_read(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        torch.save({"a": torch.ones(2)}, tmp_path / "w.pt")
    finally:
        torch.serialization.set_crc32_options(True)
    assert load_torch(tmp_path / "w.pt")["a"].tolist() == [1, 1]


def test_a_small_file_that_would_be_large_is_not_unpacked(tmp_path):
    torch.save({"a": torch.zeros(10_000_000)}, tmp_path / "w.pt")
    with zipfile.ZipFile(tmp_path / "w.pt") as plain:
        parts = {name: plain.read(name) for name in plain.namelist()}
    with zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in parts.items():
            packed.writestr(name, content)
    with pytest.raises(UserError, match=r"bomb\.pt: would unpack to 0\.0 GB, over 10 times its"):
        load_torch(tmp_path / "bomb.pt")


def count(wanted):
    return lambda state: len(wanted & state.keys())


def test_a_tensor_that_repeats_few_numbers_is_not_written_out(tmp_path):
    path = tmp_path / "w.pt"
    torch.save({"a": torch.zeros(1, dtype=torch.float16).expand(10**6, 10**6)}, path)
    with pytest.raises(UserError, match=r"w\.pt: its tensors would take 2000\.0 GB, over 10 times"):
        find_weights(path, 1, count({"a"}))


@pytest.mark.filterwarnings("ignore")  # torch warns of sparse tensors at their first use
@pytest.mark.parametrize(
    "tensor",
    [torch.eye(3).to_sparse(), torch.zeros(3, device="meta")],
    ids=["sparse", "meta"],
)
def test_a_tensor_of_another_kind_is_named(tensor, tmp_path):
    torch.save({"fc.weight": tensor}, tmp_path / "w.pt")
    with pytest.raises(UserError, match=r"fc\.weight is a sparse, quantized or empty tensor"):
        find_weights(tmp_path / "w.pt", 1, count({"fc.weight"}))


def test_a_dict_within_itself_has_an_end(tmp_path):
    content: dict = {"a": {}}
    content["a"]["b"] = content
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(UserError, match="holds no tensors by name"):
        find_weights(tmp_path / "w.pt", 1, count({"a"}))


@pytest.mark.filterwarnings("ignore")  # scripts are deprecated, and people have them
def test_a_script_is_no_file_of_weights(tmp_path):
    torch.jit.save(torch.jit.script(torch.nn.Conv2d(3, 4, 1)), str(tmp_path / "w.pt"))
    with pytest.raises(UserError, match=r"w\.pt: cannot be read as a torch file"):
        load_torch(tmp_path / "w.pt")


def test_a_newer_pickle_is_answered_in_one_line(tmp_path):
    buffer = io.BytesIO()
    torch.save({"a": torch.ones(1)}, buffer, pickle_protocol=4)
    (tmp_path / "w.pt").write_bytes(buffer.getvalue())
    with pytest.raises(UserError, match="holds more than tensors"):
        load_torch(tmp_path / "w.pt")
