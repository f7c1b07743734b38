"""Which method a name, or no name, stands for: the YAMLs say it, the user's among them."""

from __future__ import annotations

import hydra
import pytest
from model_helpers import build

from cam_repro.config import config_dir
from cam_repro.saliency.backprop import Backprop
from cam_repro.saliency.build import build_saliency, default_saliency
from cam_repro.saliency.cam import Cam


@pytest.mark.parametrize("path", sorted((config_dir() / "saliency").glob("*.yaml")))
def test_a_method_is_called_as_its_yaml(path):
    assert build_saliency(path.stem).name == path.stem


def test_settings_come_from_the_yaml_that_the_command_sees(tmp_path):
    folder = tmp_path / "saliency"
    folder.mkdir()
    yaml = "_target_: cam_repro.saliency.backprop.Backprop\nname: smooth\nblur: 0.125\n"
    (folder / "smooth.yaml").write_text(yaml)
    with hydra.initialize_config_dir(str(tmp_path), version_base="1.3"):
        assert build_saliency("smooth").blur == 0.125
    assert build_saliency("backprop").blur == 0.03


@pytest.mark.parametrize(
    ("name", "kind"), [("alexnet", Backprop), ("vgg", Backprop), ("nin", Cam), ("vgg_gap", Cam)]
)
def test_cam_where_the_network_allows_it(name, kind):
    assert type(default_saliency(build(name))) is kind
