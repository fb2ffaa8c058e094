"""What reading the sources gives: annotations, rows that failed, and what is said about both."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from reid import schema

# The columns of schema.ANNOTATIONS that a source may give or leave out.
LABELS = (
    "species", "identity", "encounter_id", "viewpoint", "timestamp", "location_id", "split",
)  # fmt: skip


@dataclass(frozen=True)
class Reading:
    """All sources, read.

    Attributes:
        annotations: schema.ANNOTATIONS, n rows, each annotation_id once.
        failures: schema.FAILURES, stage `read`: rows of a source that cannot be used.
        notes: in plain words, what was read as what, and what was left out and why.
        given: for each of LABELS (n,) bool: does a source of this row have that column? True beside
            a null label means that the source says "none"; False, that it says nothing.
        sources: what each source holds, with counts, for summary.json.
        warnings: what makes the results worse than they need be, and what to do.
    """

    annotations: pa.Table
    failures: pa.Table
    notes: list[str]
    given: Mapping[str, NDArray[np.bool_]]
    sources: list[dict[str, Any]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def no_sources() -> Reading:
    """The reading of no source."""
    given = {name: np.zeros(0, bool) for name in LABELS}
    return Reading(schema.ANNOTATIONS.empty_table(), schema.FAILURES.empty_table(), [], given)
