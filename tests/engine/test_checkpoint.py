"""Checkpoints that are not whole, or changed since they were written."""

import pytest
import torch

from cam_repro.engine.checkpoint import CONTENT, load_checkpoint, save_checkpoint
from cam_repro.errors import UserError

WHOLE = {
    "model": {"fc.weight": torch.ones(2, 2)},
    "optimizer": {},
    "progress": {},
    "identity": "{}",
    "model_config": {"name": "nin", "_target_": "cam_repro.models.nin.Nin"},
    "classes": ["n00000001", "n00000002"],
}


def test_what_is_written_is_read(tmp_path):
    save_checkpoint(tmp_path / "last.pt", WHOLE)
    state = load_checkpoint(tmp_path / "last.pt")
    assert state["model"]["fc.weight"].tolist() == [[1, 1], [1, 1]]
    assert {key: state[key] for key in CONTENT if key != "model"} == {
        key: WHOLE[key] for key in CONTENT if key != "model"
    }


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *((key, None) for key in CONTENT),
        ("model", [1]),
        ("classes", 3),
        ("classes", [1, 2]),
        ("model_config", {"name": "nin"}),
        ("model_config", {**WHOLE["model_config"], "row": ["NIN"]}),
        ("model_config", {"name": 1, "_target_": "cam_repro.models.nin.Nin"}),
    ],
)
def test_a_checkpoint_that_lacks_something_is_answered_in_one_line(key, value, tmp_path):
    changed = {**WHOLE, key: value}
    if value is None:
        del changed[key]
    save_checkpoint(tmp_path / "last.pt", changed)
    with pytest.raises(
        UserError, match=rf"last\.pt: is no whole checkpoint, its {key} is"
    ) as error:
        load_checkpoint(tmp_path / "last.pt")
    assert "\n" not in str(error.value)


def test_a_changed_byte_is_noticed(tmp_path):
    path = tmp_path / "last.pt"
    save_checkpoint(path, {**WHOLE, "model": {"fc.weight": torch.full((64,), 3.25)}})
    content = bytearray(path.read_bytes())
    content[content.index(torch.full((64,), 3.25).numpy().tobytes()) + 77] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"last\.pt: is damaged, \S*data/0 in it does not match"):
        load_checkpoint(path)
