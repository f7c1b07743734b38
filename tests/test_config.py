from dataclasses import dataclass

import pytest
from omegaconf import MISSING, OmegaConf

from cam_repro.config import build, validate
from cam_repro.errors import UserError


@dataclass
class Schema:
    path: str = MISSING
    n: int = 3
    share: float = 0.2
    name: str | None = None

    def __post_init__(self):
        if not 0 < self.share < 1:
            raise UserError(f"share={self.share}: must lie between 0 and 1")


def test_values_and_interpolations_arrive_in_the_object():
    cfg = OmegaConf.create({"path": "a/${name}", "n": 4, "share": 0.5, "name": "b"})
    assert validate(cfg, Schema) == Schema("a/b", 4, 0.5, "b")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "path not given: add path=VALUE"),
        ({"path": "???"}, "path not given"),
        ({"path": "a", "n": "many"}, "^n=many: must be a whole number$"),
        ({"path": "a", "nn": 1}, "^there is no setting 'nn': --help lists them$"),
        ({"path": "a", "shaer": 1}, "^there is no setting 'shaer'; did you mean share\\?$"),
        ({"path": "a", "share": "big"}, "^share=big: must be a number$"),
        ({"path": ["a"]}, "^path: is one value, not a list or group$"),
        ({"path": "a", "share": 2}, "share=2.0: must lie between 0 and 1"),
        ({"path": "${nowhere}"}, "path: Interpolation key 'nowhere' not found"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(values, message):
    with pytest.raises(UserError, match=message) as error:
        validate(OmegaConf.create(values), Schema)
    assert "\n" not in str(error.value)


class Part:
    """What a choice of these tests must be."""


class Good(Part):
    def __init__(self, size, side=0):
        self.size, self.side = size, side


called = []


def call(*args, **kwargs):
    called.append(args)


def test_a_choice_is_built_from_its_settings_and_arguments():
    built = build(Part, "part", {"_target_": f"{__name__}.Good", "size": [1, 2]}, side=3)
    assert (built.size, built.side) == ([1, 2], 3)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"_target_": "Call", "size": 1}, r"part\._target_=.*\.call: is no Part; derive"),
        ({"_target_": "pandas.read_pickle", "filepath_or_buffer": "x"}, "read_pickle: is no Part"),
        ({"_target_": "torch.load", "f": "x"}, "torch.load: is no Part"),
        ({"_target_": "os.system", "_args_": ["touch x"]}, r"part\._target_=os\.system"),
        ({"_target_": "Good", "size": {"_target_": "Call"}}, r"^part\.size\._target_: a setting"),
        (
            {"_target_": "Good", "size": [1, {"a": {"_target_": "Call"}}]},
            r"^part\.size\.a\._target_: a setting names no class; only the choice does$",
        ),
        ({"_target_": "Good", "size": 1, "_partial_": True}, r"^part\._partial_: Good has no such"),
    ],
)
def test_nothing_is_called_that_is_not_of_the_groups_type(settings, said):
    ours = {"Call": f"{__name__}.call", "Good": f"{__name__}.Good"}

    def named(value):
        if isinstance(value, dict):
            return {k: ours.get(v, v) if k == "_target_" else named(v) for k, v in value.items()}
        return [named(each) for each in value] if isinstance(value, list) else value

    with pytest.raises(UserError, match=said) as error:
        build(Part, "part", named(settings))
    assert "\n" not in str(error.value)
    assert called == []
