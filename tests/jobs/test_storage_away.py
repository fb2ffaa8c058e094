"""Storage that is away for a while, under every command that reads or writes a catalogue; and a wrong bucket."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from reid import store
from reid.catalogue import open_catalogue
from reid.errors import StorageDownError
from reid.sources import file_headers, read
from reid.store import retries
from tests.jobs.made_up import at, stand_in

if TYPE_CHECKING:
    from tests.conftest import FlakyBucket

Reid = Callable[..., int]

COMMANDS = (
    ("history",),
    ("export", "-f", "csv"),
    ("review", "-o", "{bucket}/review.html"),
    ("book", "--to", "{bucket}/book"),
    ("tidy",),
)


def test_every_command_waits(
    flaky_bucket: "FlakyBucket",
    reid: Reid,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """More requests in a row fail than the clients of S3 ask again by themselves."""
    stand_in(monkeypatch.setattr)
    monkeypatch.setattr(retries, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(retries, "LONGEST_PAUSE_SECONDS", 0.05)
    bucket = flaky_bucket.uri
    for name, angle in {"a1": 0, "a2": 5, "b1": 35, "b2": 40}.items():
        store.write_bytes(f"{bucket}/uploads/{name}.jpg", at(angle).tobytes())
    rules = ("identify.known_distance=0.05", "identify.new_distance=0.2")
    where = ("-C", f"{bucket}/catalogue")
    first = ("identify", "-i", f"{bucket}/uploads", *where, "--species", "lynx", *rules)
    for command in (first, *((*one, *where) for one in COMMANDS)):
        failed = flaky_bucket.failed
        flaky_bucket.fail(requests=60, share=0.7, answers=("503 SlowDown",))
        arguments = [str(part).format(bucket=bucket) for part in command]
        assert reid(*arguments) == 0, capsys.readouterr().err
        assert flaky_bucket.failed > failed + 5
    assert len(open_catalogue(f"{bucket}/catalogue").rows(["annotation_id"])) == 4


def test_what_a_file_is_nobody_guesses_while_storage_is_away(
    flaky_bucket: "FlakyBucket", monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table was read as a list of paths, and pictures as if they had no time."""
    table = f"{flaky_bucket.uri}/pictures.txt"
    store.write_text(table, "path;identity\na.jpg;Luna\n")
    assert read._looks_like_table(table)
    monkeypatch.setattr(retries, "RETRY_SECONDS", 0)
    flaky_bucket.fail(requests=10_000, share=1, answers=("503 SlowDown",))
    for look in (read._looks_like_table, file_headers._read):
        with pytest.raises(StorageDownError, match="run the same command again later"):
            look(table)
    flaky_bucket.fail(requests=0)


def test_a_wrong_bucket_is_bad_input(
    bucket: str, reid: Reid, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in(monkeypatch.setattr)
    nowhere = f"{bucket}-that-is-not-there"
    for command in (
        ("identify", "-i", f"{nowhere}/uploads", "-C", f"{bucket}/catalogue"),
        ("run", "-i", f"{nowhere}/uploads", "-o", f"{bucket}/out"),
        *((*one, "-C", f"{nowhere}/catalogue") for one in COMMANDS),
    ):
        arguments = [part.format(bucket=bucket) for part in command]
        assert reid(*arguments) == 1, arguments
        assert "error: " in capsys.readouterr().err
