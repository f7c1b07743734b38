from dataclasses import dataclass

import pytest
from omegaconf import MISSING, OmegaConf

from cam_repro.config import validate
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
