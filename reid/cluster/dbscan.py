"""DBSCAN on a neighbour graph: connected components of core points, with their borders and noise."""

import numpy as np
from numpy.typing import NDArray

from reid.errors import InputError
from reid.neighbors import Graph

NOISE = -1


def dbscan(
    graph: Graph,
    eps: float,
    min_samples: int = 2,
    *,
    weights: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """DBSCAN labels, the same numbers that scikit-learn's DBSCAN(metric="precomputed") gives.

    A row with at least `min_samples` rows within `eps`, itself included, is a core point. Core
    points within `eps` of each other share a cluster; clusters are numbered by their smallest
    core row. A row that is not core but has core neighbours is a border point and takes the
    lowest-numbered of their clusters; what is left is noise.

    Args:
        graph: every pair within a radius of at least `eps`. A graph does not know whether pairs
            beyond its radius exist, so an `eps` past that radius cannot be noticed here: pass
            the radius that the graph was built with through `check_eps` first.
        eps: largest cosine distance of two neighbours, 0 < eps < 2; compared in float32, the
            precision of the graph.
        min_samples: rows, itself included, that make a core point; at least 1.
        weights: (n,) int64, how many images each row stands for (see `collapse`); 1 each if not
            given. `min_samples` counts images (scikit-learn's `sample_weight`).

    Returns:
        (n,) int64, -1 for noise.

    Raises:
        InputError: `eps` or `min_samples` out of range.

    Source:
        Ester, Kriegel, Sander & Xu, KDD 1996.
    Differs:
        In that paper a border point takes the first cluster that reaches it; here, as in
        scikit-learn, that is always the one with the lowest number, whatever the row order.
    """
    check_eps(eps)
    check_min_samples(min_samples)
    edges = graph.edges[graph.distances <= np.float32(eps)]
    if weights is None:
        images = np.bincount(edges.ravel(), minlength=graph.n) + 1
    else:
        images = weights.copy()
        np.add.at(images, edges[:, 0], weights[edges[:, 1]])
        np.add.at(images, edges[:, 1], weights[edges[:, 0]])
    core = images >= min_samples
    left, right = core[edges[:, 0]], core[edges[:, 1]]
    if min_samples <= 2:  # both ends of any edge are core: there are no border points
        return label_components(core, edges, edges[:0])
    borders = np.concatenate([edges[~left & right], edges[left & ~right][:, ::-1]])
    return label_components(core, edges[left & right], borders)


def label_components(
    core: NDArray[np.bool_], joins: NDArray[np.int32], borders: NDArray[np.int32]
) -> NDArray[np.int64]:
    """Number the components of the core rows by their smallest row, and attach the borders.

    Args:
        core: (n,) bool.
        joins: (j, 2) int32, pairs of core rows that share a cluster.
        borders: (b, 2) int32, pairs (row that is not core, core row within reach of it).

    Returns:
        (n,) int64: the cluster, and -1 for a row that is neither core nor in `borders`.
    """
    n = len(core)
    labels = np.full(n, NOISE, dtype=np.int64)
    rows = np.flatnonzero(core)
    if not len(rows):
        return labels
    count, component = connected(n, joins)
    component = component[rows]
    first = np.empty(count, dtype=np.int64)
    first[component[::-1]] = rows[::-1]  # the last assignment wins: the smallest row
    is_first = np.zeros(n, dtype=np.bool_)
    is_first[first[component]] = True
    number = np.cumsum(is_first) - 1
    labels[rows] = number[first[component]]
    if len(borders):
        nearest = np.full(n, count, dtype=np.int64)
        np.minimum.at(nearest, borders[:, 0], labels[borders[:, 1]])
        reached = nearest < count
        labels[reached] = nearest[reached]
    return labels


def connected(n: int, edges: NDArray[np.integer]) -> tuple[int, NDArray[np.int32]]:
    """How many components n rows have, and the number of each row's, (n,) int32."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    matrix = csr_array((np.ones(len(edges), dtype=np.int8), (edges[:, 0], edges[:, 1])), (n, n))
    count, component = connected_components(matrix, directed=False)
    return int(count), component


def noise_to_singletons(labels: NDArray[np.integer]) -> NDArray[np.int64]:
    """Give every noise row (-1) a cluster of its own, numbered on from the largest label.

    Args:
        labels: (n,) integers, -1 for noise.

    Returns:
        (n,) int64 without -1; rows that had a cluster keep its number.
    """
    noise = labels == NOISE
    result = labels.astype(np.int64)
    result[noise] = np.arange(noise.sum()) + labels.max(initial=NOISE) + 1
    return result


def check_eps(eps: float, radius: float | None = None) -> None:
    """Refuse a threshold that is no cosine distance, or lies past the radius of the graph.

    Raises:
        InputError: not 0 < eps < 2, or eps > radius.
    """
    if not 0 < eps < 2:
        raise InputError(
            f"eps = {eps}: a cosine distance between 0 and 2 (exclusive) is needed; "
            "same-individual pairs usually lie between 0.05 and 0.5"
        )
    if radius is not None and eps > radius:
        raise InputError(
            f"eps = {eps} lies past the graph's radius {radius}: pairs in between were never "
            "looked for; lower eps or build the graph with a larger radius"
        )


def check_min_samples(min_samples: int) -> None:
    """Refuse a `min_samples` below 1 (InputError)."""
    if min_samples < 1:
        raise InputError(
            f"min_samples = {min_samples}: at least 1 is needed "
            "(2 = any pair of neighbours is a cluster)"
        )
