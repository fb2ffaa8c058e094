"""What a night makes of one species, whether all of it was looked at or what is near."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from jobs.catalogue.night_outcome import SpeciesOutcome
from reid.catalogue import known_rows
from reid.catalogue.kept_rows import Noted
from reid.identify import Identified, Unaided


@dataclass(frozen=True)
class SpeciesNight:
    """What a night makes of one species, of which all n rows have numbers.

    Attributes:
        rows: ROW_SCHEMA with all that what is new can change, sorted by annotation_id.
        was: schema.CATALOGUE, as stored, those that change.
        changed: what they are then, and rows that are new.
        result: of `rows`.
        outcome: without its `decide_seconds`.
        some_rows: annotation_id and source_key of some rows, by their numbers.
        by_rising_id: the numbers of some rows in the order of their annotation_id.
        who: (n,) numbers that tell the individuals of all rows apart.
        unaided: of all rows.
        keep: given what the run has committed, writes rows and links for the next night; what follows from all
            rows, and the files of the rows. None: it is not worth it.
        ids_among: which of some ids that decisions name all rows have.
    """

    rows: pa.Table
    was: pa.Table
    changed: pa.Table
    result: Identified
    outcome: SpeciesOutcome
    some_rows: Callable[[NDArray[np.intp]], pa.Table]
    by_rising_id: Callable[[NDArray[np.intp]], NDArray[np.intp]]
    who: NDArray[np.integer]
    unaided: Unaided
    keep: Callable[[pa.Table], tuple[known_rows.RowFacts, tuple[Noted, ...]]] | None
    ids_among: Callable[[pa.Array], pa.ChunkedArray]
