"""Edges as two arrays, and graphs of them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

# (m, 2) int32 with i < j, and their (m,) float32 cosine distances.
Edges = tuple[np.ndarray, np.ndarray]
# Edges of one part → those of them that are needed further on. A search by tasks runs it where the
# edges are found, so that less travels; whoever asks must be content with all of them.
Refine = Callable[[Edges], Edges]
# (rows i, rows j, float32 distances that theirs are not below) → which pairs are needed further on. A
# search on a CPU in this process measures no others; whoever asks must be content with all of them.
Wanted = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True, slots=True)
class Graph:
    """An undirected graph with a distance on every edge.

    Attributes:
        n: nodes.
        edges: (m, 2) int32, i < j, each pair once, in lexicographic order.
        distances: (m,) float32, cosine distances of the edges.
    """

    n: int
    edges: np.ndarray
    distances: np.ndarray


def join_edges(parts: Iterable[Edges]) -> Edges:
    """Parts behind each other; of no parts, no edges."""
    none: Edges = (np.empty((0, 2), np.int32), np.empty(0, np.float32))
    parts = [none, *parts]
    return (
        np.concatenate([edges for edges, _ in parts]),
        np.concatenate([distances for _, distances in parts]),
    )


def sort_edges(parts: Iterable[Edges]) -> Edges:
    """Parts joined, in lexicographic order of their edges."""
    edges, distances = join_edges(parts)
    # One sort of pairs as single numbers is ten times faster than lexsort; no pair comes twice.
    order = np.argsort(edges[:, 0].astype(np.int64) << 32 | edges[:, 1])
    return edges[order], distances[order]


def renumbered(part: Edges, number: np.ndarray) -> Edges:
    """The edges between some rows, by their new numbers; -1 for the other rows."""
    low, high = number[part[0][:, 0]], number[part[0][:, 1]]
    inside = np.flatnonzero((low >= 0) & (high >= 0))
    return np.stack([low[inside], high[inside]], axis=1), part[1][inside]
