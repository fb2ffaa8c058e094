"""Keypoints, votes and evidence: what the store lacks is made by Ray actors, then all is read back."""

import hashlib
import time
import uuid
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.common import outputs
from jobs.common.console import progress
from jobs.common.pair_precision import pair_precision
from jobs.pairs.pair_worker import PENDING, PairTask, PairWorker
from jobs.pairs.shards import Workers, open_workers
from reid import embeddings, schema, store
from reid.config import Config
from reid.errors import StorageError
from reid.keypoints import KeypointRecipe, extractor_digest
from reid.pairs import MATCHERS, extractor_of
from reid.pairs.matchers import tuned_matcher

SHARD_IMAGES = 32
SHARD_PAIRS = {"votes": 4096, "evidence": 64}
KINDS = {"votes": schema.PAIR_VOTES, "evidence": schema.PAIR_EVIDENCE}
NAMES = ["a_id", "b_id", "a_key", "b_key"]
BLOCK = 256  # rows whose keypoints lie together: pairs are done block by block


@dataclass(frozen=True)
class Made:
    """What one step did: new, there already, and failed."""

    new: int
    reused: int
    failed: int
    seconds: float
    by: str = ""


def plan(config: Config, species: str) -> PairTask:
    """Recipe and folders for one species; fails here where an extra is missing.

    Raises:
        InputError: there is no such matcher.
        MissingPackageError: the extra `local` is not installed.
    """
    settings = config.pairs
    extractor = extractor_of(settings.matcher)
    recipe = KeypointRecipe(
        extractor=extractor,
        digest=extractor_digest(extractor),
        most=settings.keypoints_per_image,
        long_side=settings.long_side,
        enlarge=settings.enlarge,
        bbox_margin=config.images.bbox_margin,
        window=config.images.window_of(species),
    )
    base = config.store_path
    if not store.is_remote(base):
        base = store.filesystem(base)[1]  # workers have another working directory
    folder = store.join(base, "keypoints", recipe.folder)
    return PairTask(
        recipe=recipe,
        keypoints=folder,
        folder=folder,
        work="",
        images=config.images,
        matcher=_whole_path(settings.matcher),
        precision=pair_precision(settings)[0],
        runtime=settings.runtime,
        device=settings.device,
    )


def _whole_path(matcher: str) -> str:
    """A folder by its whole path: workers have another working directory."""
    return matcher if matcher in MATCHERS else store.absolute(matcher)


def _pair_folder(task: PairTask, kind: str) -> str:
    """Where votes or evidence lie: another recipe, matcher or precision is another folder."""
    what = [task.recipe.fingerprint, kind, "version 3" if kind == "evidence" else "version 2"]
    matcher = task.matcher
    if matcher not in MATCHERS:
        matcher = f"tuned-{tuned_matcher(matcher)['digest']}"
    what += [matcher, task.precision] if kind == "evidence" else []
    name = hashlib.sha256("\n".join(what).encode()).hexdigest()[:12]
    base = task.keypoints.removesuffix(store.join("keypoints", task.recipe.folder))
    prefix = matcher if kind == "evidence" else "votes"
    return store.join(base.rstrip("/"), "pairs", f"{prefix}-{name}")


def make_keypoints(workers: Workers, task: PairTask, rows: pa.Table) -> tuple[Made, pa.Table]:
    """Keypoints of the rows that have none; what was done, and the failures (schema.FAILURES)."""
    started = time.perf_counter()
    _, known = embeddings.drop_changed(task.folder, rows)
    stored = pa.chunked_array([c for ids in known.values() for c in ids.chunks], pa.string())
    pending = rows.filter(pc.invert(pc.is_in(rows["annotation_id"], stored)))
    store.write_json(
        store.join(task.folder, "recipe.json"),
        {
            "fingerprint": task.recipe.fingerprint,
            "extractor": task.recipe.extractor,
            "keypoints": task.recipe.most,
            "long_side": task.recipe.long_side,
            "enlarge": task.recipe.enlarge,
            "bbox_margin": task.recipe.bbox_margin,
            "window": task.recipe.window,
            "versions": outputs.versions(),
        },
    )
    task = _with_work(task, task.folder)
    failures = embeddings.read_failures(task.work)
    if len(pending):
        try:
            _run(workers, task, "keypoints", pending, SHARD_IMAGES, "images")
            failures = embeddings.read_failures(task.work)
        finally:
            store.remove(task.work)
        found = pc.sum(pc.is_in(pending["annotation_id"], embeddings.stored_ids(task.folder)))
        if (found.as_py() or 0) + len(failures) != len(pending):
            raise StorageError(
                f"{task.folder}: {len(pending)} images to search, but {found} have keypoints and "
                f"{len(failures)} failed; run the same command again to search the rest"
            )
    seconds = round(time.perf_counter() - started, 2)
    reused = len(rows) - len(pending)
    return Made(len(pending) - len(failures), reused, len(failures), seconds), failures


def make_pairs(
    workers: Workers,
    task: PairTask,
    kind: str,
    ids: Sequence[str],
    keys: Sequence[str | None],
    pairs: np.ndarray,
) -> tuple[Made, pa.Table]:
    """Votes or evidence of pairs: what is missing is made, then all is read, part by part.

    Returns:
        What was done; and the numbers alone of schema.PAIR_VOTES or schema.PAIR_EVIDENCE, one row a pair, in
        the pairs' order: no ids, which take more room than all numbers.

    Args:
        workers: of `pair_workers`.
        task: of `plan`.
        kind: `votes` or `evidence`.
        ids, keys: annotation_id and source_key of all rows; all have keypoints.
        pairs: (m, 2) rows.

    Raises:
        StorageError: pairs are not there after they were made.
    """
    started = time.perf_counter()
    folder = _pair_folder(task, kind)
    task = _with_work(replace(task, folder=folder), folder)
    place = {name: number for number, name in enumerate(ids)}
    names = np.asarray(ids, dtype=object)
    swap = names[pairs[:, 0]] > names[pairs[:, 1]] if len(pairs) else np.zeros(0, bool)
    ordered = np.where(swap[:, None], pairs[:, ::-1], pairs).astype(np.int64)
    wanted = ordered[:, 0] * len(ids) + ordered[:, 1]
    have, _ = _read(folder, place, keys, wanted, pa.schema([]))
    missing = np.flatnonzero(~have)
    by: dict[str, None] = {}
    if len(missing):
        blocks = ordered[missing] // BLOCK
        missing = missing[np.lexsort((*ordered[missing].T[::-1], blocks[:, 1], blocks[:, 0]))]
        pending = pa.table({"a_id": names[ordered[missing, 0]], "b_id": names[ordered[missing, 1]]})
        try:
            by = _run(workers, task, kind, pending, SHARD_PAIRS[kind], "pairs")
        finally:
            store.remove(task.work)
    numbers = pa.schema([field for field in KINDS[kind] if field.name not in NAMES])
    have, table = _read(folder, place, keys, wanted, numbers)
    if not have.all():
        raise StorageError(
            f"{folder}: {int((~have).sum()):,} of {len(have):,} pairs are not there after they were made; run "
            "the same command again"
        )
    made = Made(
        len(missing),
        len(pairs) - len(missing),
        0,
        round(time.perf_counter() - started, 2),
        ", ".join(by),
    )
    return made, table


def _read(
    folder: str,
    place: dict[str, int],
    keys: Sequence[str | None],
    wanted: np.ndarray,
    numbers: pa.Schema,
) -> tuple[np.ndarray, pa.Table]:
    """Which of the wanted pairs are stored, and their numbers in the wanted order, 0 where they are not.

    Rows of other pairs, and of pictures that have been replaced since, are left out. One part after the
    other is read, and its numbers go to where they belong.
    """
    n = len(place)
    order = np.argsort(wanted, kind="stable")
    rising = wanted[order]
    have = np.zeros(len(wanted), bool)
    found = {field.name: np.zeros(len(wanted), field.type.to_pandas_dtype()) for field in numbers}
    ids = pa.array(list(place), pa.string())
    known = pc.fill_null(pa.array(keys, pa.string()), "")
    for path in embeddings.parts(folder):
        table = store.read_table(path, [*NAMES, *numbers.names])
        ends = [pc.fill_null(pc.index_in(table[name], value_set=ids), -1) for name in NAMES[:2]]
        a, b = (end.to_numpy().astype(np.int64) for end in ends)
        fresh = (a >= 0) & (b >= 0)
        for rows, name in ((a, NAMES[2]), (b, NAMES[3])):
            now = known.take(pa.array(np.maximum(rows, 0)))
            then = pc.fill_null(table[name], "").combine_chunks()
            fresh &= pc.equal(now, then).to_numpy(zero_copy_only=False)
        key = a * n + b
        at = np.minimum(np.searchsorted(rising, key), max(0, len(rising) - 1))
        fresh &= (rising[at] == key) if len(rising) else False
        where = order[at[fresh]] if len(rising) else np.zeros(0, np.int64)
        have[where] = True
        for name, values in found.items():
            values[where] = table[name].to_numpy()[fresh]
    arrays = [pa.array(found[field.name], field.type) for field in numbers]
    return have, pa.Table.from_arrays(arrays, schema=numbers)


def _with_work(task: PairTask, folder: str) -> PairTask:
    run = f"{time.strftime('%Y%m%dT%H%M%S')}-{uuid.uuid4().hex[:6]}"
    return replace(task, work=store.join(folder, f"work-{run}"))


def pair_workers(config: Config) -> AbstractContextManager[Workers]:
    """An actor on every core, or on every GPU. Needs a Ray session."""
    import ray

    resources = ray.cluster_resources()
    gpu = config.pairs.device != "cpu" and resources.get("GPU", 0) > 0
    wanted = config.pairs.workers
    fitting = max(1, int(resources.get("GPU" if gpu else "CPU", 1)))
    most = fitting if wanted == "auto" else wanted
    options = {"num_gpus": 1} if gpu else {"num_cpus": 1}
    actor = ray.remote(PairWorker).options(**options)
    return open_workers(actor.remote, most)


def _run(
    workers: Workers, task: PairTask, method: str, pending: pa.Table, shard_rows: int, unit: str
) -> dict[str, None]:
    """Have the pending rows done by actors; what they used."""
    store.write_table(store.join(task.work, PENDING), pending, row_group_rows=shard_rows)
    by: dict[str, None] = {}
    with progress(method, len(pending), unit) as advance:

        def on_done(result: tuple[int, Any]) -> None:
            advance(result[0])
            if isinstance(result[1], str):
                by[result[1]] = None

        workers.run(method, range(-(-len(pending) // shard_rows)), on_done, task)
    return by
