"""Times that only the opened file tells, and the encounters that follow from times and places."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reid import schema
from reid.sources.stations import burst_names, bursts


def fill_times(annotations: pa.Table, reported: pa.Table) -> tuple[pa.Table, int]:
    """Give annotations without a time the one that their files carry.

    Args:
        annotations: schema.ANNOTATIONS.
        reported: annotation_id, timestamp and utc_offset_minutes, as the files' EXIF says them.

    Returns:
        The annotations, and how many have a time now that had none.
    """
    reported = reported.filter(pc.is_valid(reported["timestamp"]))
    where = pc.index_in(
        annotations["annotation_id"], value_set=reported["annotation_id"].combine_chunks()
    )
    where = where.combine_chunks() if isinstance(where, pa.ChunkedArray) else where
    empty = pc.and_(pc.is_null(annotations["timestamp"]), pc.is_valid(where))
    filled = pc.sum(empty).as_py() or 0
    if not filled:
        return annotations, 0
    for name in ("timestamp", "utc_offset_minutes"):
        place = annotations.schema.get_field_index(name)
        field = schema.ANNOTATIONS.field(name)
        found = reported[name].combine_chunks().cast(field.type).take(where)
        column = pc.if_else(empty, found, annotations[name])
        annotations = annotations.set_column(place, field, column)
    return annotations, filled


def fill_encounters(
    annotations: pa.Table, without: NDArray[np.bool_], *, gap_seconds: float
) -> tuple[pa.Table, list[str]]:
    """Join images of one place and species that follow each other closely.

    Args:
        annotations: schema.ANNOTATIONS, n rows.
        without: (n,) rows whose source has no encounters; the others keep what it says.
        gap_seconds: the longest pause within an encounter.

    Returns:
        The annotations, and a note where there are such encounters.
    """
    places, moments, offsets = (
        annotations[name].combine_chunks()
        for name in ("location_id", "timestamp", "utc_offset_minutes")
    )
    if moments.null_count == len(moments):
        return annotations, []
    if places.null_count == len(places):
        alone = pc.sum(pc.and_(pa.array(without), moments.is_valid())).as_py() or 0
        hint = (
            f"{alone:,} images have a time and no place, so that no encounters are made of them; a column for the "
            "place, or --location-level 1 where folders are stations, says it"
        )
        return annotations, [hint] if alone > 1 else []
    species = annotations["species"].combine_chunks()
    first = bursts(places, moments, offsets, [species], gap_seconds=gap_seconds)
    first[~without] = -1
    if not (first >= 0).any():
        return annotations, []
    made = burst_names(first, places, moments)
    column = pc.coalesce(made, annotations["encounter_id"])
    place = annotations.schema.get_field_index("encounter_id")
    annotations = annotations.set_column(place, schema.ANNOTATIONS.field("encounter_id"), column)
    note = (
        f"{int((first >= 0).sum()):,} images are in {len(np.unique(first[first >= 0])):,} encounters: the same place "
        f"and species, pauses up to {gap_seconds:g} s (sources.encounter_gap_seconds)"
    )
    return annotations, [note]
