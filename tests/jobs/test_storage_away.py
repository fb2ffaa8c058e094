"""Storage that is away for a while, under every command; and a wrong bucket."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pyarrow.fs as pafs
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from jobs.pages import serving
from reid import store
from reid.catalogue import delta_tables, open_catalogue
from reid.errors import StorageDownError
from reid.sources import file_headers, read
from reid.store import files, retries
from tests.jobs.storage_commands import (
    APART,
    COMMANDS,
    WITHOUT_STORAGE,
    all_commands,
    furnish,
    in_bucket,
    write_models,
)

if TYPE_CHECKING:
    from tests.flaky_bucket import FlakyBucket

Reid = Callable[..., int]


class Impatient:
    """In place of Arrow's FileSystem: S3 that is asked once, where Arrow would ask for seconds."""

    @staticmethod
    def from_uri(uri: str) -> tuple[pafs.FileSystem, str]:
        once = pafs.AwsStandardS3RetryStrategy(max_attempts=1)
        endpoint = os.environ["AWS_ENDPOINT_URL"]
        fs = pafs.S3FileSystem(endpoint_override=endpoint, retry_strategy=once)
        return fs, unquote(uri.partition("://")[2])


async def visited(app: web.Application, _host: str, _port: int, token: str) -> None:
    """In place of waiting for Ctrl-C: somebody looks at every kind of page, and gives an individual a name."""
    async with TestClient(TestServer(app)) as client:

        async def page(name: str) -> str:
            async with client.get(f"/{token}/{name}") as answer:
                assert answer.status == 200, (name, await answer.text())
                return await answer.text(errors="replace")

        index = await page("")
        found = re.search(r"animal\?picture=([0-9a-f]+)", index)
        csrf = re.search(r'data-token="([^"]*)"', index)
        assert found is not None
        assert csrf is not None
        for name in (
            f"animal?picture={found[1]}",
            f"picture?id={found[1]}&px=320",
            "review",
            "version",
        ):
            await page(name)
        form = {"reviewer": "Anna", "picture": found[1], "name": "Luna"}
        headers = {"X-Reid-Token": csrf[1]}
        async with client.post(f"/{token}/act/describe", data=form, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
        assert "Luna" in await page("")


def elsewhere(*line: str) -> int:
    """The command as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "jobs", *line], check=False, timeout=300
    ).returncode


def test_all_commands_that_touch_storage_are_tried() -> None:
    tried = {name.split()[0] for name in COMMANDS}
    assert not tried & WITHOUT_STORAGE.keys()
    assert tried | WITHOUT_STORAGE.keys() == all_commands(), "list a new command where it belongs"


def test_every_command_waits(
    flaky_bucket: "FlakyBucket",
    local_ray: None,
    reid: Reid,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Ten requests in a row fail, and some more later; the clients of S3 and of Delta do not ask again by themselves.

    A storage that is really away for a minute: tests/benchmarks/storage_away.py.
    """
    monkeypatch.setattr(retries, "FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(retries, "LONGEST_PAUSE_SECONDS", 0.005)
    monkeypatch.setattr(retries, "RETRY_SECONDS", 20)
    monkeypatch.setattr(files, "pafs", SimpleNamespace(**vars(pafs) | {"FileSystem": Impatient}))
    options = delta_tables.options
    impatient = {"max_retries": "0", "retry_timeout": "10s"}
    monkeypatch.setattr(delta_tables, "options", lambda path: options(path) | impatient)
    monkeypatch.setattr(serving, "_run", visited)
    bucket = flaky_bucket.uri
    model = furnish(bucket, tmp_path)
    for name in COMMANDS:
        line = in_bucket(name, bucket, model)
        failed = flaky_bucket.failed
        flaky_bucket.fail(requests=10, share=1)
        flaky_bucket.go_away(seconds=0.2, after=20, shut=False)
        run = elsewhere if line[0] in APART else reid
        assert run(*line) == 0, (name, capsys.readouterr().err)
        assert flaky_bucket.failed >= failed + 10, name
        assert "Traceback" not in capsys.readouterr().err, name
    assert open_catalogue(f"{bucket}/catalogue").rows(["annotation_id"]).num_rows == 32


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
    s3: str, reid: Reid, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = write_models(tmp_path)
    for name in COMMANDS:
        line = in_bucket(name, "s3://that-is-not-there", model, run="some-run")
        assert reid(*line) == 1, (name, capsys.readouterr().err)
        said = capsys.readouterr().err
        assert "error: " in said, name
        assert "that-is-not-there" in said, name


def test_the_demo_stays_on_this_disk(reid: Reid, capsys: pytest.CaptureFixture[str]) -> None:
    assert reid("demo", "-o", "s3://bucket/demo") == 1
    assert "the pictures are made on this disk" in capsys.readouterr().err
