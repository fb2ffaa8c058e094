"""Unit vectors of one species → its individuals, and what looks odd about them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid import cluster
from reid.cluster import Collapsed, Compared
from reid.errors import InputError
from reid.neighbors import Graph, Search, check_unit_rows, local_search
from reid.rerank import rerank
from reid.tune.guards import warnings
from reid.tune.sweep import encode_labels
from reid.tune.threshold import (
    Clustering,
    Threshold,
    can_tune,
    estimated_threshold,
    search_range,
    settled,
    tuned_threshold,
)

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
    """

    labels: NDArray[np.int64]
    threshold: Threshold
    nearest: NDArray[np.int32]
    nearest_distance: NDArray[np.float32]
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def find_individuals(
    vectors: NDArray[np.float32],
    identities: NDArray[Any],
    asked: Clustering | None = None,
    *,
    fallback: Threshold | None = None,
    search: Search | None = None,
    on_cuml: bool = False,
    collapsed: Collapsed | None = None,
    near_duplicates: bool = False,
) -> Individuals:
    """Find the threshold, unless it is given, and cluster the rows of one species.

    All pairs are compared once: threshold, clusters and each row's nearest come out of that. Only
    what is on another scale (re-ranking), has no pairs (HDBSCAN, k-means), or clusters fewer rows
    than there are (`collapsed`) looks again.

    Args:
        vectors: (n, d) float32, unit rows.
        identities: (n,) known identities, None where unknown.
        asked: how rows become clusters; None: all defaults.
        fallback: another species' threshold, for a species that cannot be tuned.
        search: how pairs are compared; None: in this process.
        on_cuml: DBSCAN at the threshold is cuML's own.
        collapsed: duplicates to cluster as one.
        near_duplicates: `collapsed` holds more than exact ones; what that changes is measured, up to
            20,000 rows, and said in the notes.

    Raises:
        InputError: rows that are not unit vectors, settings that do not fit together, or a component
            too large for linkage.
    """
    check_unit_rows(vectors)
    asked, search = asked or Clustering(), search or local_search()
    if collapsed is not None and (on_cuml or asked.method in ("hdbscan", "kmeans")):
        raise InputError(
            f"duplicates cannot be collapsed for {'cuml' if on_cuml else asked.method}, which does not "
            "know how many images a row stands for; leave out cluster.collapse_duplicates and "
            "cluster.near_duplicate_distance"
        )
    rows = vectors if collapsed is None else vectors[collapsed.representatives]
    weights = None if collapsed is None else collapsed.weights
    threshold = settled(len(rows), identities, asked, fallback)
    tunes = threshold is None and can_tune(identities)
    keep = np.asarray(encode_labels(identities) >= 0) if tunes and collapsed is None else None

    def compared_to(ceiling: float) -> Compared:
        return cluster.compare_all(
            rows, ceiling, search, min_samples=asked.min_samples, weights=weights, labelled=keep
        )

    ceiling = search_range(vectors, identities, asked, threshold)
    compared = None if ceiling is None else compared_to(ceiling)

    @cache
    def reranked(k1: int) -> Graph:
        return rerank(rows, k1, jaccard_weight=asked.jaccard_weight, nearest=search.nearest)

    if threshold is None:
        assert compared is not None, "a threshold that is to be found has a range"
        if tunes:
            threshold = tuned_threshold(
                vectors, identities, asked, compared, reranked, search, collapsed
            )
        else:
            threshold, is_settled = estimated_threshold(asked, compared)
            if not is_settled:
                farther = search_range(vectors, identities, asked, None, farther=True)
                if farther is not None and farther > compared.ceiling:
                    compared = compared_to(farther)
                    threshold, _ = estimated_threshold(asked, compared)
    labels = _labels(rows, threshold, asked, compared, reranked, weights, on_cuml=on_cuml)
    notes = list(threshold.notes)
    if compared is not None and collapsed is None:
        nearest, distance = compared.nearest, compared.nearest_distance
    else:
        far = search.nearest(vectors, 1)
        nearest, distance = far[0][:, 0], far[1][:, 0]
    if collapsed is not None:
        notes.append(
            f"{len(vectors) - len(rows):,} duplicates collapsed: {len(rows):,} rows were clustered"
        )
        labels = cluster.expand(labels, collapsed)
        if near_duplicates:
            notes.append(_what_changed(labels, vectors, threshold, asked, search))
    found = warnings(
        labels, eps=threshold.eps, ceiling=threshold.ceiling, at_edge=threshold.at_edge
    )
    return Individuals(labels, threshold, nearest, distance, found, notes)


def _labels(
    rows: NDArray[np.float32],
    threshold: Threshold,
    asked: Clustering,
    compared: Compared | None,
    reranked: Callable[[int], Graph],
    weights: NDArray[np.int64] | None,
    *,
    on_cuml: bool,
) -> NDArray[np.int64]:
    method, eps = threshold.method, threshold.eps
    if method == "hdbscan":
        return cluster.hdbscan(rows, max(2, asked.min_samples))
    if method == "kmeans":
        if asked.n_clusters is None:
            raise InputError("kmeans needs cluster.n_clusters, the number of individuals")
        return cluster.kmeans(rows, min(asked.n_clusters, len(rows)), asked.seed)
    if eps is None:  # one image
        return np.full(len(rows), -1, dtype=np.int64)
    if threshold.k1 is not None:
        return cluster.dbscan(reranked(threshold.k1), eps, asked.min_samples, weights=weights)
    assert compared is not None, "a cosine distance is a range"
    if method == "dbscan":
        if on_cuml:
            return cluster.cuml_dbscan(rows, eps, asked.min_samples)
        return cluster.labels_at(compared.forest, eps)
    return cluster.linkage_labels(
        compared.links, rows, eps, "average" if method == "average" else "complete"
    )


def _what_changed(
    labels: NDArray[np.int64],
    vectors: NDArray[np.float32],
    threshold: Threshold,
    asked: Clustering,
    search: Search,
) -> str:
    """What collapsing near-duplicates did, against clustering every row at the same threshold."""
    if len(vectors) > COMPARE_ROWS:
        return f"what collapsing near-duplicates changed was not measured above {COMPARE_ROWS:,} images"
    from sklearn.metrics import adjusted_rand_score

    compared = None
    if threshold.eps is not None and threshold.k1 is None:
        compared = cluster.compare_all(
            vectors, threshold.eps, search, min_samples=asked.min_samples
        )

    def reranked(k1: int) -> Graph:
        return rerank(vectors, k1, jaccard_weight=asked.jaccard_weight, nearest=search.nearest)

    plain = _labels(vectors, threshold, asked, compared, reranked, None, on_cuml=False)
    score = adjusted_rand_score(
        cluster.noise_to_singletons(plain), cluster.noise_to_singletons(labels)
    )
    return f"collapsing near-duplicates gives clusters of ARI {score:.4f} against those without it"
