"""Fixtures of the tests that train."""

import pytest

from cam_repro.commands.train import run_training


@pytest.fixture
def start(compose_config, tiny_run, tmp_path):
    """Trains into ``tmp_path / name`` with further words; returns the folder."""

    def start(name, *words):
        cfg = compose_config("train", *tiny_run, *words, f"output={tmp_path / name}")
        return run_training(cfg)

    return start
