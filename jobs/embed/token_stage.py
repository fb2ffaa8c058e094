"""Patch tokens of the embedding job: their own recipe, what they take, and embeddings pooled from them.

Tokens are stored by the same actors as embeddings (`embed_driver.py`), as a recipe of their own: of the picture
as it is, whatever views are averaged for embeddings. Foregrounds and pooling read what is stored; no picture is
opened a second time for them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from jobs.common.console import say
from jobs.embed.embed_plan import as_recipe, check_expected, write_recipe
from jobs.embed.embed_worker import EmbedTask
from reid import embeddings, schema
from reid.config import Embed
from reid.embedder.ensemble import TOKENS
from reid.errors import StorageError
from reid.models import LoadedModel
from reid.pooled_tokens import foreground_of, foreground_path, pool_stored

if TYPE_CHECKING:  # imports torch
    from reid.models.patch_tokens import TokenGrid

MANY_MORE = 10  # times the images that a foreground was found in, from where on to say so


def token_task(task: EmbedTask, models: Sequence[LoadedModel]) -> "tuple[EmbedTask, TokenGrid]":
    """The task that stores patch tokens instead.

    Raises:
        InputError: the model has none.
    """
    from reid.models.patch_tokens import with_patch_tokens  # imports torch

    grid = with_patch_tokens(models[0])[1]
    recipe = replace(task.recipe, views=("identity",), pool=TOKENS)
    return as_recipe(task, recipe), grid


def say_size(grid: "TokenGrid", images: int) -> None:
    """How much disk the tokens will take, before they are made."""
    each = 2 * grid.numbers  # float16
    whole = each * images
    total = f"{whole / 1e9:,.1f} GB" if whole >= 1e9 else f"{whole / 1e6:.2g} MB"
    say(
        f"embed: patch tokens of {grid.side} × {grid.side} × {grid.width:,} take {each / 1e6:.2g} MB an image, "
        f"{total} for {images:,} images"
    )


@dataclass(frozen=True)
class Pooled:
    """What became of the images of one species.

    Attributes:
        task: its recipe, and where the embeddings are.
        reused: embeddings that were there.
        made: embeddings written.
        failed: schema.FAILURES of images without foreground.
    """

    task: EmbedTask
    reused: int
    made: int
    failed: pa.Table


def pool_species(
    settings: Embed,
    tokens: EmbedTask,
    species: str,
    rows: pa.Table,
    expected: Mapping[str, str],
) -> Pooled:
    """Foreground-pooled embeddings of one species, from its stored tokens.

    Args:
        settings: how to pool.
        tokens: the task that stored them.
        species: its name.
        rows: schema.ANNOTATIONS of the images that have tokens.
        expected: species → recipe folder, where the embeddings must fit to earlier ones.

    Raises:
        InputError: the tokens are all the same, or another recipe is expected.
    """
    weights, threshold = settings.foreground_weights, settings.foreground_threshold
    found = foreground_of(tokens.folder, species, rows["annotation_id"].combine_chunks())
    axes = found.axes
    said = "found in" if found.is_new else "as it was found before in"
    say(
        f"embed: foreground of {species}: {said} {axes.images:,} images, first component "
        f"{axes.shares[0]:.0%} of the variance; {weights}, threshold {threshold:g}; kept in "
        f"{foreground_path(tokens.folder, species)}"
    )
    if len(rows) > MANY_MORE * axes.images:
        say(
            f"note: {species}: there are {len(rows):,} images by now; for a foreground of all of them remove that file "
            "(embeddings pooled by it will be another recipe)"
        )
    how = f"foreground {weights} {threshold:g} {found.key}"
    task = as_recipe(tokens, replace(tokens.recipe, pool=how))
    check_expected(task, [species], expected)
    _, known = embeddings.drop_changed(task.folder, rows)
    stored = pa.chunked_array([c for ids in known.values() for c in ids.chunks], pa.string())
    pending = rows.filter(pc.invert(pc.is_in(rows["annotation_id"], stored)))
    write_recipe(task, {"species": species, "tokens": tokens.recipe.folder})
    made, failed = 0, schema.FAILURES.empty_table()
    if len(pending):
        made, failed = pool_stored(
            tokens.folder, task.folder, pending, axes, weights=weights, threshold=threshold
        )
    if made + len(failed) != len(pending):
        raise StorageError(
            f"{tokens.folder}: {len(pending)} images to pool, but {made} embeddings and {len(failed)} failures; "
            "run the same command again"
        )
    return Pooled(task, len(rows) - len(pending), made, failed)
