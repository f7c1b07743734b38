"""A test that misses one of the real files skips, or fails where they are required."""

import pytest


@pytest.mark.parametrize("value", [None, "", "0", "false", "No", "off"])
def test_where_they_are_not_required_it_skips(shared_file, monkeypatch, value):
    monkeypatch.delenv("CAM_REPRO_REQUIRE_SHARED", raising=False)
    if value is not None:
        monkeypatch.setenv("CAM_REPRO_REQUIRE_SHARED", value)
    with pytest.raises(pytest.skip.Exception, match="absent is not there"):
        shared_file("absent")


@pytest.mark.parametrize("value", ["1", "true", "Yes"])
def test_where_they_are_required_it_fails(shared_file, monkeypatch, value):
    monkeypatch.setenv("CAM_REPRO_REQUIRE_SHARED", value)
    with pytest.raises(pytest.fail.Exception, match="absent is not there"):
        shared_file("absent")
