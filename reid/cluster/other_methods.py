"""Clusterings that other libraries bring: k-means (faiss), HDBSCAN (scikit-learn), DBSCAN (cuML)."""

import numpy as np
from numpy.typing import NDArray

from reid import optional
from reid.cluster.dbscan import check_eps, check_min_samples
from reid.errors import InputError
from reid.neighbors import check_unit_rows


def kmeans(
    embeddings: NDArray[np.float32], n_clusters: int, seed: int, *, iterations: int = 25
) -> NDArray[np.int64]:
    """Spherical k-means, for when the number of individuals is known.

    Args:
        embeddings: (n, d) float32, unit rows.
        n_clusters: 1 <= n_clusters <= n.
        seed: of the first centroids.
        iterations: of Lloyd's algorithm.

    Returns:
        (n,) int64, numbers below `n_clusters` (a centroid may stay without rows); no noise.

    Raises:
        InputError: `n_clusters` out of range.
        MissingPackageError: faiss is not installed.
    """
    check_unit_rows(embeddings)
    n, dimension = embeddings.shape
    if not 1 <= n_clusters <= n:
        raise InputError(
            f"n_clusters = {n_clusters}: at least 1 and at most the number of rows, {n}, is needed"
        )
    faiss = optional.faiss()
    from sklearn.cluster import kmeans_plusplus

    rows = np.ascontiguousarray(embeddings)
    # faiss starts from random rows, which merges small individuals; k-means++ spreads the start.
    start, _ = kmeans_plusplus(rows, n_clusters, random_state=seed, n_local_trials=1)
    model = faiss.Kmeans(
        dimension,
        n_clusters,
        niter=iterations,
        seed=seed,
        spherical=True,
        min_points_per_centroid=1,
        max_points_per_centroid=n,  # faiss would train on a sample of 256 a centroid
    )
    model.train(rows, init_centroids=start)
    _, nearest = model.index.search(rows, 1)
    return np.asarray(nearest[:, 0], dtype=np.int64)


def hdbscan(
    embeddings: NDArray[np.float32], min_cluster_size: int = 2, min_samples: int | None = None
) -> NDArray[np.int64]:
    """HDBSCAN, scikit-learn's, on the euclidean distance of the unit rows.

    Euclidean distance is sqrt(2 x cosine distance), so the hierarchy is the one of the cosine
    distance; which of its clusters are selected depends on 1 / euclidean distance.

    Args:
        embeddings: (n, d) float32, unit rows.
        min_cluster_size: smallest cluster, 2 <= min_cluster_size <= n.
        min_samples: neighbours, itself included, that set a row's core distance;
            `min_cluster_size` when not given.

    Returns:
        (n,) int64, -1 for noise; all noise when there are fewer rows than a cluster needs.

    Raises:
        InputError: `min_cluster_size` below 2 or `min_samples` below 1.
    """
    check_unit_rows(embeddings)
    if min_cluster_size < 2:
        raise InputError(f"min_cluster_size = {min_cluster_size}: at least 2 is needed")
    if min_samples is not None and min_samples < 1:
        raise InputError(f"min_samples = {min_samples}: at least 1 is needed")
    n = len(embeddings)
    if n < max(min_cluster_size, min_samples or 0):
        return np.full(n, -1, dtype=np.int64)
    from sklearn.cluster import HDBSCAN

    model = HDBSCAN(min_cluster_size=min_cluster_size, min_samples=min_samples, copy=True)
    return np.asarray(model.fit_predict(embeddings), dtype=np.int64)


def cuml_dbscan(
    embeddings: NDArray[np.float32], eps: float, min_samples: int = 2
) -> NDArray[np.int64]:
    """cuML's own GPU DBSCAN, for those who want it; `dbscan` needs no GPU and gives the same.

    cuML's cosine metric writes into its input for a while, so the euclidean one is used: of unit rows
    at most sqrt(2 eps) apart. cuML rounds that to float32, so a pair within about 1e-6 of eps may
    fall either way. Memory grows with the rows, not with their pairs.

    Args:
        embeddings: (n, d) float32, unit rows.
        eps: cosine distance, 0 < eps < 2.
        min_samples: as in `dbscan`.

    Returns:
        (n,) int64, clusters numbered by their smallest core row as in `dbscan`, -1 for noise.

    Raises:
        InputError: an argument out of range.
        MissingPackageError: cuML is not installed.
    """
    check_eps(eps)
    check_min_samples(min_samples)
    model = optional.cuml().DBSCAN(
        eps=float(np.sqrt(2 * eps)), min_samples=min_samples, metric="euclidean"
    )
    found = np.asarray(model.fit_predict(embeddings, out_dtype="int64"))
    cores = np.asarray(model.core_sample_indices_)
    # Numbers follow the smallest core row of a cluster, whatever order cuML found them in.
    _, first = np.unique(found[np.sort(cores)], return_index=True)
    order = found[np.sort(cores)][np.sort(first)]
    number = {int(label): k for k, label in enumerate(order)}
    return np.asarray([number.get(int(label), -1) for label in found], dtype=np.int64)
