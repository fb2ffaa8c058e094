"""Where edges come from, and two graphs that both the threshold and the clusters are read from."""

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from reid import cluster, neighbors
from reid.rerank import rerank

Edges = tuple[NDArray[np.int32], NDArray[np.float32]]
# (vectors, radius) → edges in parts; the job puts the distributed search here.
EdgeSource = Callable[[NDArray[np.float32], float], Iterable[Edges]]


def connected(parts: Iterable[Edges], n: int) -> neighbors.Graph:
    """A graph with the components of the whole one: all that linkage needs to know of it."""
    forest = cluster.streamed_forest(parts, n, 1)
    return neighbors.Graph(n, forest.merges, forest.weights)


def reranked(vectors: NDArray[np.float32], k1: int, jaccard_weight: float) -> neighbors.Graph:
    """The graph on the scale of k-reciprocal re-ranking; k2 follows from k1."""
    return rerank(vectors, k1, jaccard_weight=jaccard_weight)
