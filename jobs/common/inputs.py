"""The configured sources, read and told: the first step of every job that takes images."""

import time

import pyarrow as pa

from jobs.common.console import say
from reid.config import Config
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
    labelled = len(annotations) - annotations["identity"].null_count
    species = sorted(annotations["species"].unique().to_pylist())
    say(
        f"annotations: {len(annotations):,} of {', '.join(species)} read; {labelled:,} with a known "
        f"identity ({time.perf_counter() - started:.1f} s)"
    )
    for note in notes:
        say(f"note: {note}")
    return annotations, notes
