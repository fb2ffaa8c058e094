"""The spanning forest of a neighbour graph: n - 1 edges at most that hold the labels at every threshold."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reid.cluster.dbscan import check_eps, connected, label_components

EDGES_AT_ONCE = 1  # a row, sorted together; changes no result


@dataclass(frozen=True, slots=True)
class Forest:
    """Merges of a clustering in rising order, enough to read its labels at any threshold.

    At threshold t the core rows are those with `core <= t`, two of them share a cluster when
    merges with `weights <= t` connect them, and a row that is not core joins the cluster of a
    core row listed beside it in `borders` with `border_weights <= t`.

    Attributes:
        n: rows.
        merges: (k, 2) int32, k < n; each joins two clusters that were apart.
        weights: (k,) float32, rising: the cosine distance at which the merge happens.
        core: (n,) float32, the distance from which a row is a core point; inf for never.
        borders: (b, 2) int32, (row, core row): the row may take the core row's cluster ...
        border_weights: (b,) float32: ... from this distance on, until it is core itself.
    """

    n: int
    merges: NDArray[np.int32]
    weights: NDArray[np.float32]
    core: NDArray[np.float32]
    borders: NDArray[np.int32]
    border_weights: NDArray[np.float32]


def minimum_forest(
    n: int, edges: NDArray[np.int32], weights: NDArray[np.float32]
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The minimum spanning forest of weighted edges, lightest first.

    Of edges of one weight the lower pair of rows comes first, so there is one such forest, whatever
    the order of the edges. Edges of infinite weight are left out. Forests of parts can be joined: the
    forest of (A and B) is the forest of (forest of A, and B).

    Args:
        n: nodes.
        edges: (m, 2) int32, i < j, each pair at most once.
        weights: (m,) float32, not negative.

    Returns:
        (k, 2) int32 and (k,) float32, k < n, weights rising.
    """
    places = forest_places(n, edges, weights)
    return edges[places], weights[places]


def forest_places(
    n: int, edges: NDArray[np.int32], weights: NDArray[np.float32]
) -> NDArray[np.int64]:
    """Where the edges of `minimum_forest` stand among all: (k,) int64, the lightest first."""
    places = np.empty(0, np.int64)
    left = np.flatnonzero(np.isfinite(weights))
    while len(left):
        # The lightest edges connect most of the rows; what then lies inside a component can go
        # unsorted, which is nearly everything in a graph with many edges a row.
        share = min(len(left), max(EDGES_AT_ONCE * n, len(left) // 4))
        here = weights[left]
        light = here <= np.partition(here, share - 1)[share - 1]
        places = _kruskal(n, edges, weights, np.concatenate([places, left[light]]))
        left = left[~light]
        if len(left):
            _, component = connected(n, edges[places])
            left = left[component[edges[left, 0]] != component[edges[left, 1]]]
    return places


def _kruskal(
    n: int, edges: NDArray[np.int32], weights: NDArray[np.float32], places: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Of the edges at some places those in their forest, the lightest first."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import minimum_spanning_tree

    low, high = edges[places, 0], edges[places, 1]
    order = np.argsort(low.astype(np.int64) << 32 | high)
    places, low, high = places[order], low[order], high[order]
    # By weight, then by edge, in one sort of plain numbers: the bits of floats that are not negative
    # are in the order of the floats.
    by_weight = weights[places].view(np.uint32).astype(np.uint64) << np.uint64(32)
    by_weight |= np.arange(len(places), dtype=np.uint64)
    by_weight.sort()
    by_weight &= np.uint64(0xFFFFFFFF)
    # Ranks in place of weights: no two are the same, and none is 0, which scipy reads as "no edge".
    ranks = np.empty(len(places))
    ranks[by_weight] = np.arange(1, len(places) + 1)
    starts = np.append(0, np.cumsum(np.bincount(low, minlength=n))).astype(np.int32)
    matrix = csr_array((ranks, high, starts), shape=(n, n))
    chosen = np.sort(minimum_spanning_tree(matrix, overwrite=True).data).astype(np.int64) - 1
    found: NDArray[np.int64] = places[by_weight[chosen]]
    return found


def labels_at(forest: Forest, eps: float) -> NDArray[np.int64]:
    """Labels at one threshold, read from a forest in O(n).

    Args:
        forest: of `spanning_forest` (then equal to `dbscan`) or `linkage_forest` (then no row is
            noise: a row that joined nothing is a cluster of its own).
        eps: cosine distance, 0 < eps < 2, at most the radius that the forest was built for.

    Returns:
        (n,) int64, clusters numbered by their smallest core row, -1 for noise.

    Raises:
        InputError: `eps` out of range.
    """
    check_eps(eps)
    limit = np.float32(eps)
    core = forest.core <= limit
    merges = forest.merges[: np.searchsorted(forest.weights, limit, side="right")]
    active = (forest.border_weights <= limit) & ~core[forest.borders[:, 0]]
    return label_components(core, merges, forest.borders[active])
