"""The actor without Ray: what it does with a shard that others have died over."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from jobs.embed.embed_worker import GIVE_UP_AT_ATTEMPT, ISOLATE_AT_ATTEMPT, EmbedTask, EmbedWorker
from reid import embeddings, store
from reid.config import Images
from reid.embedder import Recipe
from reid.manifest import read_annotations

SHARD_ROWS = 3


@pytest.fixture
def worker(make_photos: Callable[..., list[Path]], tmp_path: Path) -> EmbedWorker:
    """A worker with seven pictures to do, in shards of three; the fifth file is empty."""
    make_photos(tmp_path / "photos", range(7))[4].write_bytes(b"")
    folder = str(tmp_path / "store")
    task = EmbedTask(
        models=("efficientnet-lite0",),
        trust_remote_code=False,
        revision=None,
        recipe=Recipe(
            models=(("efficientnet-lite0", "digest"),),
            model_weights=(1.0,),
            views=("identity",),
            precision="fp32",
            decode="scaled",
            bbox_margin=0.0,
        ),
        folder=folder,
        work=store.join(folder, "work-1"),
        device="cpu",
        runtime="torch",
        batch_size=2,
        threads=1,
        images=Images(),
    )
    annotations, _ = read_annotations([str(tmp_path / "photos")])
    store.write_table(
        store.join(task.work, "pending.parquet"), annotations, row_group_rows=SHARD_ROWS
    )
    return EmbedWorker(task)


def begin(worker: EmbedWorker, shard: int, times: int) -> None:
    """Leave the notes of workers that began a shard and died."""
    for attempt in range(1, times + 1):
        store.write_bytes(store.join(worker.task.work, f"begun-{shard}-{attempt}"), b"")


def counts(batch: dict[str, np.ndarray]) -> list[tuple[int, int]]:
    return list(zip(batch["embedded"].tolist(), batch["failed"].tolist(), strict=True))


def rows_of(worker: EmbedWorker) -> pa.Table:
    return store.read_table(store.join(worker.task.work, "pending.parquet"))


def test_shards_are_counted_and_written(worker: EmbedWorker) -> None:
    done = worker({"id": np.array([0, 1])})
    assert counts(done) == [(3, 0), (2, 1)]
    assert done["runtime"].tolist() == ["cpu: torch"] * 2
    assert counts(worker({"id": np.array([2])})) == [(1, 0)]
    ids = rows_of(worker)["annotation_id"].to_pylist()
    read = embeddings.read_embeddings(worker.task.folder, ids)
    assert read.found.tolist() == [0, 1, 2, 3, 5, 6]
    failures = embeddings.read_failures(worker.task.work)
    assert failures["annotation_id"].to_pylist() == [ids[4]]


def test_a_shard_that_comes_again_replaces_itself(worker: EmbedWorker) -> None:
    for _ in range(2):
        assert counts(worker({"id": np.array([1])})) == [(2, 1)]
    assert len(embeddings.stored_ids(worker.task.folder)) == 2
    assert len(embeddings.read_failures(worker.task.work)) == 1


def test_isolated_images_that_are_well_are_embedded_as_ever(worker: EmbedWorker) -> None:
    """Workers die for other reasons too: a machine that is taken away, memory."""
    assert counts(worker({"id": np.array([1])})) == [(2, 1)]
    before = {path: store.read_bytes(path) for path in embeddings.parts(worker.task.folder)}
    begin(worker, 1, ISOLATE_AT_ATTEMPT)
    assert counts(worker({"id": np.array([1])})) == [(2, 1)]
    assert {path: store.read_bytes(path) for path in before} == before
    assert len(embeddings.read_failures(worker.task.work)) == 1


def test_shards_that_kill_every_worker_are_given_up_one_by_one(worker: EmbedWorker) -> None:
    for shard in (0, 1):
        begin(worker, shard, GIVE_UP_AT_ATTEMPT - 1)
        assert counts(worker({"id": np.array([shard])})) == [(0, 3)]
    failures = embeddings.read_failures(worker.task.work)
    ids = rows_of(worker)["annotation_id"].to_pylist()
    assert sorted(failures["annotation_id"].to_pylist()) == sorted(ids[: 2 * SHARD_ROWS])
    assert set(failures["error"].to_pylist()) == {"the worker died 7 times over this shard"}
