"""What happened to the identities between two partitions, and why."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from reid.identify.constrained_partition import Partition
from reid.identify.constraints import Constraints
from reid.identify.separating_pairs import Link, edge_distance, separating_pairs

ORDER = ("new", "extend", "split", "merge", "confirm")


@dataclass(frozen=True, slots=True)
class Event:
    """A change of one identity. The rows of all events, applied in order, make the new partition.

    Attributes:
        event: `new` (an identity created from unmatched rows), `extend` (new rows for an identity), `split` (rows that
            left identity `other`), `merge` (what was left of identity `other`, which is no more), or
            `confirm` (a decision that changed nothing).
        identity: the identity that now holds `rows`.
        other: the identity that they came from.
        rows: (r,) int64.
        link: what joined or parted them.
    """

    event: str
    identity: int
    other: int | None
    rows: NDArray[np.int64]
    link: Link | None


JOIN_KINDS = ("distance", "match", "label", "encounter")  # by the kinds of a Partition


def derive_events(
    before: NDArray[np.int64],
    after: NDArray[np.int64],
    found: Partition,
    edges: NDArray[np.integer],
    distances: NDArray[np.float32],
    constraints: Constraints,
    fresh_match: NDArray[np.int64] | None = None,
    fresh_nomatch: NDArray[np.int64] | None = None,
) -> list[Event]:
    """The events that turn one assignment of identities into the next.

    Args:
        before: (n,) int64 identity of each row before, −1 for a new row.
        after: (n,) int64 identity of each row now, of `follow_names`.
        found: the partition behind `after`.
        edges, distances: (m, 2), a < b, sorted, and (m,): distances of parted rows are looked up here.
        constraints: of the n rows.
        fresh_match: (k, 2) pairs that were joined by a person since `before`.
        fresh_nomatch: (k, 2) pairs that were told apart since `before`.

    Returns:
        Events by identity, then in the order of `ORDER`, then by the other identity.
    """
    flows = _flows(before, after)
    targets = _heirs(flows, after)
    held = np.zeros(found.component.max(initial=-1) + 1, np.bool_)
    held[found.component[before >= 0]] = True
    events = []
    for (identity, other), rows in flows.items():
        if other is not None:
            kind = "merge" if targets.get(other) == identity else "split"
        else:
            # A component with rows of an old identity is not new, even where its name is.
            kind = "extend" if held[found.component[rows[0]]] else "new"
        events.append(Event(kind, identity, other, rows, None))
    events = _with_joins(events, before, found)
    events = _with_separating_pairs(
        events, after, found.component, edges, distances, constraints, targets
    )
    for pairs, one in ((fresh_match, True), (fresh_nomatch, False)):
        if pairs is not None:
            events += _confirmed(pairs, one, before, after, edges, distances)
    return sorted(
        events,
        key=lambda event: (
            event.identity,
            ORDER.index(event.event),
            -1 if event.other is None else event.other,
        ),
    )


def _flows(
    before: NDArray[np.int64], after: NDArray[np.int64]
) -> dict[tuple[int, int | None], NDArray[np.int64]]:
    """The rows that went to an identity from another, or from nowhere: (to, from or None) → rows."""
    moved = np.flatnonzero(before != after)
    moved = moved[np.lexsort((moved, before[moved], after[moved]))]
    ways = np.stack([after[moved], before[moved]], axis=1)
    cuts = np.flatnonzero((ways[1:] != ways[:-1]).any(axis=1)) + 1
    parts = np.split(moved, cuts) if len(moved) else []
    return {
        (int(after[rows[0]]), int(before[rows[0]]) if before[rows[0]] >= 0 else None): rows
        for rows in parts
    }


def _heirs(
    flows: dict[tuple[int, int | None], NDArray[np.int64]], after: NDArray[np.int64]
) -> dict[int, int]:
    """For each identity that is no more, the one that got most of its rows; ties: the oldest."""
    here = set(np.unique(after).tolist())
    best: dict[int, tuple[int, int]] = {}
    for (identity, other), rows in flows.items():
        if other is not None and other not in here:
            best[other] = min(best.get(other, (0, 0)), (-len(rows), identity))
    return {other: identity for other, (_, identity) in best.items()}


def _with_joins(events: list[Event], before: NDArray[np.int64], found: Partition) -> list[Event]:
    """For `extend` and `merge`: the link by which the two sides came together."""
    merging = np.unique(
        [found.component[event.rows[0]] for event in events if event.event == "merge"]
    ).astype(np.int64)
    links = _meetings(merging, before, found)
    # The strongest link between a new and a known row says why a component grew.
    new = before[found.joins] < 0
    crossing = np.flatnonzero(new[:, 0] != new[:, 1])[::-1]
    grew = dict(
        zip(found.component[found.joins[crossing, 0]].tolist(), crossing.tolist(), strict=True)
    )
    result = []
    for event in events:
        if event.event == "extend":
            event = replace(event, link=_join(found, grew[int(found.component[event.rows[0]])]))
        elif event.event == "merge" and event.other is not None:
            where = int(found.component[event.rows[0]])
            event = replace(event, link=_join(found, links[where, event.identity, event.other]))
        result.append(event)
    return result


def _meetings(
    merging: NDArray[np.int64], before: NDArray[np.int64], found: Partition
) -> dict[tuple[int, int, int], int]:
    """The join at which two old identities became connected, (component, x, y) and (…, y, x) → place.

    Identities that have come apart may meet in several components.
    Joins run from the strongest to the weakest, so it is the weakest link of the best chain between
    them: without it they would be two.
    """
    n, span = len(before), int(before.max(initial=-1)) + 1
    parent: dict[int, int] = {}
    holds: dict[int, list[int]] = {}
    met: dict[tuple[int, int, int], int] = {}

    def find(key: int) -> int:
        parent.setdefault(key, key)
        while parent[key] != key:
            parent[key] = key = parent[parent[key]]
        return key

    places = np.flatnonzero(np.isin(found.component[found.joins[:, 0]], merging))
    for place, row_a, row_b in zip(places.tolist(), *found.joins[places].T.tolist(), strict=True):
        # All rows of an old identity in one component are one thing from the start.
        ends = []
        for row in (row_a, row_b):
            identity = int(before[row])
            key = row if identity < 0 else n + span * int(found.component[row]) + identity
            key = find(key)
            holds.setdefault(key, [identity] if identity >= 0 else [])
            ends.append(key)
        a, b = ends
        if a == b:
            continue
        where = int(found.component[row_a])
        for x in holds[a]:
            for y in holds[b]:
                met[where, x, y] = met[where, y, x] = place
        small, large = sorted((a, b), key=lambda key: len(holds[key]))
        parent[small] = large
        holds[large] = holds[large] + holds.pop(small)
    return met


def _with_separating_pairs(
    events: list[Event],
    after: NDArray[np.int64],
    component: NDArray[np.int64],
    edges: NDArray[np.integer],
    distances: NDArray[np.float32],
    constraints: Constraints,
    targets: dict[int, int],
) -> list[Event]:
    """For `split`: what keeps the rows that left from those that they left."""
    if not any(event.event == "split" for event in events):
        return events
    numbers, first = np.unique(after, return_index=True)
    home = dict(zip(numbers.tolist(), component[first].tolist(), strict=True))
    wanted = {}
    for event in events:
        if event.event == "split" and event.other is not None:
            stayed = home[targets.get(event.other, event.other)]
            x, y = sorted((int(component[event.rows[0]]), stayed))
            wanted[event.identity, event.other] = (x, y)
    links = separating_pairs(set(wanted.values()), component, edges, distances, constraints)
    return [
        replace(event, link=links.get(wanted[event.identity, event.other]))
        if event.event == "split" and event.other is not None
        else event
        for event in events
    ]


def _confirmed(
    pairs: NDArray[np.int64],
    one: bool,
    before: NDArray[np.int64],
    after: NDArray[np.int64],
    edges: NDArray[np.integer],
    distances: NDArray[np.float32],
) -> list[Event]:
    nobody = np.empty(0, np.int64)
    events = []
    for a, b in np.unique(np.sort(pairs.reshape(-1, 2), axis=1), axis=0).tolist():
        was, now = before[[a, b]], after[[a, b]]
        if (was >= 0).all() and (was[0] == was[1]) == one and (now[0] == now[1]) == one:
            link = Link(a, b, edge_distance(edges, distances, a, b), "match" if one else "nomatch")
            other = None if one else int(now[1])
            events.append(Event("confirm", int(now[0]), other, nobody, link))
    return events


def _join(found: Partition, place: int) -> Link:
    a, b = sorted(found.joins[place].tolist())
    kind = JOIN_KINDS[found.kinds[place]]
    return Link(a, b, float(found.distances[place]) if kind == "distance" else None, kind)
