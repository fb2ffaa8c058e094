"""One species of a catalogue: rows, edges and decisions in, identities and events out."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reid import schema
from reid.errors import InputError
from reid.identify.calibration import Calibration
from reid.identify.changes import Event, derive_events
from reid.identify.contradictions import find_contradictions
from reid.identify.decisions import DECISIONS, UNSURE, RowDecisions, decide, state_before
from reid.identify.encounters import Nodes
from reid.identify.extend import Edges, comparable, sides, sorted_once
from reid.identify.names import follow_names, identity_name
from reid.identify.species_nodes import (
    Species,
    decided_pairs,
    read_species,
    unsorted_row_edges,
)
from reid.identify.touched import repartition, touched_rows, unsure_nearby
from reid.identify.unaided import Unaided, find_unaided
from reid.identify.wording import contradiction_error, reason

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
        individuals: that there are now.
        looked_at: rows whose individual was made anew; all others are as they were.
        unaided: what distances and encounters alone make of the rows, in their order.
        edges: all that were given, by the number of a row among all by rising id; some may be there twice.
        broken: ids of encounters that show more than one animal.
    """

    rows: pa.Table
    changed: NDArray[np.bool_]
    changes: pa.Table
    next_number: int
    notes: list[str]
    individuals: int
    looked_at: int
    unaided: Unaided
    edges: Edges
    broken: list[str]


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
    edges: pa.Table | Edges,
    decisions: pa.Table,
    *,
    known_distance: float,
    new_distance: float,
    next_number: int,
    radius: float | None = None,
    calibration: Calibration | None = None,
    encounters: str = "off",
    viewpoints: str = "compare-all",
    run_id: str | None = None,
    told: pa.Array | None = None,
    elsewhere: int = 0,
) -> Identified:
    """Who is who in one species, as a pure function of what the catalogue holds.

    The partition depends on rows, edges, decisions and thresholds alone. Names, decisions and
    events come from comparing it with the identities that the rows had before.

    Args:
        species: its name, as it begins the identities' names.
        rows: all rows, known and new, in any order: `reid.schema.ANNOTATIONS`, and identity_id,
            decision, confidence, nearest_id and nearest_distance as before this run (null for new
            rows; the columns may be missing when all are new).
        edges: `EDGES` between nodes within `radius`; unknown and repeated ones are ignored. Or, where a node is
            a row, pairs (m, 2) int32 of rows numbered by rising id, the smaller one first, and distances.
        decisions: all decisions, `reid.schema.DECISIONS`.
        known_distance: up to here two rows are one individual, unless something forbids it.
        new_distance: beyond here two rows are not taken for one individual.
        next_number: the first number that no identity of the species ever had.
        radius: of the graph, at least `new_distance`, which it is if not given.
        calibration: for confidences, carried to as many individuals as there are now; null
            without it.
        encounters: `off`, `best` or `mean`.
        viewpoints: rule of `reid.identify.sides`; edges between a left and a right are left out.
        run_id: this run; decisions that came with it and change nothing make `confirm` events.
        told: ids of known rows about which the catalogue has learned something since their identities
            were made, or that shared an image or an encounter with such a row. With it only what they,
            new rows and decisions of this run can change is looked at, and the result is the same but
            for the confidence of unsure rows, which moves with the number of individuals. None: all.
        elsewhere: individuals of rows that are not among these; they count for confidences.

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
    n = len(read.rows)
    before, decision_before = state_before(species, read.rows, next_number)
    contradictions = find_contradictions(read.constraints)
    if contradictions:
        raise contradiction_error(contradictions, read)
    given = edges if isinstance(edges, tuple) else unsorted_row_edges(read, edges)
    pairs, distances = given
    shown = sides(read.rows["viewpoint"], viewpoints)
    unaided = find_unaided(read, pairs[distances <= np.float32(known_distance)], shown)
    fresh = read.decisions[read.decisions["run_id"] == run_id]
    # The mean of an encounter that has grown is another node, and the edges of the old one are no more.
    touched = asked = np.ones(n, np.bool_)
    kept = np.zeros(n, np.bool_)
    if told is not None and encounters != "mean":
        seeds = before < 0
        own = decisions.filter(pc.equal(decisions["run_id"], run_id))
        said = pa.chunked_array([*own["a_id"].chunks, *own["b_id"].chunks, told], pa.string())
        seeds |= pc.is_in(read.rows["annotation_id"], value_set=said).to_numpy()
        judged = read.decisions[["a", "b"]].to_numpy(np.int64)
        touched, kept = touched_rows(
            seeds, before, pairs, distances, known_distance, read.groups, judged, read.constraints
        )
        asked = touched | unsure_nearby(touched, decision_before == UNSURE, before, pairs)
        close = np.flatnonzero(asked[pairs[:, 0]] | asked[pairs[:, 1]])
        own = np.where(kept, before, -2 - np.arange(n))[pairs[close]]
        close = close[own[:, 0] != own[:, 1]]
        pairs, distances = pairs[close], distances[close]
    if shown is not None:
        compared = comparable(*shown[pairs].T)
        pairs, distances = pairs[compared], distances[compared]
    if read.unusable.any():
        usable = ~read.unusable[pairs].any(axis=1)
        pairs, distances = pairs[usable], distances[usable]
    pairs, distances = sorted_once(pairs, distances)
    found = repartition(touched, kept, before, pairs, distances, known_distance, read.constraints)
    after, next_number = follow_names(before, found.component, next_number)
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
    individuals = max(1, elsewhere + len(np.unique(after)))
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
        touched=asked,
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
        individuals=individuals,
        looked_at=int(touched.sum()),
        unaided=unaided,
        edges=given,
        broken=read.nodes.broken,
    )


def _table(
    species: str, read: Species, after: NDArray[np.int64], decided: RowDecisions
) -> tuple[pa.Table, NDArray[np.bool_]]:
    """The rows as they are now, and which of them differ from before, both in the input's order."""
    rows = decided.rows
    numbers, code = np.unique(after[rows], return_inverse=True)
    names = pa.array([identity_name(species, int(k)) for k in numbers], pa.string())
    ids = read.rows["annotation_id"].combine_chunks()
    now = {
        "identity_id": names.take(pa.array(code)),
        "decision": pa.array(DECISIONS, pa.string()).take(pa.array(decided.decision)),
        "confidence": pa.array(decided.confidence, from_pandas=True),
        "nearest_id": ids.take(pa.array(decided.nearest, mask=decided.nearest < 0)),
        "nearest_distance": pa.array(decided.nearest_distance, from_pandas=True),
    }
    mask = np.zeros(len(read.rows), np.bool_)
    mask[rows] = True
    changed = np.zeros(len(read.rows), np.bool_)
    columns = {"annotation_id": ids}
    for name, values in now.items():
        kind = IDENTIFIED.field(name).type
        if name in read.rows.column_names:
            whole = read.rows[name].combine_chunks()
        else:
            whole = pa.nulls(len(read.rows), kind)
        changed[rows] |= _differ(whole.take(pa.array(rows)), values)
        columns[name] = pc.replace_with_mask(whole, pa.array(mask), values.cast(kind))
    table = pa.table(columns, schema=IDENTIFIED)
    if (np.diff(read.order) != 1).any():
        back = np.argsort(read.order)
        table, changed = table.take(pa.array(back)), changed[back]
    return table, changed


def _differ(one: pa.Array, other: pa.Array) -> NDArray[np.bool_]:
    """(k,) bool: another value, or a value where there was none; two nulls are equal."""
    equal = pc.fill_null(pc.equal(one, other), False)
    same = pc.or_(equal, pc.and_(pc.is_null(one), pc.is_null(other)))
    return ~np.asarray(same.to_numpy(zero_copy_only=False), np.bool_)


def _changes(species: str, events: list[Event], read: Species, known_distance: float) -> pa.Table:
    rows = [
        {
            "event": event.event,
            "species": species,
            "identity_id": identity_name(species, event.identity),
            "other_ids": [] if event.other is None else [identity_name(species, event.other)],
            "a_id": read.text("annotation_id", event.link.a) if event.link else None,
            "b_id": read.text("annotation_id", event.link.b) if event.link else None,
            "distance": event.link.distance if event.link else None,
            "reason": reason(event.link, read, known_distance) if event.link else None,
            "rows": len(event.rows),
        }
        for event in events
    ]
    return pa.Table.from_pylist(rows, schema=schema.CHANGES)
