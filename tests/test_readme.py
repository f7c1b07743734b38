"""The README's example of an added network, run as it stands there."""

import re
import sys
from pathlib import Path

import pytest

from cam_repro.cli import eval as cam_eval
from cam_repro.cli import train as cam_train

README = Path(__file__).parents[1] / "README.md"


def block(language: str, first_line: str) -> str:
    text = README.read_text(encoding="utf-8")
    found = re.search(rf"```{language}\n({re.escape(first_line)}\n.*?)```", text, re.DOTALL)
    assert found, f"README.md has no {language} block that begins with {first_line}"
    return found[1]


def test_the_added_network_trains_and_is_scored(tmp_path, make_tree, monkeypatch):
    (tmp_path / "my_nets.py").write_text(block("python", "# my_nets.py"))
    yaml = tmp_path / "my_configs" / "model" / "tiny_gap.yaml"
    yaml.parent.mkdir(parents=True)
    yaml.write_text(block("yaml", "# my_configs/model/tiny_gap.yaml"))
    data = make_tree(tmp_path / "tiny")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    common = ["--config-dir", str(yaml.parents[1]), "model=tiny_gap", "data=ilsvrc"]
    common += [f"data.root={data}", "device=cpu"]

    monkeypatch.setattr(sys, "argv", ["cam-train", *common, "optim.iterations=2"])
    cam_train.main()
    monkeypatch.setattr(sys, "argv", ["cam-eval", *common])
    cam_eval.main()

    assert (tmp_path / "runs/tiny/tiny_gap/eval/val-cam/scores.json").is_file()


@pytest.mark.parametrize("command", re.findall(r"^bash (\S+)", README.read_text(), re.MULTILINE))
def test_the_scripts_that_it_names_are_there(command):
    assert (README.parent / command).is_file()
