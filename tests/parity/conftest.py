"""What the tests of other projects' steps share: the command, what it says, and photographs of vectors."""

from collections.abc import Callable
from contextlib import nullcontext

import pytest

import jobs.run
from tests.jobs import made_up


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """What was printed since it was asked last, in one line."""

    def text() -> str:
        told = capsys.readouterr()
        return " ".join((told.err + told.out).split())

    return text


@pytest.fixture
def photographs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Embedding reads vectors from the files, see `tests.jobs.made_up`; there is no Ray."""
    made_up.stand_in(monkeypatch.setattr)
    monkeypatch.setattr(jobs.run, "ray_session", lambda _: nullcontext())
