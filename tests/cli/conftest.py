"""What tests of several commands share."""

import json

import pytest


@pytest.fixture
def score(command):
    """Runs cam-score; returns its JSON and what it said."""

    def run(*arguments):
        done = command("score", *map(str, arguments))
        assert done.status == 0, done.err
        return json.loads(done.out), done.err

    return run
