"""The spanning forest of a neighbour graph: n - 1 edges at most that hold the labels at every threshold."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reid.cluster.dbscan import check_eps, check_min_samples, label_components
from reid.neighbors import Graph

EDGES_AT_ONCE = 4  # a row, sorted together; changes no result


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


def spanning_forest(
    graph: Graph, min_samples: int = 2, *, weights: NDArray[np.int64] | None = None
) -> Forest:
    """The minimum spanning forest of mutual reachability: DBSCAN at every threshold in one pass.

    Two rows become connected in DBSCAN when both are core points and within eps of each other,
    that is at max(core of one, core of the other, their distance). Kruskal's forest over that
    weight has the same components as the graph at every threshold.

    Args:
        graph: every pair within the largest threshold of interest.
        min_samples: as in `dbscan`, at least 1.
        weights: as in `dbscan`.

    Returns:
        Forest whose `labels_at(forest, eps)` equals `dbscan(graph, eps, min_samples)` for every
        eps up to the radius of the graph.

    Raises:
        InputError: `min_samples` below 1.

    Source:
        Campello, Moulavi & Sander 2013 (mutual reachability); border rows as in `dbscan`.
    """
    check_min_samples(min_samples)
    core = core_distances(graph, min_samples, weights)
    low, high, distances = graph.edges[:, 0], graph.edges[:, 1], graph.distances
    borders, border_weights = graph.edges[:0], distances[:0]
    reachability = distances
    if min_samples > 2:  # up to 2 the nearest neighbour decides, and no edge is shorter than that
        reachability = np.maximum(distances, np.maximum(core[low], core[high]))
        borders, border_weights = _borders(graph, core)
    merges, merge_weights = minimum_forest(graph.n, graph.edges, reachability)
    return Forest(graph.n, merges, merge_weights, core, borders, border_weights)


def core_distances(
    graph: Graph, min_samples: int, weights: NDArray[np.int64] | None = None
) -> NDArray[np.float32]:
    """The distance from which each row is a core point: to its (min_samples - 1)-th neighbour.

    Args:
        graph: neighbours within a radius.
        min_samples: at least 1; the row itself counts as one.
        weights: as in `dbscan`.

    Returns:
        (n,) float32; 0 when min_samples is 1, inf for a row with too few neighbours.
    """
    if weights is not None:
        return _weighted_core_distances(graph, min_samples, weights)
    core = np.full(graph.n, np.inf if min_samples > 1 else 0.0, dtype=np.float32)
    if min_samples == 2:
        np.minimum.at(core, graph.edges[:, 0], graph.distances)
        np.minimum.at(core, graph.edges[:, 1], graph.distances)
    elif min_samples > 2:
        # Row and distance in one integer sort several times faster than a lexsort of the two; the
        # bits of a float32 that is not negative are in the order of its value.
        bits = (graph.distances + np.float32(0)).view(np.uint32)  # -0.0 becomes 0.0
        keys = (graph.edges.T.astype(np.uint64) << np.uint64(32) | bits).ravel()
        keys.sort()
        degree = np.bincount(graph.edges.ravel(), minlength=graph.n)
        start = np.cumsum(degree) - degree
        enough = degree >= min_samples - 1
        core[enough] = keys[start[enough] + min_samples - 2].astype(np.uint32).view(np.float32)
    return core


def _weighted_core_distances(
    graph: Graph, min_samples: int, weights: NDArray[np.int64]
) -> NDArray[np.float32]:
    core = np.where(weights >= min_samples, 0, np.inf).astype(np.float32)
    rows = np.concatenate([graph.edges[:, 0], graph.edges[:, 1]])
    others = np.concatenate([graph.edges[:, 1], graph.edges[:, 0]])
    distances = np.concatenate([graph.distances, graph.distances])
    order = np.lexsort((distances, rows))
    rows, distances = rows[order], distances[order]
    # Images within reach: the row's own, and those of the neighbours up to this one.
    total = np.cumsum(weights[others[order]])
    is_first = np.append(True, rows[1:] != rows[:-1])[: len(rows)]
    before = np.append(0, total[:-1])[: len(rows)]
    start = np.maximum.accumulate(np.where(is_first, before, 0))
    enough = total - start + weights[rows] >= min_samples
    np.minimum.at(core, rows[enough], distances[enough])
    return core


def _borders(
    graph: Graph, core: NDArray[np.float32]
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Pairs (row, core row) at the thresholds where the first is a border point of the second."""
    low, high = graph.edges[:, 0], graph.edges[:, 1]
    from_low = np.maximum(graph.distances, core[high])  # low is the border point
    from_high = np.maximum(graph.distances, core[low])
    low_is_border, high_is_border = from_low < core[low], from_high < core[high]
    borders = np.concatenate([graph.edges[low_is_border], graph.edges[high_is_border][:, ::-1]])
    return borders, np.concatenate([from_low[low_is_border], from_high[high_is_border]])


def minimum_forest(
    n: int, edges: NDArray[np.int32], weights: NDArray[np.float32]
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The minimum spanning forest of weighted edges, lightest first.

    Edges of infinite weight are left out. Forests of parts can be joined: the forest of
    (A and B) is the forest of (forest of A, and B).

    Args:
        n: nodes.
        edges: (m, 2) int32, each pair at most once.
        weights: (m,) float32, not negative.

    Returns:
        (k, 2) int32 and (k,) float32, k < n, weights rising.
    """
    finite = np.isfinite(weights)
    if not finite.all():
        edges, weights = edges[finite], weights[finite]
    kept, kept_weights = edges[:0], weights[:0]
    while len(edges):
        # The lightest edges connect most of the rows; what then lies inside a component can go
        # unsorted, which is nearly everything in a graph with many edges a row.
        share = min(len(edges), max(EDGES_AT_ONCE * n, len(edges) // 4))
        light = weights <= np.partition(weights, share - 1)[share - 1]
        kept, kept_weights = _kruskal(
            n,
            np.concatenate([kept, edges[light]]),
            np.concatenate([kept_weights, weights[light]]),
        )
        component = label_components(np.ones(n, dtype=np.bool_), kept, kept[:0])
        apart = ~light & (component[edges[:, 0]] != component[edges[:, 1]])
        edges, weights = edges[apart], weights[apart]
    order = np.lexsort((kept[:, 1], kept[:, 0], kept_weights))
    return kept[order], kept_weights[order]


def _kruskal(
    n: int, edges: NDArray[np.int32], weights: NDArray[np.float32]
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    # scipy reads a weight of 0 (identical images) as "no edge"; the smallest float32 keeps it.
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import minimum_spanning_tree

    tiny = np.finfo(np.float32).tiny
    matrix = csr_array((np.maximum(weights, tiny), (edges[:, 0], edges[:, 1])), shape=(n, n))
    tree = minimum_spanning_tree(matrix).tocoo()
    kept = tree.data.astype(np.float32)
    kept[kept <= tiny] = 0
    return np.stack([tree.row, tree.col], axis=1).astype(np.int32), kept


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
