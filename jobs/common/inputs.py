"""The configured sources, read and reported: the first step of every job that takes images.

After embedding they get the times from the files' EXIF, which embedding has read.
"""

import time
from collections.abc import Collection, Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.common.console import say
from reid import embeddings, sources, store
from reid.config import Config
from reid.sources import How, Reading
from reid.sources.camera_times import fill_encounters, fill_times
from reid.sources.joining import UNKNOWN_SPECIES
from reid.spelling import did_you_mean, list_a_few, refuse_unknown_species


def read_sources(config: Config) -> Reading:
    """Read the sources that `input` names, and say what they hold.

    Raises:
        InputError: a source does not exist, holds no image, or cannot be understood.
    """
    started = time.perf_counter()
    how = How(
        root=config.root,
        species=config.species,
        identity_from_parent=config.identity_from_parent,
        columns=config.sources.columns,
        date_order=config.sources.date_order,
        keep_words=tuple(config.sources.keep_words),
        detections=config.sources.detections,
        detection_threshold=config.sources.detection_threshold,
        animal_categories=tuple(name.lower() for name in config.sources.animal_categories),
        trust_individual_ids=config.sources.trust_individual_ids,
        as_folder=config.sources.as_folder,
        location_level=config.sources.location_level,
        location_pattern=config.sources.location_pattern,
        time_format=config.sources.time_format,
        encounter_gap_seconds=config.sources.encounter_gap_seconds,
        flank_sensitive=tuple(config.sources.flank_sensitive),
        max_file_megabytes=config.sources.max_file_megabytes,
        max_table_megabytes=config.sources.max_table_megabytes,
    )
    reading = sources.read_sources(config.input, how)
    annotations = reading.annotations
    for name in ("root", "image_path"):
        for text in pc.unique(annotations[name].filter(pc.match_substring(annotations[name], "@"))):
            store.refuse_keys(text.as_py(), "--input")
    labelled = len(annotations) - annotations["identity"].null_count
    species = sorted(annotations["species"].unique().to_pylist())
    say(
        f"annotations: {len(annotations):,} of {_listed(species)} read; {labelled:,} with a known "
        f"identity ({time.perf_counter() - started:.1f} s)"
    )
    for note in reading.notes:
        say(f"note: {note}")
    for warning in reading.warnings:
        say(f"warning: {warning}")
    if len(reading.failures):
        first = reading.failures.slice(0, 1).to_pylist()[0]
        say(
            f"warning: {len(reading.failures):,} rows of the sources cannot be used, and are failures; the "
            f"first: {first['image_path']}: {first['error']}"
        )
    return reading


def _listed(species: Sequence[str]) -> str:
    """Names of species; "unknown" stands for that none was named."""
    return ", ".join(
        "a species that was not named" if name == UNKNOWN_SPECIES else name for name in species
    )


def check_species_settings(
    config: Config, known: Collection[str], sections: Sequence[str], *, more_may_come: bool = False
) -> None:
    """Refuse settings for species that no image has.

    Args:
        config: the resolved configuration.
        known: the species that there are.
        sections: those of the configuration that the job uses.
        more_may_come: a species that is like none of `known` is only reported, as it may be in a later
            upload; one that is nearly a known one is misspelt.

    Raises:
        InputError: there is one; the message says which one was probably meant.
    """
    asked: dict[str, tuple[str, ...]] = {
        "embed.per_species": tuple(config.embed.per_species),
        "cluster.per_species_eps": tuple(config.cluster.per_species_eps),
        "cluster.range_km": tuple(config.cluster.range_km),
        "cluster.fallback_species": tuple(filter(None, [config.cluster.fallback_species])),
        "identify.per_species": tuple(config.identify.per_species),
        "finetune.no_flip_species": config.finetune.no_flip_species,
        "images.per_species_window": tuple(config.images.per_species_window),
        "pairs.max_speed_kmh": tuple(config.pairs.max_speed_kmh),
    }
    for setting, species in asked.items():
        if setting.partition(".")[0] not in sections:
            continue
        if more_may_come:
            strange = [one for one in species if one not in known and not did_you_mean(one, known)]
            if strange:
                say(f"note: {setting}: no image so far is of {list_a_few(strange)}")
            species = tuple(one for one in species if one not in strange)
        refuse_unknown_species(setting, species, known)


def with_camera_times(
    config: Config, reading: Reading, folders: Iterable[str]
) -> tuple[pa.Table, list[str]]:
    """The annotations of a reading with the times that their files carry, and what follows from them.

    Args:
        config: the resolved configuration.
        reading: of the sources.
        folders: where the embeddings lie.

    Returns:
        The annotations, and the notes that were said.
    """
    annotations = reading.annotations
    if not annotations["timestamp"].null_count:
        return annotations, []
    filled = 0
    for folder in sorted(set(folders)):
        annotations, more = fill_times(annotations, embeddings.read_times(folder))
        filled += more
    if not filled:
        return annotations, []
    notes = [f"{filled:,} images have their time from the file (EXIF)"]
    without = ~np.asarray(reading.given["encounter_id"], bool)
    annotations, more_notes = fill_encounters(
        annotations, without, gap_seconds=config.sources.encounter_gap_seconds
    )
    notes += more_notes
    for note in notes:
        say(f"note: {note}")
    return annotations, notes
