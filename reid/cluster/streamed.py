"""A spanning forest from edges that arrive in parts: memory of O(rows), however many edges."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from reid.cluster.dbscan import check_min_samples
from reid.cluster.forest import Forest, minimum_forest, spanning_forest
from reid.neighbors import Graph

Edges = tuple[NDArray[np.int32], NDArray[np.float32]]
# Edges waiting to be reduced; Kruskal over a few million costs about a second and 100 MB.
EDGES_AT_ONCE = 4_000_000


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
    none: Edges = (np.empty((0, 2), np.int32), np.empty(0, np.float32))
    if min_samples > 2:
        collected = [none, *parts]
        edges = np.concatenate([edges for edges, _ in collected])
        graph = Graph(n, edges, np.concatenate([distances for _, distances in collected]))
        return spanning_forest(graph, min_samples, weights=weights)
    core = np.full(n, np.inf if min_samples == 2 else 0.0, np.float32)
    if weights is not None:
        core[weights >= min_samples] = 0  # its own duplicates suffice
    forest, waiting, count = none, [], 0
    for edges, distances in parts:
        if min_samples == 2:  # a row is core from its nearest neighbour on
            np.minimum.at(core, edges[:, 0], distances)
            np.minimum.at(core, edges[:, 1], distances)
        waiting.append((edges, distances))
        count += len(edges)
        if count >= EDGES_AT_ONCE:
            forest, waiting, count = _reduce(n, [forest, *waiting]), [], 0
    edges, distances = _reduce(n, [forest, *waiting])
    return Forest(n, edges, distances, core, none[0], none[1])


def _reduce(n: int, parts: list[Edges]) -> Edges:
    edges = np.concatenate([edges for edges, _ in parts])
    return minimum_forest(n, edges, np.concatenate([distances for _, distances in parts]))
