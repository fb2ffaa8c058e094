"""Which pictures people want to be asked about: of a place, a time, an individual."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from reid.catalogue import called_so, names_of_individuals


@dataclass(frozen=True, slots=True)
class Within:
    """Pictures that fit all of this; what is empty or None limits nothing.

    Attributes:
        places: locations, any of them.
        start, end: first and last day, by the cameras' clocks; pictures without a time do not fit.
        individuals: ids or names, any of them.
    """

    places: tuple[str, ...] = ()
    start: date | None = None
    end: date | None = None
    individuals: tuple[str, ...] = ()

    @property
    def limits(self) -> bool:
        """False where every picture fits."""
        return self != EVERYWHERE


EVERYWHERE = Within()


def ids_within(within: Within, rows: pa.Table, decisions: pa.Table) -> pa.Array | None:
    """Ids of the pictures that fit; None where nothing limits them.

    Args:
        within: what they have to fit.
        rows: `reid.schema.ANNOTATIONS` and identity_id.
        decisions: `reid.schema.DECISIONS`, for the names that people gave.
    """
    if not within.limits:
        return None
    fits = pa.chunked_array([pa.array([True] * len(rows), pa.bool_())])
    if within.places:
        fits = pc.and_(fits, pc.is_in(rows["location_id"], pa.array(within.places, pa.string())))
    if within.start is not None:
        fits = pc.and_(fits, pc.greater_equal(rows["timestamp"], _midnight(within.start)))
    if within.end is not None:
        following = _midnight(within.end + timedelta(days=1))
        fits = pc.and_(fits, pc.less(rows["timestamp"], following))
    if within.individuals:
        names = names_of_individuals(rows, decisions)
        ids = [one for name in within.individuals for one in called_so(rows, names, name)]
        who = pa.array([*within.individuals, *ids], pa.string())
        fits = pc.and_(fits, pc.is_in(rows["identity_id"], who))
    return rows["annotation_id"].filter(pc.fill_null(fits, False)).combine_chunks()


def _midnight(day: date) -> pa.Scalar:
    return pa.scalar(datetime.combine(day, time()), pa.timestamp("us"))
