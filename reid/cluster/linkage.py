"""Average and complete linkage, exact on each connected component of the neighbour graph."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from reid.cluster.dbscan import check_eps, dbscan, label_components
from reid.cluster.forest import Forest
from reid.errors import InputError
from reid.neighbors import Graph, check_unit_rows

Linkage = Literal["average", "complete"]
MAX_COMPONENT = 20_000  # rows; their pairs take 1.6 GB in float64


def linkage_labels(
    graph: Graph,
    embeddings: NDArray[np.float32],
    threshold: float,
    method: Linkage = "average",
    *,
    max_component: int = MAX_COMPONENT,
) -> NDArray[np.int64]:
    """Hierarchical clustering cut at a distance, without the N x N matrix.

    Two clusters whose average (or largest) distance is below t hold at least one pair below t,
    so no cluster crosses a component of the graph at t, and each component is solved alone.

    Args:
        graph: every pair within a radius of at least `threshold`.
        embeddings: (n, d) float32, unit rows.
        threshold: merges at a cosine distance below this are made (scikit-learn's
            `distance_threshold`), 0 < threshold < 2.
        method: "average" or "complete".
        max_component: rows; the work on a component grows with the square of its rows.

    Returns:
        (n,) int64, clusters numbered by their smallest row; no row is noise. The partition is
        that of scikit-learn's AgglomerativeClustering(metric="precomputed"); where several
        pairs are at exactly the same distance, either may take them in another order.

    Raises:
        InputError: `threshold` out of range, or a component above `max_component`.

    Source:
        Muellner 2011 (scipy's nearest-neighbour chain).
    """
    check_eps(threshold)
    forest = linkage_forest(graph, embeddings, threshold, method, max_component=max_component)
    made = np.searchsorted(forest.weights, np.float32(threshold), side="left")
    return label_components(forest.core == 0, forest.merges[:made], forest.borders)


def linkage_forest(
    graph: Graph,
    embeddings: NDArray[np.float32],
    ceiling: float,
    method: Linkage = "average",
    *,
    max_component: int = MAX_COMPONENT,
) -> Forest:
    """All merges of average or complete linkage up to `ceiling`, for labels at any threshold.

    Args, raises: as in `linkage_labels`; `ceiling` is the largest threshold of interest.

    Returns:
        Forest for `labels_at`; every row is core from 0 on.
    """
    check_eps(ceiling)
    if method not in ("average", "complete"):
        raise InputError(f"linkage method {method!r}: known methods are average, complete")
    check_unit_rows(embeddings)
    if len(embeddings) != graph.n:
        raise InputError(f"{len(embeddings)} embeddings for a graph of {graph.n} rows")
    component = dbscan(graph, ceiling, min_samples=1)
    sizes = np.bincount(component)
    if sizes.max(initial=0) > max_component:
        raise InputError(
            f"{method} linkage: {sizes.max():,} rows are connected at distance {ceiling:.4g}, and "
            f"the limit is {max_component:,} (memory grows with the square). Lower the threshold "
            "(cluster.eps, or the ceiling of its tuning) so that the component falls apart, or "
            "use cluster.method=dbscan, which has no such limit"
        )
    rows_by_component = np.split(np.argsort(component, kind="stable"), np.cumsum(sizes)[:-1])
    merges: list[NDArray[np.int32]] = [np.empty((0, 2), dtype=np.int32)]
    heights: list[NDArray[np.float32]] = [np.empty(0, dtype=np.float32)]
    for rows in rows_by_component:
        if len(rows) < 2:
            continue
        pairs, height = _merges(embeddings[rows], method)
        merges.append(rows[pairs].astype(np.int32))
        heights.append(height)
    weights = np.concatenate(heights)
    order = np.argsort(weights, kind="stable")
    order = order[weights[order] <= np.float32(ceiling)]
    return Forest(
        n=graph.n,
        merges=np.concatenate(merges)[order],
        weights=weights[order],
        core=np.zeros(graph.n, dtype=np.float32),
        borders=np.empty((0, 2), dtype=np.int32),
        border_weights=np.empty(0, dtype=np.float32),
    )


def _merges(
    embeddings: NDArray[np.float32], method: Linkage
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """One row of each side of every merge, (n - 1, 2), and the merge heights in rising order."""
    from scipy.cluster import hierarchy

    n = len(embeddings)
    tree = hierarchy.linkage(_condensed_distances(embeddings), method=method)
    member = np.concatenate([np.arange(n), np.empty(n - 1, dtype=np.int64)])
    pairs = tree[:, :2].astype(np.int64)
    for k, (left, _) in enumerate(pairs):
        member[n + k] = member[left]
    return member[pairs], np.maximum(tree[:, 2], 0).astype(np.float32)


def _condensed_distances(
    embeddings: NDArray[np.float32], block_rows: int = 512
) -> NDArray[np.float64]:
    """Cosine distances of all pairs i < j in scipy's condensed order, (n (n - 1) / 2,)."""
    n = len(embeddings)
    condensed = np.empty(n * (n - 1) // 2, dtype=np.float64)
    end = 0
    for start in range(0, n, block_rows):
        block = 1 - embeddings[start : start + block_rows] @ embeddings[start:].T
        for offset, row in enumerate(block):
            tail = row[offset + 1 :]
            condensed[end : end + len(tail)] = tail
            end += len(tail)
    return np.maximum(condensed, 0, out=condensed)
