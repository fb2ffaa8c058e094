"""Unit vectors of one species → its individuals, and what looks odd about them."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid import cluster
from reid.cluster import Collapsed, Compared
from reid.errors import InputError
from reid.neighbors import Search, check_unit_rows, local_search
from reid.tune.clustered_rows import ClusteredRows
from reid.tune.guards import warnings
from reid.tune.sweep import encode_labels
from reid.tune.threshold import (
    WITHOUT_THRESHOLD,
    Clustering,
    Threshold,
    can_tune,
    estimated_threshold,
    search_range,
    settled,
)
from reid.tune.tuned_threshold import tuned_threshold

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
        before_encounters: how many individuals there would be if encounters joined none; None: they do not.
    """

    labels: NDArray[np.int64]
    threshold: Threshold
    nearest: NDArray[np.int32]
    nearest_distance: NDArray[np.float32]
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    before_encounters: int | None = None

    @property
    def by_pairs(self) -> bool:
        """Made by the probabilities of pairs, not by distances."""
        return self.threshold.source == "pairs"


def find_individuals(
    vectors: NDArray[np.float32],
    identities: NDArray[Any],
    asked: Clustering | None = None,
    *,
    fallback: Threshold | None = None,
    search: Search | None = None,
    collapsed: Collapsed | None = None,
    encounters: NDArray[np.int64] | None = None,
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
        collapsed: duplicates to cluster as one. What near-duplicates change is measured, up to
            20,000 rows, and said in the notes.
        encounters: (n,) of `encounters_of_one_animal`. Clusters that one of them connects become one, and
            the threshold is the best for what comes out, unless two animals are known in it. None: off.

    Raises:
        InputError: rows that are not unit vectors, settings that do not fit together, or a component
            too large for linkage.
    """
    check_unit_rows(vectors)
    asked, search = asked or Clustering(), search or local_search()
    everybody = task = ClusteredRows(vectors, None, asked, search)
    if collapsed is not None:
        _check_weights_count(asked)
        task = ClusteredRows(vectors[collapsed.representatives], collapsed.weights, asked, search)
    threshold, compared = _find_threshold(
        task, vectors, identities, fallback, collapsed, encounters
    )
    labels = task.labels(threshold, compared)
    notes = list(threshold.notes)
    if compared is not None and collapsed is None:
        nearest, distance = compared.nearest, compared.nearest_distance
    else:
        far = search.nearest(vectors, 1)
        nearest, distance = far[0][:, 0], far[1][:, 0]
    if collapsed is not None:
        labels = cluster.expand(labels, collapsed)
        notes.append(
            f"{len(vectors) - len(task.rows):,} duplicates collapsed: {len(task.rows):,} rows were "
            "clustered"
        )
        if collapsed.near:
            notes.append(_what_changed(labels, everybody, threshold))
    before_encounters = None
    if encounters is not None:
        single, _ = cluster.encounters_of_one_name(encounters, encode_labels(identities))
        before_encounters = len(np.unique(cluster.noise_to_singletons(labels)))
        labels = cluster.join_encounters(labels, single)
    found = warnings(
        labels, eps=threshold.eps, ceiling=threshold.ceiling, at_edge=threshold.at_edge
    )
    return Individuals(labels, threshold, nearest, distance, found, notes, before_encounters)


def _check_weights_count(asked: Clustering) -> None:
    if asked.on_cuml or asked.method in WITHOUT_THRESHOLD:
        raise InputError(
            f"duplicates cannot be collapsed for {'cuml' if asked.on_cuml else asked.method}, which does "
            "not know how many images a row stands for; leave out cluster.collapse_duplicates and "
            "cluster.near_duplicate_distance"
        )


def _find_threshold(
    task: ClusteredRows,
    vectors: NDArray[np.float32],
    identities: NDArray[Any],
    fallback: Threshold | None,
    collapsed: Collapsed | None,
    encounters: NDArray[np.int64] | None,
) -> tuple[Threshold, Compared | None]:
    """The threshold, and the comparison of all pairs that it came from, or is needed for."""
    asked = task.asked
    threshold = settled(len(task.rows), identities, asked, fallback)
    ceiling = search_range(vectors, identities, asked, threshold)
    if threshold is not None:
        return threshold, None if ceiling is None else task.compared(ceiling)
    assert ceiling is not None, "a threshold that is to be found has a range"
    if can_tune(identities):
        keep = np.asarray(encode_labels(identities) >= 0) if collapsed is None else None
        compared = task.compared(ceiling, keep)
        return tuned_threshold(vectors, identities, task, compared, collapsed, encounters), compared
    compared = task.compared(ceiling)
    threshold, is_settled = estimated_threshold(asked, compared)
    if not is_settled:
        farther = search_range(vectors, identities, asked, None, farther=True)
        if farther is not None and farther > ceiling:
            compared = task.compared(farther)
            threshold, _ = estimated_threshold(asked, compared)
    return threshold, compared


def _what_changed(labels: NDArray[np.int64], everybody: ClusteredRows, threshold: Threshold) -> str:
    """What collapsing near-duplicates did, against clustering every row at the same threshold."""
    if len(labels) > COMPARE_ROWS:
        return f"what collapsing near-duplicates changed was not measured above {COMPARE_ROWS:,} images"
    from sklearn.metrics import adjusted_rand_score

    compared = None
    if threshold.eps is not None and threshold.k1 is None:
        compared = everybody.compared(threshold.eps)
    plain = everybody.labels(threshold, compared)
    score = adjusted_rand_score(
        cluster.noise_to_singletons(plain), cluster.noise_to_singletons(labels)
    )
    return f"collapsing near-duplicates gives clusters of ARI {score:.4f} against those without it"
