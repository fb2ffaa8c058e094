"""Annotations → embeddings: Ray Data hands shards of rows to model actors, which write Parquet.

This is the driver's side; `embed_worker.py` is the actor's. Ray carries shard numbers and counts. An
actor reads the rows of its shard, opens the images, embeds them and writes one part file, so that
neither pixels nor embeddings travel, memory does not grow with the number of images, and a shard that
is repeated after a crash replaces itself.
"""

import time
import uuid
from collections.abc import Container, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import PIL
import pyarrow as pa
import pyarrow.compute as pc

import reid
from jobs.common import outputs
from jobs.common.beforehand import check_room
from jobs.common.console import progress, say
from jobs.common.counters import count
from jobs.common.embedded import EmbedSummary
from jobs.common.endings import as_reid_error
from jobs.common.session import joins_cluster, ray_session
from jobs.embed.embed_places import (
    cpus_per_worker,
    embed_shards_here,
    embed_shards_on_ray,
    embeds_here,
    is_work_folder,
    uses_gpu,
    workers_at_once,
)
from jobs.embed.embed_worker import EmbedTask
from reid import embeddings, schema, store
from reid.config import Config, Route
from reid.embedder import Embedder, Recipe
from reid.embedder.device_decode import check_device
from reid.ensemble_parts import join_stored
from reid.errors import InputError, ReidError, StorageError
from reid.layout import Window
from reid.models import LoadedModel, load_model
from reid.precision import choose_precision
from reid.refused import refused_before, remember_refused
from reid.value_digests import text_digest

SHARD_ROWS_RANGE = (32, 4096)
SHARDS_PER_WORKER = 8  # enough that a slow one does not keep the others waiting at the end
DEAD_AFTER_SECONDS = 24 * 3600.0
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
        task, models = _plan(config, route, window)
        _check_expected(task, species, expected)
        summary.recipes |= dict.fromkeys(species, task.recipe.folder)
        summary.folders |= dict.fromkeys(species, task.folder)
        changed, known = embeddings.drop_changed(task.folder, rows)
        if changed:
            say(
                f"embed: {changed:,} images are no longer what was embedded under their names; again"
            )
        chunks = [chunk for ids in known.values() for chunk in ids.chunks]
        stored = pa.chunked_array(chunks, pa.string())
        pending = rows.filter(pc.invert(pc.is_in(rows["annotation_id"], stored)))
        pending = _join_stored(task, pending)
        reused = len(rows) - len(pending)
        pending, before = _without_refused(config, task, pending)
        _forget_dead_runs(task.folder)
        store.write_json(store.join(task.folder, "recipe.json"), _describe(task))
        if reused:
            say(f"embed: {reused:,} of {len(rows):,} are in {task.recipe.folder} already")
            count(config, "images", reused, stage="embed", outcome="reused")
        failed = schema.FAILURES.empty_table()
        row_bytes = 4 * sum(model.dimension for model in models) + OTHER_BYTES_A_ROW
        check_room(task.folder, row_bytes * len(pending), f"embeddings of {len(pending):,} images")
        if len(pending):
            began = time.perf_counter()
            try:
                summary.runtimes += [
                    r for r in _run(config, task, models, pending) if r not in summary.runtimes
                ]
                busy += time.perf_counter() - began
                failed = _check_accounted(task, pending, known)
                remember_refused(task.folder, pending, failed, _how(config))
            finally:
                store.remove(task.work)
        failures += [before, failed]
        summary.reused += reused
        summary.embedded += len(pending) - len(failed)
        summary.failed += len(before) + len(failed)
        summary.failed_before += len(before)
    summary.seconds = round(time.perf_counter() - started, 2)
    summary.images_per_second = round(summary.embedded / busy, 1) if busy else None
    count(config, "seconds", summary.seconds, stage="embed")
    return summary, pa.concat_tables(failures)


def _without_refused(
    config: Config, task: EmbedTask, pending: pa.Table
) -> tuple[pa.Table, pa.Table]:
    """What is to be tried, and the failures (schema.FAILURES) of what failed before and has not changed."""
    if config.embed.retry_failed:
        return pending, schema.FAILURES.empty_table()
    before = refused_before(task.folder, pending, _how(config))
    if len(before):
        say(
            f"embed: {len(before):,} images failed before and have not changed; they are not tried again "
            "(--retry-failed does)"
        )
        known = pc.is_in(pending["annotation_id"], before["annotation_id"].combine_chunks())
        pending = pending.filter(pc.invert(known))
    return pending, before


def _how(config: Config) -> str:
    """What decides whether a picture can be used, beside the picture."""
    settings = config.images.model_dump_json()
    return text_digest(f"{settings} reid {reid.__version__} Pillow {PIL.__version__}".encode())


def _routes(config: Config, annotations: pa.Table) -> list[tuple[Route, Window | None, list[str]]]:
    """Species by what embeds them: those that share models, views and window share a pass."""
    grouped: dict[tuple[str, Window | None], tuple[Route, Window | None, list[str]]] = {}
    for species in sorted(pc.unique(annotations["species"]).to_pylist()):
        route, window = config.embed.route(species), config.images.window_of(species)
        key = (route.model_dump_json(), window)
        grouped.setdefault(key, (route, window, []))[2].append(species)
    return list(grouped.values())


def _join_stored(task: EmbedTask, pending: pa.Table) -> pa.Table:
    """What is left to embed of an ensemble, once what its models have in the store is joined."""
    recipe = task.recipe
    if len(recipe.models) == 1:
        return pending
    alone = [replace(recipe, models=(one,), model_weights=(1.0,)) for one in recipe.models]
    place = task.folder.removesuffix(recipe.folder)
    members = [store.join(place, one.folder) for one in alone]
    joined = join_stored(task.folder, members, recipe.model_weights, pending)
    if not len(joined):
        return pending
    say(
        f"embed: {len(joined):,} of {len(pending):,} joined from what is stored of "
        f"{', '.join(name for name, _ in recipe.models)}"
    )
    return pending.filter(pc.invert(pc.is_in(pending["annotation_id"], joined)))


def _plan(
    config: Config, route: Route, window: Window | None
) -> tuple[EmbedTask, list[LoadedModel]]:
    """Load the models once here: to know their digests, and to fail before anything is started."""
    if config.images.decode == "nvjpeg" and not uses_gpu(config):
        check_device("cpu")
    names = tuple(route.model or ())
    options = {
        "trust_remote_code": config.embed.trust_remote_code,
        "revision": config.embed.revision,
    }
    loaded = [load_model(name, **options) for name in names]  # type: ignore[arg-type]
    weights = route.model_weights or [1.0] * len(names)
    # An unusable view or weight is found here rather than in a worker.
    Embedder(loaded, model_weights=weights, views=route.tta or (), runtime="torch")
    # Where Ray finds GPUs, they embed; otherwise CPUs like this machine's do.
    precision, why = choose_precision(config.embed.precision, "cuda" if uses_gpu(config) else "cpu")
    if why:
        say(f"embed: {why}")
    recipe = Recipe(
        models=tuple((model.name, model.digest) for model in loaded),
        model_weights=tuple(weight / sum(weights) for weight in weights),
        views=tuple(route.tta or ()),
        precision=precision,
        decode=config.images.decode,
        bbox_margin=config.images.bbox_margin,
        window=window,
    )
    folder = store.join(config.store_path, recipe.folder)
    if not store.is_remote(folder):
        folder = store.filesystem(folder)[1]  # workers have another working directory
    run = f"{time.strftime('%Y%m%dT%H%M%S')}-{uuid.uuid4().hex[:6]}"
    task = EmbedTask(
        models=names,
        trust_remote_code=config.embed.trust_remote_code,
        revision=config.embed.revision,
        recipe=recipe,
        folder=folder,
        work=store.join(folder, f"work-{run}"),
        device=config.embed.device,
        runtime=config.embed.runtime,
        batch_size=None if config.embed.batch_size == "auto" else config.embed.batch_size,
        threads=cpus_per_worker(config),
        images=config.images,
    )
    return task, loaded


def _describe(task: EmbedTask) -> dict[str, Any]:
    recipe = task.recipe
    return {
        "fingerprint": recipe.fingerprint,
        "models": [{"name": name, "digest": digest} for name, digest in recipe.models],
        "model_weights": list(recipe.model_weights),
        "views": list(recipe.views),
        "precision": recipe.precision,
        "decode": recipe.decode,
        "bbox_margin": recipe.bbox_margin,
        "window": recipe.window,
        "versions": outputs.versions(),
    }


def _check_expected(task: EmbedTask, species: list[str], expected: Mapping[str, str]) -> None:
    for name in species:
        recipe = expected.get(name, task.recipe.folder)
        if recipe != task.recipe.folder:
            raise InputError(
                f"{name}: embeddings of the recipe {recipe} are wanted, these settings make "
                f"{task.recipe.folder}; vectors of two recipes cannot be compared. Give embed.model, "
                f"embed.tta and images as {store.join(task.folder.removesuffix(task.recipe.folder), recipe, 'recipe.json')} has them"
            )


def _forget_dead_runs(folder: str) -> None:
    """Remove the work folders of runs that were killed; others may be at work here at this moment.

    A run notes every shard that it begins, so that one that wrote nothing for a day is dead.
    """
    for path in store.list_folders(folder):
        if is_work_folder(path):
            written = store.last_written(path)
            if written is not None and time.time() - written > DEAD_AFTER_SECONDS:
                store.remove(path)


def _run(
    config: Config, task: EmbedTask, models: Sequence[LoadedModel], pending: pa.Table
) -> list[str]:
    """Embed the pending rows; the runtimes that the workers used."""
    here = embeds_here(config, task, models, len(pending))
    with nullcontext() if here else ray_session(config.address):
        if not here:
            task = replace(task, threads=cpus_per_worker(config))
        workers = workers_at_once(config, task, here=here)
        rows = config.embed.shard_rows
        if rows == "auto":
            rows = int(np.clip(len(pending) // (workers * SHARDS_PER_WORKER), *SHARD_ROWS_RANGE))
            # Whole batches: the rest of one costs as much as all of it.
            rows = -(-rows // SHARD_ROWS_RANGE[0]) * SHARD_ROWS_RANGE[0]
        pending_path = store.join(task.work, "pending.parquet")
        store.write_table(pending_path, pending, row_group_rows=rows)
        shards = -(-len(pending) // rows)
        done = (
            embed_shards_here(task, models, shards)
            if here
            else embed_shards_on_ray(config, task, shards, workers)
        )
        try:
            return _follow(config, done, len(pending))
        except ReidError:
            raise
        except Exception as error:
            raise as_reid_error(error, "embedding stopped") from error


def _follow(config: Config, done: Iterable[Mapping[str, np.ndarray]], images: int) -> list[str]:
    """Show how far the shards are; the runtimes that the workers used."""
    runtimes: dict[str, None] = {}
    failed = 0
    with progress("embed", images) as advance:
        for batch in done:
            done_now = {key: int(sum(batch[key])) for key in ("embedded", "failed")}
            failed += done_now["failed"]
            runtimes |= dict.fromkeys(str(name) for name in batch["runtime"])
            advance(sum(done_now.values()), f"{failed} failed" if failed else "")
            for outcome, count_now in done_now.items():
                count(config, "images", count_now, stage="embed", outcome=outcome)
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
