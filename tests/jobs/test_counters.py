"""Counters that reach Prometheus are read from a real head in test_submit.py; these are the edges."""

import re
from pathlib import Path

import pytest
import ray

from jobs.common.counters import COUNTERS, _counter, count
from reid.config import Config

JOBS = Path(__file__).parents[2] / "jobs"
ON = Config(metrics=True)


@pytest.fixture
def no_counters() -> None:
    _counter.cache_clear()


@pytest.mark.usefixtures("local_ray", "no_counters")
def test_nothing_is_counted_unless_asked_for() -> None:
    count(Config(), "images", 3, stage="embed", outcome="embedded")
    count(ON, "images", 0, stage="embed", outcome="embedded")
    assert _counter.cache_info().currsize == 0
    count(ON, "images", 3, stage="embed", outcome="embedded")
    assert _counter.cache_info().currsize == 1


@pytest.mark.usefixtures("no_counters")
def test_a_job_without_ray_counts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    count(ON, "images", 3, stage="cluster", outcome="clustered")
    assert _counter.cache_info().currsize == 0


@pytest.mark.usefixtures("local_ray")
def test_a_counter_has_its_tags() -> None:
    with pytest.raises(ValueError, match="outcome"):
        count(ON, "images", 1, stage="embed")


def test_jobs_count_with_the_tags_that_there_are() -> None:
    found = 0
    for path in JOBS.rglob("*.py"):
        calls = re.findall(r'\bcount\(config, "(\w+)", [^,]+, (.*)\)', path.read_text("utf-8"))
        for name, tags in calls:
            found += 1
            assert tuple(re.findall(r"(\w+)=", tags)) == COUNTERS[name][1], path
    assert found > 3
