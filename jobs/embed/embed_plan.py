"""What is to be embedded how: from the settings to a recipe, its folder, and the task that actors get."""

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from jobs.common import outputs
from jobs.common.console import say
from jobs.embed.embed_places import cpus_per_worker, uses_gpu
from jobs.embed.embed_worker import EmbedTask
from reid import store
from reid.config import Config, Route
from reid.embedder import Embedder, Recipe
from reid.embedder.device_decode import check_device
from reid.errors import InputError
from reid.layout import Window
from reid.models import LoadedModel, load_model
from reid.precision import choose_precision


def plan(
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
    place = config.store_path
    if not store.is_remote(place):
        place = store.filesystem(place)[1]  # workers have another working directory
    folder, work = _places(place, recipe)
    task = EmbedTask(
        models=names,
        trust_remote_code=config.embed.trust_remote_code,
        revision=config.embed.revision,
        recipe=recipe,
        folder=folder,
        work=work,
        device=config.embed.device,
        runtime=config.embed.runtime,
        batch_size=None if config.embed.batch_size == "auto" else config.embed.batch_size,
        threads=cpus_per_worker(config),
        images=config.images,
    )
    return task, loaded


def as_recipe(task: EmbedTask, recipe: Recipe) -> EmbedTask:
    """The same task for another recipe of the same store."""
    place = task.folder.removesuffix(task.recipe.folder).rstrip("/")
    folder, work = _places(place, recipe)
    return replace(task, recipe=recipe, folder=folder, work=work)


def _places(store_path: str, recipe: Recipe) -> tuple[str, str]:
    """Where a recipe's parts lie, and a new run's own folder in there."""
    folder = store.join(store_path, recipe.folder)
    run = f"{time.strftime('%Y%m%dT%H%M%S')}-{uuid.uuid4().hex[:6]}"
    return folder, store.join(folder, f"work-{run}")


def write_recipe(task: EmbedTask, more: Mapping[str, Any] | None = None) -> None:
    """Write down beside the parts what makes their numbers."""
    recipe = task.recipe
    what = {
        "fingerprint": recipe.fingerprint,
        "models": [{"name": name, "digest": digest} for name, digest in recipe.models],
        "model_weights": list(recipe.model_weights),
        "views": list(recipe.views),
        "precision": recipe.precision,
        "decode": recipe.decode,
        "bbox_margin": recipe.bbox_margin,
        "window": recipe.window,
        "pool": recipe.pool,
        **(more or {}),
        "versions": outputs.versions(),
    }
    store.write_json(store.join(task.folder, "recipe.json"), what)


def check_expected(task: EmbedTask, species: Sequence[str], expected: Mapping[str, str]) -> None:
    """Refuse to make embeddings that do not fit to earlier ones.

    Raises:
        InputError: another recipe is wanted for one of the species.
    """
    for name in species:
        recipe = expected.get(name, task.recipe.folder)
        if recipe != task.recipe.folder:
            raise InputError(
                f"{name}: embeddings of the recipe {recipe} are wanted, these settings make "
                f"{task.recipe.folder}; vectors of two recipes cannot be compared. Give embed.model, "
                f"embed.tta, embed.pool and images as {store.join(task.folder.removesuffix(task.recipe.folder), recipe, 'recipe.json')} has them"
            )
