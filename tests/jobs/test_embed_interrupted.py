"""The embedding job on a real Ray goes on, whatever dies, fails, or is at work on the same store."""

import os
import runpy
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

import jobs.embed.embed_driver
import jobs.embed.embed_places
from jobs.common import outputs
from jobs.embed.embed_worker import EmbedTask, EmbedWorker
from jobs.embed.spared import DEAD_AFTER_SECONDS
from jobs.run import run_embed
from reid import embeddings, store
from reid.config import Config, load_config
from reid.embedder import Embedder, embed_annotations
from reid.errors import StorageDownError, StorageError
from reid.manifest import read_annotations
from reid.models import LoadedModel, load_model
from reid.models.patch_tokens import TokenGrid
from reid.store import retries
from tests.jobs.embedding_runs import (
    HERE,
    QUICK,
    Run,
    embed,
    failures_by_file,
    stored_rows,
    wanted_rows,
    written,
)
from tests.jobs.processes import needs_proc, start_and_kill

if TYPE_CHECKING:
    from tests.flaky_bucket import FlakyBucket

pytestmark = pytest.mark.usefixtures("local_ray")

MakePhotos = Callable[..., list[Path]]
Reid = Callable[..., int]

# ── Death ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_worker_that_is_killed_costs_nothing(
    make_photos: MakePhotos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_photos(tmp_path / "photos", range(24))

    class KilledInTheMiddle(EmbedWorker):
        done = 0

        def _shard(self, shard: int) -> tuple[int, int]:
            counts = super()._shard(shard)
            self.done += 1
            if self.done == 2 and not (tmp_path / "killed").exists():
                # The part is written and nobody has been told: the shard comes a second time.
                (tmp_path / "killed").write_text(str(shard))
                os.kill(os.getpid(), signal.SIGKILL)
            return counts

    monkeypatch.setattr(jobs.embed.embed_places, "EmbedWorker", KilledInTheMiddle)
    run = embed(tmp_path / "photos", tmp_path / "out", "embed.shard_rows=4", "embed.workers=2")
    assert (tmp_path / "killed").exists(), "it did die"
    assert (run.summary.embedded, run.summary.failed) == (24, 0)
    assert stored_rows(run.folder) == wanted_rows(run.out), "none lost, none twice"


DEADLY_DECODER = '''
"""Stands for a decoder with a bug: on bytes that hold the word `deadly` the process dies."""
import os, signal
import PIL.Image

real = PIL.Image.open


def decode(stream, *arguments, **options):
    if b"deadly" in stream.getvalue():
        os.kill(os.getpid(), signal.SIGKILL)
    return real(stream, *arguments, **options)


PIL.Image.open = decode
'''


def test_an_image_on_which_the_decoder_crashes_is_a_failure(
    make_photos: MakePhotos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_photos(tmp_path / "photos", range(5))
    deadly = paths[2:4]
    for path in deadly:
        path.write_bytes(path.read_bytes() + b"deadly")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(DEADLY_DECODER)

    class WithThatDecoder(EmbedWorker):
        def __init__(self, task: EmbedTask) -> None:
            super().__init__(task)
            runpy.run_path(str(tmp_path / "site" / "sitecustomize.py"))
            os.environ["PYTHONPATH"] = str(tmp_path / "site")  # for the processes it starts

    monkeypatch.setattr(jobs.embed.embed_places, "EmbedWorker", WithThatDecoder)
    run = embed(tmp_path / "photos", tmp_path / "out", "embed.shard_rows=1", "max_failures=0.5")
    crash = ("embed", "the decoder crashes on this image")
    assert failures_by_file(run.out) == {path.name: crash for path in deadly}
    assert (run.summary.embedded, run.summary.failed) == (3, 2)
    assert len(stored_rows(run.folder)) == 3


@needs_proc
def test_a_run_whose_driver_is_killed_goes_on_where_it_was(
    make_photos: MakePhotos, tmp_path: Path, reid: Reid
) -> None:
    make_photos(tmp_path / "photos", range(60))
    out = tmp_path / "out"
    arguments = ["-i", str(tmp_path / "photos"), "-o", str(out), *QUICK, "embed.shard_rows=4"]
    start_and_kill(
        ["embed", *arguments],
        tmp_path / "log",
        lambda: len(list(out.glob("embeddings/*/part-*.parquet"))) >= 2,
    )
    (folder,) = (out / "embeddings").iterdir()
    before = written(folder)
    assert 2 <= len(before) < 15, "killed in the middle"
    assert list(folder.glob("work-*")), "and in no state to tidy up"

    assert reid("embed", *arguments) == 0
    summary = outputs.read_summary(str(out))["embed"]
    assert (summary["reused"], summary["embedded"]) == (4 * len(before), 60 - 4 * len(before))
    assert stored_rows(folder) == wanted_rows(out), "none lost, none twice"
    assert {name: written(folder)[name] for name in before} == before

    # What it was at is kept while it might still live, and forgotten when it is surely dead.
    (left,) = folder.glob("work-*")
    for path in left.iterdir():
        os.utime(path, (0, time.time() - DEAD_AFTER_SECONDS - 60))
    assert reid("embed", *arguments) == 0
    assert not left.exists()


def test_storage_that_fails_a_worker_is_told_as_such(
    make_photos: MakePhotos, tmp_path: Path
) -> None:
    make_photos(tmp_path / "photos", range(24))
    whole = embed(tmp_path / "photos", tmp_path / "whole", "embed.shard_rows=8", HERE)
    folder = tmp_path / "out" / "embeddings" / whole.folder.name
    taken = next(iter(written(whole.folder)))
    (folder / taken / "in the way").mkdir(parents=True)
    with pytest.raises(StorageError, match=f"{taken}: cannot write"):
        embed(tmp_path / "photos", tmp_path / "out", "embed.shard_rows=8")
    shutil.rmtree(folder / taken)
    run = embed(tmp_path / "photos", tmp_path / "out", "embed.shard_rows=8", HERE)
    assert run.summary.embedded + run.summary.reused == 24
    assert stored_rows(run.folder) == wanted_rows(run.out)


# ── Company ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("when", "fewer", "doubles", "where"),
    [
        ("before", False, 0, "embed.ray=always"),
        ("before", True, 7, HERE),
        ("after", True, 0, HERE),
    ],
    ids=["same work", "other shards", "work that is done"],
)
def test_two_runs_over_one_store_do_not_disturb_each_other(
    make_photos: MakePhotos,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    when: str,
    fewer: bool,
    doubles: int,
    where: str,
) -> None:
    """All of the second run happens inside the first: before or after the first one's workers."""
    make_photos(tmp_path / "photos", range(8))[3].write_bytes(b"")
    new = tmp_path / "photos" / "0-new"  # which comes before the others, and shifts their shards
    make_photos(new, range(8, 10))
    shared = ("embed.shard_rows=4", "max_failures=0.5", f"store={tmp_path / 'store'}", where)
    others: list[Run] = []
    work = jobs.embed.embed_driver._run

    def in_company(
        config: Config,
        task: EmbedTask,
        models: list[LoadedModel],
        pending: pa.Table,
        grid: TokenGrid | None,
    ) -> list[str]:
        monkeypatch.setattr(jobs.embed.embed_driver, "_run", work)
        runtimes = work(config, task, models, pending, grid) if when == "after" else []
        if fewer:
            shutil.rmtree(new)
        others.append(embed(tmp_path / "photos", tmp_path / "other", *shared))
        make_photos(new, range(8, 10))
        assert store.exists(task.work) == (when == "after")
        return runtimes or work(config, task, models, pending, grid)

    monkeypatch.setattr(jobs.embed.embed_driver, "_run", in_company)
    run = embed(tmp_path / "photos", tmp_path / "out", *shared)
    (other,) = others
    assert run.folder == other.folder
    assert (run.summary.annotations, run.summary.failed) == (10, 1)
    assert (other.summary.annotations, other.summary.failed) == (8 if fewer else 10, 1)
    assert failures_by_file(run.out).keys() == failures_by_file(other.out).keys() == {"003.png"}
    names = {path.name.partition("-")[0] for path in run.folder.iterdir()}
    assert names == {"part", "recipe.json", "refused"}
    for each in (run, other):
        ids = wanted_rows(each.out)
        assert len(embeddings.read_embeddings(str(run.folder), ids).found) == len(ids) - 1
    assert len(stored_rows(run.folder)) == 9 + doubles


# ── Storage ─────────────────────────────────────────────────────────────────────────────────────────


def test_storage_that_fails_half_of_its_requests_for_a_while(
    flaky_bucket: "FlakyBucket", make_photos: MakePhotos, tmp_path: Path
) -> None:
    for path in make_photos(tmp_path, range(6)):
        store.write_bytes(f"{flaky_bucket.uri}/photos/{path.name}", path.read_bytes())
    endpoint = flaky_bucket.endpoint

    class OnThatStorage(EmbedWorker):
        def __init__(self, task: EmbedTask) -> None:
            os.environ["AWS_ENDPOINT_URL"] = endpoint
            super().__init__(task)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs.embed.embed_places, "EmbedWorker", OnThatStorage)
        flaky_bucket.fail(requests=150)
        config = load_config(
            None,
            [*QUICK, "embed.shard_rows=2"],
            {"input": [f"{flaky_bucket.uri}/photos"], "out": f"{flaky_bucket.uri}/out"},
        )
        summary = run_embed(config)
    assert flaky_bucket.failed > 50
    assert (summary.embedded, summary.failed) == (6, 0)
    (folder,) = summary.folders.values()
    assert len(embeddings.parts(folder)) == 3
    assert len(embeddings.stored_ids(folder)) == 6


def test_an_outage_is_no_fault_of_the_images(
    flaky_bucket: "FlakyBucket", make_photos: MakePhotos, tmp_path: Path
) -> None:
    """Images that fail are rows, and the run goes on; storage that is gone stops it, to go on later."""
    make_photos(tmp_path, range(3))
    for path in tmp_path.iterdir():
        store.write_bytes(f"{flaky_bucket.uri}/photos/{path.name}", path.read_bytes())
    annotations, _ = read_annotations([f"{flaky_bucket.uri}/photos"])
    embedder = Embedder([load_model("efficientnet-lite0")], runtime="torch")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retries, "RETRY_SECONDS", 0)
        flaky_bucket.fail(requests=10_000, share=1)
        with pytest.raises(StorageDownError, match=r"photos/00\d.*the same command again"):
            embed_annotations(embedder, annotations)
    flaky_bucket.fail(requests=0)
    table, failures = embed_annotations(embedder, annotations)
    assert (len(table), len(failures)) == (3, 0)
