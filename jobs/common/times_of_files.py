"""After embedding: times from the files' EXIF, which embedding has read, and encounters from them."""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from jobs.common.console import say
from reid import embeddings
from reid.config import Config
from reid.sources import Reading
from reid.sources.camera_times import fill_encounters, fill_times


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
