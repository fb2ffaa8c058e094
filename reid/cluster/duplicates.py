"""Collapse duplicate images to one row before clustering, and give the others its label after."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reid.cluster.dbscan import check_eps
from reid.cluster.forest import Forest, labels_at
from reid.cluster.running_forest import streamed_forest
from reid.errors import InputError
from reid.neighbors import Search, check_unit_rows, local_search


@dataclass(frozen=True, slots=True)
class Collapsed:
    """Groups of duplicate rows, each represented by its first row.

    Attributes:
        representatives: (r,) int64, rising: the rows to cluster.
        group: (n,) int64: the position in `representatives` that stands for each row.
        weights: (r,) int64: rows that each representative stands for; pass them to `dbscan` and
            `spanning_forest`, so that `min_samples` counts images and not representatives.
        near: whether groups may hold more than exact duplicates.
    """

    representatives: NDArray[np.int64]
    group: NDArray[np.int64]
    weights: NDArray[np.int64]
    near: bool = False


def collapse(
    embeddings: NDArray[np.float32],
    content_hash: Sequence[str] | None = None,
    near_duplicate_threshold: float | None = None,
    *,
    search: Search | None = None,
) -> Collapsed:
    """Group rows that show the same image: a burst of 50 frames costs one row.

    Exact duplicates (the same hash, hence the same embedding) leave DBSCAN as it is: with
    `weights`, the expanded labels equal those without collapsing. Near-duplicates do not: a group
    stands where its first row stands, so links through its other rows can be lost. Linkage counts
    a representative once: near-duplicates are counted once, which is not what it does without
    collapsing.

    Args:
        embeddings: (n, d) float32, unit rows.
        content_hash: n hashes; rows with the same one are exact duplicates.
        near_duplicate_threshold: cosine distance, 0 < threshold < 2, well below the threshold of
            the clustering; rows connected by steps within it are one group. None: exact only.
        search: how pairs are compared; None: in this process.

    Raises:
        InputError: numbers of rows that differ, or the threshold out of range.
    """
    import pandas as pd

    check_unit_rows(embeddings)
    n = len(embeddings)
    group = np.arange(n)
    if content_hash is not None:
        if len(content_hash) != n:
            raise InputError(
                f"{len(content_hash)} content hashes for {n} rows: one a row is needed"
            )
        group = _by_first_row(pd.factorize(np.asarray(content_hash, dtype=object))[0])
    representatives = np.unique(group, return_index=True)[1]
    if near_duplicate_threshold is not None:
        check_eps(near_duplicate_threshold)
        few = embeddings[representatives]
        parts = (search or local_search()).edges(few, near_duplicate_threshold)
        near = streamed_forest(parts, len(few), 1)
        group = labels_at(near, near_duplicate_threshold)[group]
        representatives = np.unique(group, return_index=True)[1]
    weights = np.bincount(group, minlength=len(representatives))
    return Collapsed(representatives, group, weights, near_duplicate_threshold is not None)


def expand(labels: NDArray[np.int64], collapsed: Collapsed) -> NDArray[np.int64]:
    """Labels of all rows from the labels of the representatives: (r,) int64 to (n,) int64.

    Raises:
        InputError: not one label a representative.
    """
    if len(labels) != len(collapsed.representatives):
        raise InputError(
            f"{len(labels)} labels for {len(collapsed.representatives)} representatives"
        )
    return labels[collapsed.group]


def expand_forest(forest: Forest, collapsed: Collapsed) -> Forest:
    """The forest of all rows from that of the representatives, to score every row in a sweep.

    Args:
        forest: of the representatives, made with `collapsed.weights`.
        collapsed: of `collapse`.

    Returns:
        Forest of n rows whose `labels_at` is `expand` of the representatives' labels.
    """
    rows, group = collapsed.representatives, collapsed.group
    others = np.setdiff1d(np.arange(len(group)), rows, assume_unique=True)
    joins = np.stack([rows[group[others]], others], axis=1)
    join_weights = forest.core[group[others]]  # duplicates share a cluster once they are core
    weights = np.concatenate([forest.weights, join_weights])
    merges = np.concatenate([rows[forest.merges], joins])
    order = np.argsort(weights, kind="stable")
    order = order[np.isfinite(weights[order])]
    # Every row of a group is a border row wherever its representative is.
    members = np.argsort(group, kind="stable")
    starts = np.cumsum(collapsed.weights) - collapsed.weights
    repeats = collapsed.weights[forest.borders[:, 0]]
    ends = np.cumsum(repeats)
    offset = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - repeats, repeats)
    bordering = members[np.repeat(starts[forest.borders[:, 0]], repeats) + offset]
    reached = np.repeat(rows[forest.borders[:, 1]], repeats)
    return Forest(
        n=len(group),
        merges=merges[order].astype(np.int32),
        weights=weights[order],
        core=forest.core[group],
        borders=np.stack([bordering, reached], axis=1).astype(np.int32),
        border_weights=np.repeat(forest.border_weights, repeats),
    )


def _by_first_row(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Codes in the order of their first rows, as pandas gives them; a missing hash is alone."""
    import pandas as pd

    missing = codes < 0
    codes = np.where(missing, codes.max(initial=-1) + 1 + np.cumsum(missing), codes)
    return np.asarray(pd.factorize(codes)[0], dtype=np.int64)
