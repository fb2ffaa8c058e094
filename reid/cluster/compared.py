"""One comparison of all pairs of rows, and all that it leaves: who is nearest, and every threshold."""

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from reid.cluster.forest import Forest
from reid.cluster.running_forest import NOBODY, OTHER, Indices, RunningForest, distance_of
from reid.neighbors import Graph, Search
from reid.neighbors.edge_arrays import Edges, renumbered
from reid.neighbors.stored_edges import StoredEdges


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
        labelled: the edges of the rows that were to be kept apart, numbered among themselves; None
            where none were.
    """

    ceiling: float
    forest: Forest
    links: Graph
    nearest: NDArray[np.int32]
    nearest_distance: NDArray[np.float32]
    labelled: StoredEdges | None


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

    Memory is O(rows × min_samples); the edges between labelled rows may lie on disk (`StoredEdges`). A
    row that has nobody within the ceiling is searched for once more, alone.

    Args:
        vectors: (n, d) float32, unit rows (seen by the caller).
        ceiling: largest cosine distance of interest, 0 < ceiling < 2.
        search: how pairs are compared.
        min_samples, weights: as in `dbscan`.
        labelled: (n,) bool, rows whose edges among each other are kept, for tuning.

    Raises:
        InputError: `min_samples` below 1.
    """
    n = len(vectors)
    running = RunningForest(n, min_samples, weights)
    number = None if labelled is None else _numbered(labelled)
    kept = None if labelled is None else StoredEdges(int(labelled.sum()))

    def wanted(i: Indices, j: Indices, least: NDArray[np.float32]) -> NDArray[np.bool_]:
        matters = running.matters(i, j, least)
        return matters if number is None else matters | (number[i] >= 0) & (number[j] >= 0)

    # The forest's edges, who is near whom and the labelled pairs are all that has to be measured, or
    # to leave the place where it is found.
    refine = partial(_needed, n, min_samples, weights, number)
    for part in search.edges(vectors, ceiling, refine=refine, wanted=wanted):
        running.add(part)
        if kept is not None and number is not None:
            kept.add(renumbered(part, number))
    index, distance = _nearest_rows(vectors, running.near[0], search)
    return Compared(ceiling, running.forest(), running.links(), index, distance, kept)


def _needed(
    n: int,
    min_samples: int,
    weights: NDArray[np.int64] | None,
    number: NDArray[np.int32] | None,
    part: Edges,
) -> Edges:
    """A part without the edges that change neither forest, nor who is near, nor labelled graph."""
    edges, distances = part
    if len(edges) <= n // 8:  # the forest's own arrays are larger than what it would save
        return part
    alone = RunningForest(n, min_samples, weights)
    alone.add(part)
    needed = alone.needed(part)
    if number is not None:
        needed |= (number[edges[:, 0]] >= 0) & (number[edges[:, 1]] >= 0)
    return edges[needed], distances[needed]


def _nearest_rows(
    vectors: NDArray[np.float32], nearest: NDArray[np.uint64], search: Search
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    index = (nearest & OTHER).astype(np.uint32).view(np.int32)
    distance = distance_of(nearest)
    alone = np.flatnonzero(nearest == NOBODY)
    if len(alone):
        far, far_distance = search.nearest(vectors, 1, rows=alone)
        index[alone], distance[alone] = far[:, 0], far_distance[:, 0]
    return index, distance


def _numbered(labelled: NDArray[np.bool_]) -> NDArray[np.int32]:
    """The number of each labelled row among them; −1 for the others."""
    return np.where(labelled, np.cumsum(labelled) - 1, -1).astype(np.int32)
