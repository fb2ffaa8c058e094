"""The configured sources, read and told: the first step of every job that takes images."""

import time

from jobs.common.console import say
from reid import sources
from reid.config import Config
from reid.sources import How, Reading


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
        encounter_gap_seconds=config.sources.encounter_gap_seconds,
    )
    reading = sources.read_sources(config.input, how)
    annotations = reading.annotations
    labelled = len(annotations) - annotations["identity"].null_count
    species = sorted(annotations["species"].unique().to_pylist())
    say(
        f"annotations: {len(annotations):,} of {', '.join(species)} read; {labelled:,} with a known "
        f"identity ({time.perf_counter() - started:.1f} s)"
    )
    for note in reading.notes:
        say(f"note: {note}")
    if len(reading.failures):
        first = reading.failures.slice(0, 1).to_pylist()[0]
        say(
            f"warning: {len(reading.failures):,} rows of the sources cannot be used, and are failures; the "
            f"first: {first['image_path']}: {first['error']}"
        )
    return reading
