"""The configured sources, read and told: the first step of every job that takes images."""

import time
from collections.abc import Collection, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from jobs.common.console import say
from reid import store
from reid.config import Config
from reid.config.spelling import check_species, did_you_mean, list_a_few
from reid.manifest import read_annotations


def read_sources(config: Config) -> tuple[pa.Table, list[str]]:
    """Read the sources that `input` names, and say what they hold.

    Returns:
        schema.ANNOTATIONS, and the notes that were said.

    Raises:
        InputError: a source does not exist, holds no image, or cannot be understood.
    """
    started = time.perf_counter()
    annotations, notes = read_annotations(
        config.input,
        root=config.root,
        species=config.species,
        identity_from_parent=config.identity_from_parent,
    )
    for name in ("root", "image_path"):
        for text in pc.unique(annotations[name].filter(pc.match_substring(annotations[name], "@"))):
            store.refuse_keys(text.as_py(), "--input")
    labelled = len(annotations) - annotations["identity"].null_count
    species = sorted(annotations["species"].unique().to_pylist())
    say(
        f"annotations: {len(annotations):,} of {', '.join(species)} read; {labelled:,} with a known "
        f"identity ({time.perf_counter() - started:.1f} s)"
    )
    for note in notes:
        say(f"note: {note}")
    return annotations, notes


def check_species_settings(
    config: Config, known: Collection[str], sections: Sequence[str], *, more_may_come: bool = False
) -> None:
    """Refuse settings for species that no image has.

    Args:
        config: the resolved configuration.
        known: the species that there are.
        sections: those of the configuration that the job uses.
        more_may_come: a species that is like none of `known` is only told, as it may be in a later
            upload; one that is nearly a known one is misspelt.

    Raises:
        InputError: there is one; the message says which one was probably meant.
    """
    asked: dict[str, tuple[str, ...]] = {
        "embed.per_species": tuple(config.embed.per_species),
        "cluster.per_species_eps": tuple(config.cluster.per_species_eps),
        "cluster.fallback_species": tuple(filter(None, [config.cluster.fallback_species])),
        "identify.per_species": tuple(config.identify.per_species),
        "finetune.no_flip_species": config.finetune.no_flip_species,
    }
    for setting, species in asked.items():
        if setting.partition(".")[0] not in sections:
            continue
        if more_may_come:
            strange = [one for one in species if one not in known and not did_you_mean(one, known)]
            if strange:
                say(f"note: {setting}: no image so far is of {list_a_few(strange)}")
            species = tuple(one for one in species if one not in strange)
        check_species(setting, species, known)
