"""One comparison of all pairs of rows, and all that it leaves: who is nearest, and every threshold."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from reid.cluster.dbscan import check_min_samples
from reid.cluster.forest import Forest, minimum_forest, spanning_forest
from reid.cluster.running_forest import NOBODY, Indices, RunningForest, lower_nearest
from reid.neighbors import Graph, Search
from reid.neighbors.edge_arrays import Edges, join_edges


@dataclass(frozen=True, slots=True)
class Compared:
    """What the pairs of n rows within a distance of each other say; the pairs themselves are gone.

    Attributes:
        ceiling: the largest distance looked at.
        forest: DBSCAN's labels at every threshold up to `ceiling` (`labels_at`).
        links: a graph with few edges that connects the same rows at every distance: what linkage
            needs to know of the pairs.
        nearest: (n,) int32, each row's nearest other row, the lowest of several; −1: there is none.
        nearest_distance: (n,) float32, its cosine distance; NaN: there is none.
        labelled: the graph of the rows that were to be kept apart, numbered among themselves; None
            where none were.
    """

    ceiling: float
    forest: Forest
    links: Graph
    nearest: NDArray[np.int32]
    nearest_distance: NDArray[np.float32]
    labelled: Graph | None


def compare_all(
    vectors: NDArray[np.float32],
    ceiling: float,
    search: Search,
    *,
    min_samples: int = 2,
    weights: NDArray[np.int64] | None = None,
    labelled: NDArray[np.bool_] | None = None,
) -> Compared:
    """Compare all pairs of rows once.

    Up to `min_samples` = 2 memory is O(rows), and the edges between labelled rows; above that
    O(edges), as core distances depend on all of them. A row that has nobody within the ceiling is
    searched for once more, alone.

    Args:
        vectors: (n, d) float32, unit rows (seen by the caller).
        ceiling: largest cosine distance of interest, 0 < ceiling < 2.
        search: how pairs are compared.
        min_samples, weights: as in `dbscan`.
        labelled: (n,) bool, rows whose edges among each other are kept, for tuning.

    Raises:
        InputError: `min_samples` below 1.
    """
    check_min_samples(min_samples)
    n = len(vectors)
    running = RunningForest(n)
    number = None if labelled is None else _numbered(labelled)
    kept: list[Edges] = []  # among labelled rows
    everything: list[Edges] = []

    def wanted(i: Indices, j: Indices, least: NDArray[np.float32]) -> NDArray[np.bool_]:
        matters = running.matters(i, j, least)
        return matters if number is None else matters | (number[i] >= 0) & (number[j] >= 0)

    # Where a forest will do, its edges, each row's nearest and the labelled pairs are all that has to
    # be measured, or to leave the place where it is found.
    parts = (
        search.edges(vectors, ceiling, refine=partial(_needed, n, number), wanted=wanted)
        if min_samples <= 2
        else search.edges(vectors, ceiling)
    )
    for part in parts:
        running.add(part)
        if number is not None:
            kept.append(_among(number, part))
        if min_samples > 2:
            everything.append(part)
    if min_samples <= 2:
        forest = running.forest(min_samples, weights)
    else:
        forest = spanning_forest(Graph(n, *join_edges(everything)), min_samples, weights=weights)
    index, distance = _nearest_rows(vectors, running.nearest, search)
    graph = None
    if labelled is not None:
        graph = Graph(int(labelled.sum()), *join_edges(kept))
    return Compared(ceiling, forest, Graph(n, *running.edges()), index, distance, graph)


def _needed(n: int, number: NDArray[np.int32] | None, part: Edges) -> Edges:
    """A part without the edges that change neither forest, nor nearest, nor labelled graph."""
    edges, distances = part
    if len(edges) <= n // 8:  # the forest's own arrays are larger than what it would save
        return part
    merges, _ = minimum_forest(n, edges, distances)
    keys = edges[:, 0].astype(np.int64) << 32 | edges[:, 1]
    needed = np.isin(keys, merges[:, 0].astype(np.int64) << 32 | merges[:, 1])
    nearest = np.full(n, NOBODY, np.uint64)
    lower_nearest(nearest, part)
    bits = distances.view(np.uint32).astype(np.uint64) << np.uint64(32)
    for row, other in ((0, 1), (1, 0)):
        needed |= nearest[edges[:, row]] == (bits | edges[:, other].astype(np.uint64))
    if number is not None:
        needed |= (number[edges[:, 0]] >= 0) & (number[edges[:, 1]] >= 0)
    return edges[needed], distances[needed]


def _nearest_rows(
    vectors: NDArray[np.float32], nearest: NDArray[np.uint64], search: Search
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    index = (nearest & np.uint64(0xFFFFFFFF)).astype(np.uint32).view(np.int32)
    distance = (nearest >> np.uint64(32)).astype(np.uint32).view(np.float32)
    alone = np.flatnonzero(nearest == NOBODY)
    if len(alone):
        far, far_distance = search.nearest(vectors, 1, rows=alone)
        index[alone], distance[alone] = far[:, 0], far_distance[:, 0]
    return index, distance


def _numbered(labelled: NDArray[np.bool_]) -> NDArray[np.int32]:
    """The number of each labelled row among them; −1 for the others."""
    return np.where(labelled, np.cumsum(labelled) - 1, -1).astype(np.int32)


def _among(number: NDArray[np.int32], part: Edges) -> Edges:
    edges, distances = number[part[0]], part[1]
    inside = (edges >= 0).all(axis=1)
    return edges[inside], distances[inside]


def streamed_forest(
    parts: Iterable[Edges],
    n: int,
    min_samples: int = 2,
    *,
    weights: NDArray[np.int64] | None = None,
) -> Forest:
    """`spanning_forest` of a graph that is never held as a whole.

    Up to `min_samples` = 2 an edge's weight is its distance, and the forest of a union is the forest
    of the parts' forests, so parts are reduced as they come. Above that the core distances depend on
    all edges, and the parts are collected: memory is then O(edges).

    Args:
        parts: (edges, distances), each pair of rows in one part only.
        n: rows.
        min_samples, weights: as in `dbscan`.

    Raises:
        InputError: `min_samples` below 1.
    """
    check_min_samples(min_samples)
    if min_samples > 2:
        return spanning_forest(Graph(n, *join_edges(parts)), min_samples, weights=weights)
    running = RunningForest(n)
    for part in parts:
        running.add(part)
    return running.forest(min_samples, weights)
