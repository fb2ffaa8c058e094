"""The rows that become clusters, and how: their comparison, their re-ranked graphs, their labels."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from reid import cluster
from reid.cluster import NEIGHBOURS, Compared
from reid.errors import InputError
from reid.neighbors import Graph, Search
from reid.rerank import rerank
from reid.tune.threshold import Clustering, Threshold


@dataclass(frozen=True)
class ClusteredRows:
    """Rows of one species, all of them or the representatives of duplicates.

    Attributes:
        rows: (r, d) float32, unit rows (seen by the caller).
        weights: (r,) int64, images that each stands for; None: one.
        asked: how they become clusters.
        search: how pairs are compared.
    """

    rows: NDArray[np.float32]
    weights: NDArray[np.int64] | None
    asked: Clustering
    search: Search
    _reranked: dict[int, Graph] = field(default_factory=dict)

    def compared(self, ceiling: float, labelled: NDArray[np.bool_] | None = None) -> Compared:
        """All pairs of rows within `ceiling`; see `compare_all`."""
        return cluster.compare_all(
            self.rows,
            ceiling,
            self.search,
            min_samples=self.asked.min_samples,
            weights=self.weights,
            labelled=labelled,
        )

    def reranked(self, k1: int) -> Graph:
        """The re-ranked graph of the rows, made once."""
        if k1 not in self._reranked:
            self._reranked[k1] = rerank(
                self.rows,
                k1,
                jaccard_weight=self.asked.jaccard_weight,
                nearest=self.search.nearest,
            )
        return self._reranked[k1]

    def labels(self, threshold: Threshold, compared: Compared | None) -> NDArray[np.int64]:
        """(r,) int64, -1 = noise.

        Args:
            threshold: and the method that it belongs to.
            compared: all pairs up to the threshold at least, where it is a cosine distance.

        Raises:
            InputError: the number of individuals is missing, or too many rows are connected.
        """
        method, eps = threshold.method, threshold.eps
        if method == "hdbscan":
            return cluster.hdbscan(self.rows, max(2, self.asked.min_samples))
        if method in ("kmeans", "scan"):
            if self.asked.n_clusters is None:
                raise InputError(f"{method} needs cluster.n_clusters, the number of individuals")
            wanted = min(self.asked.n_clusters, len(self.rows))
            if method == "kmeans" or wanted < 2:
                return cluster.kmeans(self.rows, wanted, self.asked.seed)
            near, _ = self.search.nearest(self.rows, min(NEIGHBOURS, len(self.rows) - 1))
            return cluster.scan(
                self.rows,
                wanted,
                self.asked.seed,
                neighbours=near,
                self_label=self.asked.self_label,
                over_cluster=self.asked.over_cluster,
            )
        if eps is None:  # one image
            return np.full(len(self.rows), -1, dtype=np.int64)
        if threshold.k1 is not None:
            graph = self.reranked(threshold.k1)
            return cluster.dbscan(graph, eps, self.asked.min_samples, weights=self.weights)
        assert compared is not None, "a cosine distance is a range"
        if method == "dbscan":
            if self.asked.on_cuml:
                return cluster.cuml_dbscan(self.rows, eps, self.asked.min_samples)
            return cluster.labels_at(compared.forest, eps)
        return cluster.linkage_labels(
            compared.links, self.rows, eps, "average" if method == "average" else "complete"
        )
