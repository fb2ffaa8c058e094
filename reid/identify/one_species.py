"""One species of a catalogue: rows, edges and decisions in, identities and events out."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from reid import schema
from reid.errors import InputError
from reid.identify.calibration import Calibration
from reid.identify.changes import Event, derive_events
from reid.identify.constrained_partition import partition
from reid.identify.contradictions import find_contradictions
from reid.identify.decisions import DECISIONS, UNSURE, RowDecisions, decide
from reid.identify.encounters import Nodes
from reid.identify.names import follow_names, identity_name, identity_number
from reid.identify.species_nodes import Species, decided_pairs, read_species, row_edges
from reid.identify.wording import contradiction_error, reason

if TYPE_CHECKING:
    import pandas as pd


IDENTIFIED = pa.schema(
    [
        schema.CATALOGUE.field(name)
        for name in (
            "annotation_id",
            "identity_id",
            "decision",
            "confidence",
            "nearest_id",
            "nearest_distance",
        )
    ]
)


@dataclass(frozen=True, slots=True)
class Identified:
    """The identities of one species.

    Attributes:
        rows: `IDENTIFIED`, one row for each of the input's, in its order.
        changed: (n,) bool, which of them differ from before, in whatever column.
        changes: what happened to the identities (`reid.schema.CHANGES`).
        next_number: the species' counter after this run.
        notes: what a reader should know.
    """

    rows: pa.Table
    changed: NDArray[np.bool_]
    changes: pa.Table
    next_number: int
    notes: list[str]


def species_nodes(rows: pa.Table, decisions: pa.Table, *, encounters: str) -> Nodes:
    """Nodes of the graph of one species; `Nodes.node` and `Nodes.first` number the rows by rising id.

    Args:
        rows: of one species, at least the columns of `reid.schema.ANNOTATIONS`, in any order.
        decisions: `reid.schema.DECISIONS`, of any species.
        encounters: `off`, `best` or `mean`, see `make_nodes`.

    Raises:
        InputError: an annotation id twice, an unknown mode.
    """
    return read_species(rows, decisions, encounters=encounters).nodes


def identify_species(
    species: str,
    rows: pa.Table,
    edges: pa.Table,
    decisions: pa.Table,
    *,
    known_distance: float,
    new_distance: float,
    next_number: int,
    radius: float | None = None,
    calibration: Calibration | None = None,
    encounters: str = "off",
    run_id: str | None = None,
) -> Identified:
    """Who is who in one species, as a pure function of what the catalogue holds.

    The partition depends on rows, edges, decisions and thresholds alone. Names, decisions and
    events come from comparing it with the identities that the rows had before.

    Args:
        species: its name, as it begins the identities' names.
        rows: all rows, known and new, in any order: `reid.schema.ANNOTATIONS`, and identity_id,
            decision, confidence, nearest_id and nearest_distance as before this run (null for new
            rows; the columns may be missing when all are new).
        edges: `EDGES` between nodes within `radius`; unknown and repeated ones are ignored.
        decisions: all decisions, `reid.schema.DECISIONS`.
        known_distance: up to here two rows are one individual, unless something forbids it.
        new_distance: beyond here two rows are not taken for one individual.
        next_number: the first number that no identity of the species ever had.
        radius: of the graph, at least `new_distance`, which it is if not given.
        calibration: for confidences, carried to as many individuals as there are now; null
            without it.
        encounters: `off`, `best` or `mean`.
        run_id: this run; decisions that came with it and change nothing make `confirm` events.

    Raises:
        ContradictionError: must-links and cannot-links cannot all hold; nothing is changed.
        InputError: thresholds or numbers that do not fit together, an annotation id twice.
    """
    radius = new_distance if radius is None else radius
    if not 0 < known_distance <= new_distance <= radius < 2:
        raise InputError(
            f"known_distance={known_distance:g}, new_distance={new_distance:g}, radius={radius:g}: "
            "needs 0 < known_distance ≤ new_distance ≤ radius < 2"
        )
    read = read_species(rows, decisions, encounters=encounters)
    n = len(read.frame)
    before, decision_before = _state_before(species, read.frame, next_number)
    contradictions = find_contradictions(read.constraints)
    if contradictions:
        raise contradiction_error(contradictions, read)
    pairs, distances = row_edges(read, edges)
    found = partition(n, pairs, distances, known_distance, read.constraints)
    after, next_number = follow_names(before, found.component, next_number)
    fresh = read.decisions[read.decisions["run_id"] == run_id]
    events = derive_events(
        before,
        after,
        found,
        pairs,
        distances,
        read.constraints,
        decided_pairs(fresh, "match"),
        decided_pairs(fresh, "nomatch"),
    )
    parted = np.zeros(n, np.bool_)
    for event in events:
        parted[event.rows] |= event.event == "split"
    individuals = max(1, len(np.unique(after)))
    decided = decide(
        before,
        decision_before,
        after,
        found,
        pairs,
        distances,
        read.constraints,
        new_distance=new_distance,
        radius=radius,
        stands_for=read.nodes.first[read.nodes.node],
        parted=parted,
        calibration=calibration and calibration.for_gallery(individuals),
    )
    table, changed = _table(species, read, after, decided)
    notes = []
    if read.nodes.broken:
        some = ", ".join(read.nodes.broken[:5]) + (", …" if len(read.nodes.broken) > 5 else "")
        notes.append(
            f"{len(read.nodes.broken)} encounters show more than one animal (two boxes in one image, "
            f"two labels, or a nomatch) and were not joined: {some}"
        )
    return Identified(
        rows=table,
        changed=changed,
        changes=_changes(species, events, read, known_distance),
        next_number=next_number,
        notes=notes,
    )


def _state_before(
    species: str, frame: "pd.DataFrame", next_number: int
) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    """Identity number (−1: new row) and decision code of each row."""
    import pandas as pd

    if "identity_id" not in frame:
        return np.full(len(frame), -1, np.int64), np.zeros(len(frame), np.int8)
    code, names = pd.factorize(frame["identity_id"].to_numpy(dtype=object))
    numbers = np.asarray([identity_number(species, name) for name in names] + [-1], np.int64)
    if numbers.max() >= next_number:
        raise InputError(
            f"next_number={next_number}: {identity_name(species, int(numbers.max()))} is given "
            "already; numbers are never used twice"
        )
    return numbers[code], (frame["decision"] == DECISIONS[UNSURE]).to_numpy(np.int8) * np.int8(
        UNSURE
    )


def _table(
    species: str, read: Species, after: NDArray[np.int64], decided: RowDecisions
) -> tuple[pa.Table, NDArray[np.bool_]]:
    """The rows as they are now, and which of them differ from before, both in the input's order."""
    import pandas as pd

    frame, rows = read.frame, decided.rows
    numbers, code = np.unique(after, return_inverse=True)
    names = np.asarray([identity_name(species, int(k)) for k in numbers], dtype=object)
    ids = np.asarray([*frame["annotation_id"], None], dtype=object)  # −1 is nobody
    now = {
        "identity_id": names[code[rows]],
        "decision": np.asarray(DECISIONS, dtype=object)[decided.decision],
        "confidence": _nullable(decided.confidence),
        "nearest_id": ids[decided.nearest],
        "nearest_distance": _nullable(decided.nearest_distance),
    }
    changed = np.zeros(len(frame), np.bool_)
    columns: dict[str, Any] = {"annotation_id": frame["annotation_id"]}
    for name, values in now.items():
        if name in frame:
            column = frame[name].to_numpy(dtype=object, copy=True)
            column[pd.isna(column)] = None
        else:
            column = np.full(len(frame), None)
        changed[rows] |= column[rows] != values
        column[rows] = values
        columns[name] = column
    back = np.argsort(read.order)
    table = pd.DataFrame(columns).iloc[back]
    return pa.Table.from_pandas(table, schema=IDENTIFIED, preserve_index=False), changed[back]


def _nullable(values: NDArray[np.float32]) -> NDArray[np.object_]:
    filled = values.astype(object)
    filled[np.isnan(values)] = None
    return filled


def _changes(species: str, events: list[Event], read: Species, known_distance: float) -> pa.Table:
    ids = read.frame["annotation_id"].to_numpy(dtype=object)
    rows = [
        {
            "event": event.event,
            "species": species,
            "identity_id": identity_name(species, event.identity),
            "other_ids": [] if event.other is None else [identity_name(species, event.other)],
            "a_id": ids[event.link.a] if event.link else None,
            "b_id": ids[event.link.b] if event.link else None,
            "distance": event.link.distance if event.link else None,
            "reason": reason(event.link, read, known_distance) if event.link else None,
            "rows": len(event.rows),
        }
        for event in events
    ]
    return pa.Table.from_pylist(rows, schema=schema.CHANGES)
