"""A threshold and unit vectors of one species → clusters, and what looks odd about them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from reid import cluster, neighbors, tune
from reid.cluster import Collapsed
from reid.errors import InputError
from reid.individuals.graphs import EdgeSource, connected, reranked
from reid.individuals.threshold import Threshold

# Up to here what near-duplicates change is measured by clustering twice.
COMPARE_ROWS = 20_000


@dataclass(frozen=True)
class Individuals:
    """The clusters of one species.

    Attributes:
        labels: (n,) int64, −1 = noise.
        threshold: the one that was used.
        nearest: (n,) int32, the nearest other row; −1 where there is none.
        nearest_distance: (n,) float32, cosine distance; NaN where there is none.
        warnings: sentences for the reader, with what to try.
        notes: what else a reader should know.
        backend: what found the neighbours.
    """

    labels: NDArray[np.int64]
    threshold: Threshold
    nearest: NDArray[np.int32]
    nearest_distance: NDArray[np.float32]
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    backend: str = ""


def find_individuals(
    vectors: NDArray[np.float32],
    threshold: Threshold,
    *,
    min_samples: int = 2,
    n_clusters: int | None = None,
    jaccard_weight: float = 0.7,
    seed: int = 0,
    edges: EdgeSource | None = None,
    collapsed: Collapsed | None = None,
    near_duplicates: bool = False,
    backend: str = "auto",
    device: str = "cpu",
    memory_bytes: int | None = None,
) -> Individuals:
    """Cluster the rows of one species.

    Args:
        vectors: (n, d) float32, unit rows.
        threshold: of `find_threshold`.
        min_samples: images, itself included, that make a core point (dbscan).
        n_clusters: number of individuals (kmeans).
        jaccard_weight: of re-ranking.
        seed: of kmeans.
        edges: where edges come from; default: `neighbors.stream_edges` in this process.
        collapsed: duplicates to cluster as one.
        near_duplicates: `collapsed` holds more than exact ones; what that changes is measured, up to
            20,000 rows, and said in the notes.
        backend: of the neighbour search, or `cuml` for cuML's own DBSCAN.
        device, memory_bytes: of the neighbour search.

    Raises:
        InputError: rows that are not unit vectors, or a component too large for linkage.
    """
    neighbors.check_unit_rows(vectors)
    on_cuml = backend == "cuml" and threshold.method == "dbscan" and threshold.k1 is None
    if collapsed is not None and (on_cuml or threshold.method in ("hdbscan", "kmeans")):
        raise InputError(
            f"duplicates cannot be collapsed for {'cuml' if on_cuml else threshold.method}, which does not "
            "know how many images a row stands for; leave out cluster.collapse_duplicates and "
            "cluster.near_duplicate_distance"
        )
    search = "auto" if backend == "cuml" else backend
    nearest, distance = neighbors.nearest(vectors, device=device)
    source = edges or partial(
        neighbors.stream_edges, backend=search, device=device, memory_bytes=memory_bytes
    )

    def clustered(
        rows: NDArray[np.float32], weights: NDArray[np.int64] | None
    ) -> NDArray[np.int64]:
        if on_cuml and threshold.eps is not None:
            return cluster.cuml_dbscan(rows, threshold.eps, min_samples)
        return _labels(
            rows, threshold, source, min_samples, weights, n_clusters, jaccard_weight, seed
        )

    notes = list(threshold.notes)
    if collapsed is None:
        labels = clustered(vectors, None)
    else:
        few = clustered(vectors[collapsed.representatives], collapsed.weights)
        labels = cluster.expand(few, collapsed)
        notes.append(
            f"{len(vectors) - len(few):,} duplicates collapsed: {len(few):,} rows were clustered"
        )
        if near_duplicates:
            notes.append(_what_changed(labels, clustered, vectors))
    warnings = tune.warnings(
        labels, eps=threshold.eps, ceiling=threshold.ceiling, at_edge=threshold.at_edge
    )
    n, d = vectors.shape
    used = "cuml" if on_cuml else neighbors.choose_backend(n, d, device, search)
    return Individuals(labels, threshold, nearest, distance, warnings, notes, used)


def _labels(
    rows: NDArray[np.float32],
    threshold: Threshold,
    edges: EdgeSource,
    min_samples: int,
    weights: NDArray[np.int64] | None,
    n_clusters: int | None,
    jaccard_weight: float,
    seed: int,
) -> NDArray[np.int64]:
    method, eps = threshold.method, threshold.eps
    if method == "hdbscan":
        return cluster.hdbscan(rows, max(2, min_samples))
    if method == "kmeans":
        if n_clusters is None:
            raise InputError("kmeans needs cluster.n_clusters, the number of individuals")
        return cluster.kmeans(rows, min(n_clusters, len(rows)), seed)
    if eps is None:  # one image
        return np.full(len(rows), -1, dtype=np.int64)
    if threshold.k1 is not None:
        graph = reranked(rows, threshold.k1, jaccard_weight)
        return cluster.dbscan(graph, eps, min_samples, weights=weights)
    if method == "dbscan":
        forest = cluster.streamed_forest(edges(rows, eps), len(rows), min_samples, weights=weights)
        return cluster.labels_at(forest, eps)
    graph = connected(edges(rows, eps), len(rows))
    return cluster.linkage_labels(
        graph, rows, eps, "average" if method == "average" else "complete"
    )


def _what_changed(
    labels: NDArray[np.int64],
    clustered: Callable[[NDArray[np.float32], NDArray[np.int64] | None], NDArray[np.int64]],
    vectors: NDArray[np.float32],
) -> str:
    if len(vectors) > COMPARE_ROWS:
        return f"what collapsing near-duplicates changed was not measured above {COMPARE_ROWS:,} images"
    from sklearn.metrics import adjusted_rand_score

    plain = cluster.noise_to_singletons(clustered(vectors, None))
    score = adjusted_rand_score(plain, cluster.noise_to_singletons(labels))
    return f"collapsing near-duplicates gives clusters of ARI {score:.4f} against those without it"
