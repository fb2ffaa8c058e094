"""Annotations → embeddings: Ray Data hands shards of rows to model actors, which write Parquet.

This is the driver's side; `embed_worker.py` is the actor's. Ray carries shard numbers and counts. An
actor reads the rows of its shard, opens the images, embeds them and writes one part file, so that
neither pixels nor embeddings travel, memory does not grow with the number of images, and a shard that
is repeated after a crash replaces itself.
"""

import time
from collections.abc import Container, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.common.beforehand import check_room
from jobs.common.console import progress, say
from jobs.common.counters import count
from jobs.common.embedded import EmbedSummary, without
from jobs.common.endings import as_reid_error
from jobs.common.session import joins_cluster, ray_session
from jobs.embed.embed_places import (
    cpus_per_worker,
    embed_shards_here,
    embed_shards_on_ray,
    embeds_here,
    workers_at_once,
)
from jobs.embed.embed_plan import check_expected, plan, write_recipe
from jobs.embed.embed_worker import EmbedTask
from jobs.embed.spared import forget_dead_runs, how_used, join_members, without_refused
from jobs.embed.token_stage import pool_species, say_size, token_task
from reid import embeddings, schema, store
from reid.config import Config, Route
from reid.embedder.ensemble import TOKENS
from reid.errors import ReidError, StorageError
from reid.layout import Window
from reid.models import LoadedModel
from reid.refused import missing_files, remember_refused

if TYPE_CHECKING:  # imports torch
    from reid.models.patch_tokens import TokenGrid

SHARD_ROWS_RANGE = (32, 4096)
SHARDS_PER_WORKER = 8  # enough that a slow one does not keep the others waiting at the end
POOLED = "pooled from patch tokens"
SHARD_TOKEN_BYTES = 128 * 2**20
OTHER_BYTES_A_ROW = 200  # ids, hashes and times, in Parquet


def embed(
    config: Config, annotations: pa.Table, expected: Mapping[str, str] | None = None
) -> tuple[EmbedSummary, pa.Table]:
    """Embed every annotation that the store does not hold yet: few here, many on Ray.

    Args:
        config: the resolved configuration.
        annotations: schema.ANNOTATIONS.
        expected: species → recipe folder, where the embeddings must fit to earlier ones.

    Returns:
        The summary, and the failures (schema.FAILURES) among these annotations.

    Raises:
        InputError, StorageError: the models or the store cannot be used.
    """
    # What a cluster has decides how precise to be, so that it is joined first.
    early = joins_cluster(config.address) or config.embed.ray == "always"
    with ray_session(config.address) if early else nullcontext():
        return _embed(config, annotations, expected or {})


def _embed(
    config: Config, annotations: pa.Table, expected: Mapping[str, str]
) -> tuple[EmbedSummary, pa.Table]:
    started = time.perf_counter()
    summary = EmbedSummary(annotations=len(annotations))
    failures = [schema.FAILURES.empty_table()]
    busy = 0.0
    for route, window, species in _routes(config, annotations):
        rows = annotations.filter(pc.is_in(annotations["species"], pa.array(species, pa.string())))
        task, models = plan(config, route, window)
        tokens = None
        if config.embed.wants_tokens:
            tokens, grid = token_task(task, models)
            say_size(grid, len(rows))
            _check_token_room(tokens, grid, rows)
        if config.embed.pool == "model":
            check_expected(task, species, expected)
            done = _complete(config, task, models, rows)
            _add_places(summary, task, species)
            _add_counts(summary, done)
            busy += done.seconds
            failures += [done.before, done.failed]
        if tokens is not None:
            left = without(rows, pa.concat_tables(failures))
            stored = _complete(config, tokens, models, left, grid)
            summary.token_folders |= dict.fromkeys(species, tokens.folder)
            summary.runtimes += [r for r in stored.runtimes if r not in summary.runtimes]
            busy += stored.seconds
            failures += [stored.before, stored.failed]
            if config.embed.pool == "foreground":
                left = without(left, pa.concat_tables([stored.before, stored.failed]))
                summary.failed += len(stored.before) + len(stored.failed)
                summary.failed_before += len(stored.before)
                failures += _pool(config, tokens, species, left, expected, summary)
    summary.seconds = round(time.perf_counter() - started, 2)
    summary.images_per_second = round(summary.embedded / busy, 1) if busy else None
    count(config, "seconds", summary.seconds, stage="embed")
    return summary, pa.concat_tables(failures)


@dataclass(frozen=True)
class _Stored:
    """What became of the rows that a recipe's folder was to hold."""

    reused: int
    made: int
    before: pa.Table  # schema.FAILURES that were known
    failed: pa.Table  # and new ones
    runtimes: list[str]
    seconds: float


def _complete(
    config: Config,
    task: EmbedTask,
    models: Sequence[LoadedModel],
    rows: pa.Table,
    grid: "TokenGrid | None" = None,
) -> _Stored:
    """Make a recipe's folder hold all rows, or know why not."""
    changed, known = embeddings.drop_changed(task.folder, rows)
    if changed:
        say(f"embed: {changed:,} images are no longer what was embedded under their names; again")
    chunks = [chunk for ids in known.values() for chunk in ids.chunks]
    stored = pa.chunked_array(chunks, pa.string())
    pending = rows.filter(pc.invert(pc.is_in(rows["annotation_id"], stored)))
    pending = join_members(task, pending)
    reused = len(rows) - len(pending)
    pending, before = without_refused(config, task, pending)
    gone = missing_files(pending)
    pending = without(pending, gone)
    count(config, "images", len(gone), stage=_stage(task), outcome="failed")
    forget_dead_runs(task.folder)
    write_recipe(task, {} if grid is None else {"patch_tokens": asdict(grid)})
    if reused:
        say(f"embed: {reused:,} of {len(rows):,} are in {task.recipe.folder} already")
        count(config, "images", reused, stage=_stage(task), outcome="reused")
    failed = schema.FAILURES.empty_table()
    if grid is None:
        row_bytes = 4 * sum(model.dimension for model in models) + OTHER_BYTES_A_ROW
        check_room(task.folder, row_bytes * len(pending), f"embeddings of {len(pending):,} images")
    runtimes: list[str] = []
    seconds = 0.0
    if len(pending):
        began = time.perf_counter()
        try:
            runtimes = _run(config, task, models, pending, grid)
            seconds = time.perf_counter() - began
            failed = _check_accounted(task, pending, known)
            remember_refused(task.folder, pending, failed, how_used(config))
        finally:
            store.remove(task.work)
    made = len(pending) - len(failed)
    return _Stored(reused, made, before, pa.concat_tables([gone, failed]), runtimes, seconds)


def _stage(task: EmbedTask) -> str:
    return "tokens" if task.recipe.pool == TOKENS else "embed"


def _add_places(summary: EmbedSummary, task: EmbedTask, species: Sequence[str]) -> None:
    summary.recipes |= dict.fromkeys(species, task.recipe.folder)
    summary.folders |= dict.fromkeys(species, task.folder)


def _add_counts(summary: EmbedSummary, done: _Stored) -> None:
    summary.reused += done.reused
    summary.embedded += done.made
    summary.failed += len(done.before) + len(done.failed)
    summary.failed_before += len(done.before)
    summary.runtimes += [r for r in done.runtimes if r not in summary.runtimes]


def _check_token_room(task: EmbedTask, grid: "TokenGrid", rows: pa.Table) -> None:
    """Before anything is embedded: tokens take a hundred times what embeddings do."""
    there = embeddings.stored_ids(task.folder)
    lack = len(rows) - (pc.sum(pc.is_in(rows["annotation_id"], there)).as_py() or 0)
    wanted = (2 * grid.numbers + OTHER_BYTES_A_ROW) * lack
    check_room(task.folder, wanted, f"patch tokens of {lack:,} images")


def _pool(
    config: Config,
    tokens: EmbedTask,
    species: Sequence[str],
    rows: pa.Table,
    expected: Mapping[str, str],
    summary: EmbedSummary,
) -> list[pa.Table]:
    """Embeddings of each species from its stored tokens; failures (schema.FAILURES)."""
    failures = []
    for name in species:
        own = rows.filter(pc.equal(rows["species"], name))
        if not len(own):  # all of its images failed
            _add_places(summary, tokens, [name])
            continue
        pooled = pool_species(config.embed, tokens, name, own, expected)
        _add_places(summary, pooled.task, [name])
        summary.reused += pooled.reused
        summary.embedded += pooled.made
        if pooled.made and POOLED not in summary.runtimes:
            summary.runtimes.append(POOLED)
        summary.failed += len(pooled.failed)
        failures.append(pooled.failed)
    return failures


def _routes(config: Config, annotations: pa.Table) -> list[tuple[Route, Window | None, list[str]]]:
    """Species by what embeds them: those that share models, views and window share a pass."""
    grouped: dict[tuple[str, Window | None], tuple[Route, Window | None, list[str]]] = {}
    for species in sorted(pc.unique(annotations["species"]).to_pylist()):
        route, window = config.embed.route(species), config.images.window_of(species)
        key = (route.model_dump_json(), window)
        grouped.setdefault(key, (route, window, []))[2].append(species)
    return list(grouped.values())


def _run(
    config: Config,
    task: EmbedTask,
    models: Sequence[LoadedModel],
    pending: pa.Table,
    grid: "TokenGrid | None" = None,
) -> list[str]:
    """Embed the pending rows, or store their patch tokens; the runtimes that the workers used."""
    here = embeds_here(config, task, models, len(pending))
    with nullcontext() if here else ray_session(config.address):
        if not here:
            task = replace(task, threads=cpus_per_worker(config))
        workers = workers_at_once(config, task, here=here)
        rows = config.embed.shard_rows
        if rows == "auto":
            least, most = SHARD_ROWS_RANGE
            if grid is not None:  # a worker holds a shard's tokens until all of them are there
                most = int(np.clip(SHARD_TOKEN_BYTES // (2 * grid.numbers), least, most))
            rows = int(np.clip(len(pending) // (workers * SHARDS_PER_WORKER), least, most))
            # Whole batches: the rest of one costs as much as all of it.
            rows = -(-rows // least) * least
        pending_path = store.join(task.work, "pending.parquet")
        store.write_table(pending_path, pending, row_group_rows=rows)
        shards = -(-len(pending) // rows)
        done = (
            embed_shards_here(task, models, shards)
            if here
            else embed_shards_on_ray(config, task, shards, workers)
        )
        try:
            return _follow(config, done, len(pending), _stage(task))
        except ReidError:
            raise
        except Exception as error:
            raise as_reid_error(error, "embedding stopped") from error


def _follow(
    config: Config, done: Iterable[Mapping[str, np.ndarray]], images: int, stage: str
) -> list[str]:
    """Show how far the shards are; the runtimes that the workers used."""
    runtimes: dict[str, None] = {}
    failed = 0
    with progress(stage, images) as advance:
        for batch in done:
            done_now = {key: int(sum(batch[key])) for key in ("embedded", "failed")}
            failed += done_now["failed"]
            runtimes |= dict.fromkeys(str(name) for name in batch["runtime"])
            advance(sum(done_now.values()), f"{failed} failed" if failed else "")
            for outcome, count_now in done_now.items():
                count(config, "images", count_now, stage=stage, outcome=outcome)
    return list(runtimes)


def _check_accounted(task: EmbedTask, pending: pa.Table, known: Container[str]) -> pa.Table:
    """Pending rows = embeddings + failures; the failures.

    Args:
        task: what was to be done.
        pending: the rows that had no embedding when the run began.
        known: the parts that there were then.
    """
    ids = pending["annotation_id"]
    stored = pc.is_in(ids, embeddings.stored_ids(task.folder, but=known))
    failures = embeddings.read_failures(task.work)
    # Another run may have had more luck with the same image.
    failed = failures.filter(pc.is_in(failures["annotation_id"], ids.filter(pc.invert(stored))))
    embedded = pc.sum(stored).as_py() or 0
    if embedded + len(failed) != len(pending):
        raise StorageError(
            f"{task.folder}: {len(pending)} annotations to embed, but {embedded} embeddings and "
            f"{len(failed)} failures; run the same command again to embed the rest"
        )
    return failed
