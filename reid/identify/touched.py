"""What a night can change: rows near whatever is new. All others are as the night before left them.

Who is who follows from edges within the known distance, must-links and cannot-links, and none of these
reaches over the edge of a connected part of the graph. So a part in which nothing is new is not looked at
again; what comes out is the same, as tests/test_identify_touched.py asks of random histories.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reid.identify.constrained_partition import Partition, components, partition
from reid.identify.constraints import Constraints, conflicted


def told_ids(rows: pa.Table, updated: pa.Table) -> pa.Array:
    """Ids of known rows about which an upload says something new, or that shared an image or encounter with one.

    Args:
        rows: as they were, columns annotation_id, image_path and encounter_id.
        updated: column annotation_id, of rows of which any other column is another now.
    """
    was = rows.filter(pc.is_in(rows["annotation_id"], updated["annotation_id"].combine_chunks()))
    image, encounter = (
        was[name].drop_null().combine_chunks() for name in ("image_path", "encounter_id")
    )
    beside = pc.or_(pc.is_in(rows["image_path"], image), pc.is_in(rows["encounter_id"], encounter))
    return rows["annotation_id"].filter(beside).combine_chunks()


def touched_rows(
    seeds: NDArray[np.bool_],
    before: NDArray[np.int64],
    edges: NDArray[np.integer],
    distances: NDArray[np.float32],
    known_distance: float,
    groups: Sequence[NDArray[np.int64]],
    pairs: NDArray[np.int64],
    constraints: Constraints,
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The rows whose individual may be another than before, given those about which something is new.

    Whole individuals of before, whole connected parts of the graph of now (and a little more: an edge
    that no longer counts may be among `edges`).

    Args:
        seeds: (n,) rows that are new, or about which something else is known than before.
        before: (n,) individual before, −1 for new rows.
        edges, distances: (m, 2) and (m,) of before and now, in any order.
        known_distance: edges up to here join.
        groups: numbers (n,), −1 = none, by which rows say something of each other: images, encounters,
            labels; as they are and as they were.
        pairs: (k, 2) rows that a person has judged.
        constraints: of the n rows, as they are.

    Returns:
        touched (n,) bool, with all seeds; and kept (n,) bool, those of them whose individual cannot be
        another: the only one in its part, where nothing has to be kept apart, and about whose own rows
        nothing is new. New rows may join it.
    """
    n = len(seeds)
    reached = seeds.copy()
    judged = pairs[reached[pairs].any(axis=1)] if len(pairs) else pairs
    reached[judged.ravel()] = True
    # A row says something of its image, an image of its rows' encounters, these of their labels.
    for group in groups:
        reached |= _shares(group, reached)
    individual = np.where(before < 0, before.max(initial=-1) + 1 + np.arange(n), before)
    _, node = np.unique(individual, return_inverse=True)
    ends = node[edges[distances <= np.float32(known_distance)]]
    apart = ends[ends[:, 0] != ends[:, 1]]
    parts = components(int(node.max(initial=-1)) + 1, np.unique(np.sort(apart, axis=1), axis=0))
    part = parts[node]
    found = np.zeros(n, np.bool_)
    found[part[reached]] = True
    touched = found[part]
    kept = np.zeros(n, np.bool_)
    rows = np.flatnonzero(touched)
    kept[rows] = _kept(reached[rows], before[rows], part[rows], constraints.of(rows))
    return touched, kept


def _kept(
    reached: NDArray[np.bool_],
    before: NDArray[np.int64],
    part: NDArray[np.int64],
    constraints: Constraints,
) -> NDArray[np.bool_]:
    """As `touched_rows`, of touched rows."""
    old = before >= 0
    _, part = np.unique(part, return_inverse=True)
    lowest = np.full(part.max(initial=-1) + 1, before.max(initial=0) + 1)
    highest = np.full(len(lowest), -1)
    np.minimum.at(lowest, part[old], before[old])
    np.maximum.at(highest, part[old], before[old])
    whole = (lowest == highest) & ~conflicted(part, constraints)
    whole[part[reached & old]] = False
    kept: NDArray[np.bool_] = old & whole[part]
    return kept


def unsure_nearby(
    touched: NDArray[np.bool_],
    unsure: NDArray[np.bool_],
    before: NDArray[np.int64],
    edges: NDArray[np.integer],
) -> NDArray[np.bool_]:
    """(n,) bool: rows of unsure individuals that an edge joins to a touched row, so that it may matter who that is."""
    ends = touched[edges]
    border = edges[ends[:, 0] != ends[:, 1]].ravel()
    border = border[~touched[border] & unsure[border]]
    near = np.zeros(before.max(initial=-1) + 2, np.bool_)  # −1 is nobody, at the end
    near[before[border]] = True
    return unsure & ~touched & (before >= 0) & near[before]


def repartition(
    touched: NDArray[np.bool_],
    kept: NDArray[np.bool_],
    before: NDArray[np.int64],
    edges: NDArray[np.integer],
    distances: NDArray[np.float32],
    known_distance: float,
    constraints: Constraints,
) -> Partition:
    """`partition`, where untouched rows are as before: its component; and joins of touched rows.

    All joins that touch a row of an individual that is not kept as it was, and the best ones of new rows.

    Args:
        touched, kept: (n,) of `touched_rows`.
        before: (n,) individual before, −1 for new rows.
        edges, distances, known_distance, constraints: see `partition`.

    Raises:
        InputError: constraints of touched rows contradict each other.
    """
    n = len(touched)
    rows = np.flatnonzero(touched)
    place = np.full(n, -1, np.int64)
    place[rows] = np.arange(len(rows))
    inside = touched[edges].all(axis=1)
    one = np.where(kept[rows], before[rows], before.max(initial=0) + 1 + np.arange(len(rows)))
    _, first, of = np.unique(one, return_index=True, return_inverse=True)
    own = partition(
        len(rows),
        place[edges[inside]],
        distances[inside],
        known_distance,
        constraints.of(rows),
        joined=first[of] if kept.any() else None,
    )
    component = before + len(rows)
    component[rows] = own.component
    _, first, component = np.unique(component, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return Partition(rank[component], rows[own.joins], own.distances, own.kinds)


def _shares(group: NDArray[np.int64], rows: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Rows of the groups that `rows` are of."""
    there = np.zeros(group.max(initial=-1) + 2, np.bool_)
    there[group[rows] + 1] = True
    there[0] = False
    return there[group + 1]
