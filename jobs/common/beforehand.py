"""What can be known to be wrong before anything is read: said in the first second, not after the work."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from reid import store
from reid.config import Config
from reid.embedder.views import check_views
from reid.errors import InputError
from reid.models import find_spec


def check_models(config: Config) -> None:
    """Refuse models and views that do not exist, of every route.

    Raises:
        InputError: with the names that are known; a folder that is not there; a model that is known to have
            no patch tokens, where they are wanted.
    """
    species = config.embed.per_species
    for route in (config.embed.route(""), *(config.embed.route(name) for name in species)):
        names = route.model or []
        for name in names:
            spec = find_spec(name, revision=config.embed.revision)
            if spec.loader == "folder" and not store.is_folder(spec.source):
                raise InputError(
                    f"model {name!r}: there is no folder {spec.source}; a repository of the hub is written "
                    "hf:<owner>/<repository>"
                )
        if config.embed.wants_tokens:
            _check_tokens(names)
        check_views(route.tta or [])
        if route.model_weights is not None and len(route.model_weights) != len(names):
            raise InputError(
                f"embed.model_weights: {route.model_weights} for {len(names)} models; give one for each"
            )


def _check_tokens(names: Sequence[str]) -> None:
    from reid.models.patch_tokens import check_patch_tokens

    if len(names) > 1:
        raise InputError(
            f"embed.tokens and embed.pool=foreground are of one model, and embed.model names {len(names)}: "
            f"{', '.join(names)}; give one"
        )
    for name in names:
        spec = find_spec(name)
        check_patch_tokens(name, spec.loader, spec.source)


def check_room(folder: str, wanted: int, what: str) -> None:
    """Refuse to begin what the disk has no room for; of object storage nobody knows.

    Args:
        folder: where it goes; it may not exist yet.
        wanted: bytes.
        what: for the message.

    Raises:
        InputError: with what is wanted and what is free.
    """
    if store.is_remote(folder):
        return
    place = Path(store.filesystem(folder)[1])
    there = next((one for one in (place, *place.parents) if one.is_dir()), None)
    if there is None:
        return
    free = shutil.disk_usage(there).free
    if wanted > free:
        raise InputError(
            f"{folder}: {what} take about {wanted / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free there; make "
            "room, or give another --out"
        )


def most_labelled(annotations: pa.Table, species: str) -> int:
    """How many individuals of a species are labelled in at least two images."""
    own = annotations.filter(pc.equal(annotations["species"], species))["identity"].drop_null()
    counts = pc.value_counts(own)
    if not len(counts):
        return 0
    return int(pc.sum(pc.greater_equal(counts.field("counts"), 2)).as_py() or 0)
