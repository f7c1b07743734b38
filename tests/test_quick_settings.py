"""Settings that the tests compose quicker are those that Hydra composes."""

import copy
from dataclasses import dataclass

import hydra
import pytest
import quick_settings
from hydra._internal import config_loader_impl
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import ConfigCompositionException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ReadonlyConfigError

from cam_repro.config import config_dir


def composed(name, *words):
    with hydra.initialize_config_dir(str(config_dir()), version_base="1.3"):
        return hydra.compose(name, list(words), return_hydra_config=True)


@pytest.fixture
def by_hydra(monkeypatch):
    def by_hydra(name, *words):
        with monkeypatch.context() as patch:
            patch.setattr(
                config_loader_impl, "create_defaults_list", quick_settings.listed_by_hydra
            )
            patch.setattr(
                ConfigLoaderImpl,
                "_compose_config_from_defaults_list",
                quick_settings.composed_by_hydra,
            )
            patch.setattr(OverridesParser, "parse_rule", quick_settings.parsed_by_hydra)
            patch.setattr(DictConfig, "__deepcopy__", quick_settings.copied_by_omegaconf)
            return composed(name, *words)

    return by_hydra


@pytest.mark.parametrize(
    "words",
    [
        ["eval"],
        ["eval", "model=squeezenet", "data=ilsvrc", "data.root=/there", "+box@box.dt_box=dt_box"],
        ["eval", "data.root=/there", "model=squeezenet", "+box@box.dt_box=dt_box", "data=ilsvrc"],
        ["train", "recipe=ilsvrc", "optim.lr=0.5", "~optim.momentum", "+optim.other={a:1}"],
        ["show", "image=x.jpg", "hydra.run.dir=x", "+more=[1,2]"],
        ["figures", "figure=threshold"],
    ],
)
def test_settings_are_hydras_however_often_they_are_composed(by_hydra, words):
    wanted = by_hydra(*words)
    first = composed(*words)
    assert OmegaConf.to_yaml(first) == OmegaConf.to_yaml(wanted)  # in the same order too
    with pytest.raises(ConfigAttributeError):
        first.no_such_setting = 1
    first.output = "changed"  # a copy: the next one is as before
    assert OmegaConf.to_yaml(composed(*words)) == OmegaConf.to_yaml(wanted)


def test_what_is_wrong_is_said_each_time():
    for _ in range(2):
        with pytest.raises(ConfigCompositionException, match="Could not override 'nothing'"):
            composed("eval", "nothing=1")
        with pytest.raises(hydra.errors.MissingConfigException, match="model/nothing"):
            composed("eval", "model=nothing")


def test_a_folder_of_the_users_own_is_read_each_time(tmp_path, by_hydra):
    (tmp_path / "model").mkdir()
    words = ("eval", "model=mine", f"hydra.searchpath=[file://{tmp_path}]")
    for width in (1, 2):
        (tmp_path / "model/mine.yaml").write_text(f"name: mine\nwidth: {width}\n")
        assert composed(*words).model.width == width == by_hydra(*words).model.width


def test_files_are_merged_once_for_the_same_choices(monkeypatch):
    merged, real = [], quick_settings.composed_by_hydra
    monkeypatch.setattr(
        quick_settings, "composed_by_hydra", lambda *all_: merged.append(1) or real(*all_)
    )
    monkeypatch.setattr(quick_settings, "_merged", {})
    for width in (1, 2):
        assert composed("eval", "model=vgg", f"model.width={width}").model.width == width
    composed("eval", "model=nin")
    assert len(merged) == 2


def test_a_copy_is_apart_and_knows_its_parent():
    whole = OmegaConf.create({"a": {"b": [1, "${c}"], "d": "???"}, "c": 3})
    OmegaConf.set_readonly(whole.a, True)
    part = copy.deepcopy(whole.a)
    assert part == whole.a
    assert part.b == [1, 3]  # the parent's
    assert OmegaConf.is_missing(part, "d")
    with pytest.raises(ReadonlyConfigError):
        part.b[0] = 2
    OmegaConf.set_readonly(part, False)
    part.b[0] = 2
    assert whole.a.b[0] == 1

    @dataclass
    class Local:
        x: int = 1

    assert copy.deepcopy(OmegaConf.structured(Local)) == {"x": 1}  # pickle cannot


def test_what_cannot_be_parsed_is_said_each_time():
    for _ in range(2):
        with pytest.raises(OverrideParseException, match="no viable alternative at input"):
            composed("eval", "a=[")
