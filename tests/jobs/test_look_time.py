"""What is said of a closer look that was not taken; what it costs is in tests/jobs/test_run.py."""

from typing import Any

import pytest

from jobs.common.look_time import look_not_taken
from reid.config import load_config


def summary(images: int) -> dict[str, Any]:
    one = {"images": images, "verdict": {"level": "not usable"}, "scores": {}}
    return {"embed": {"annotations": images}, "cluster": {"species": {"lynx": one}}}


def test_the_command_can_be_pasted_and_a_lone_picture_has_no_pair(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("jobs.common.look_time.NEEDED", ("json",))
    monkeypatch.setattr("jobs.common.look_time.look_seconds", lambda *_: None)
    config = load_config(None, ["out=results of May"])
    assert "`reid cluster --out 'results of May' pairs=on`" in look_not_taken(config, summary(2))
    assert look_not_taken(config, summary(1)) == ""
