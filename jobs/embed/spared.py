"""What need not be embedded: pictures that were refused, ensembles that can be joined, and runs that are dead."""

import time
from dataclasses import replace

import PIL
import pyarrow as pa
import pyarrow.compute as pc

import reid
from jobs.common.console import say
from jobs.embed.embed_places import is_work_folder
from jobs.embed.embed_worker import EmbedTask
from reid import schema, store
from reid.config import Config
from reid.ensemble_parts import join_stored
from reid.refused import refused_before
from reid.value_digests import text_digest

DEAD_AFTER_SECONDS = 24 * 3600.0


def without_refused(
    config: Config, task: EmbedTask, pending: pa.Table
) -> tuple[pa.Table, pa.Table]:
    """What is to be tried, and the failures (schema.FAILURES) of what failed before and has not changed."""
    if config.embed.retry_failed:
        return pending, schema.FAILURES.empty_table()
    before = refused_before(task.folder, pending, how_used(config))
    if len(before):
        say(
            f"embed: {len(before):,} images failed before and have not changed; they are not tried again "
            "(--retry-failed does)"
        )
        known = pc.is_in(pending["annotation_id"], before["annotation_id"].combine_chunks())
        pending = pending.filter(pc.invert(known))
    return pending, before


def how_used(config: Config) -> str:
    """What decides whether a picture can be used, beside the picture."""
    settings = config.images.model_dump_json()
    return text_digest(f"{settings} reid {reid.__version__} Pillow {PIL.__version__}".encode())


def join_members(task: EmbedTask, pending: pa.Table) -> pa.Table:
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


def forget_dead_runs(folder: str) -> None:
    """Remove the work folders of runs that were killed; others may be at work here at this moment.

    A run notes every shard that it begins, so that one that wrote nothing for a day is dead.
    """
    for path in store.list_folders(folder):
        if is_work_folder(path):
            written = store.last_written(path)
            if written is not None and time.time() - written > DEAD_AFTER_SECONDS:
                store.remove(path)
