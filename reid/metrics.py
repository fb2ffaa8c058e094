"""How good are embeddings (retrieval) and clusters (agreement with known identities)?"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reid.errors import InputError
from reid.neighbors import check_unit_rows
from reid.tune import encode_labels


@dataclass(frozen=True, slots=True)
class Retrieval:
    """Each labelled row asked for its individual among all other rows; shares in [0, 1].

    Attributes:
        mean_average_precision: mean over the queries.
        balanced_average_precision: mean over individuals of the mean over their queries, so that
            an individual with many images weighs no more than one with two.
        top_1, top_5, top_10: queries with a row of their individual among the first k.
        queries: rows that asked.
        skipped: labelled rows that could not ask, for want of any other row of their individual.
    """

    mean_average_precision: float
    balanced_average_precision: float
    top_1: float
    top_5: float
    top_10: float
    queries: int
    skipped: int


@dataclass(frozen=True, slots=True)
class Agreement:
    """A clustering against known identities; all but ARI and AMI lie in [0, 1].

    Attributes:
        ari: adjusted Rand index.
        ami: adjusted mutual information (arithmetic mean).
        nmi: normalised mutual information (arithmetic mean).
        pairwise_precision: pairs in one cluster that are one individual.
        pairwise_recall: pairs of one individual that are in one cluster.
        pairwise_f1: their harmonic mean.
        b_cubed_precision: for a row, the share of its cluster that is its individual; the mean.
        b_cubed_recall: for a row, the share of its individual that is in its cluster; the mean.
        b_cubed_f1: their harmonic mean.
        n_scored: rows with a known identity.
    """

    ari: float
    ami: float
    nmi: float
    pairwise_precision: float
    pairwise_recall: float
    pairwise_f1: float
    b_cubed_precision: float
    b_cubed_recall: float
    b_cubed_f1: float
    n_scored: int


def retrieval(
    embeddings: NDArray[np.float32],
    identities: NDArray[Any],
    *,
    encounters: NDArray[Any] | None = None,
    memory_bytes: int = 256 * 2**20,
) -> Retrieval:
    """Rank all rows by distance to each labelled row, and score the ranking; exact, in blocks.

    The query itself is never in its own ranking. Unlabelled rows are in it as wrong answers, and
    do not ask. Ties are ranked at their worst: a right row counts behind all wrong rows at the
    same distance, so that identical embeddings score nothing by luck.

    Args:
        embeddings: (n, d) float32, unit rows.
        identities: (n,) strings, objects or integers; None, NaN or -1 is unlabelled.
        encounters: (n,) in the same forms. Rows of the query's own encounter are left out of its
            ranking: finding the next frame of a burst proves nothing.
        memory_bytes: for the block of distances.

    Returns:
        Retrieval; every share is NaN where no row can ask.

    Raises:
        InputError: rows that are not unit, or numbers of rows that differ.
    """
    check_unit_rows(embeddings)
    n = len(embeddings)
    identity = _codes(identities, n, "identities")
    encounter = np.full(n, -1) if encounters is None else _codes(encounters, n, "encounters")
    same_identity, same_encounter = _rows_by_code(identity), _rows_by_code(encounter)
    rows = np.flatnonzero(identity >= 0)
    block = max(1, memory_bytes // (8 * max(n, 1)))  # similarities and their sorted copy
    precision = np.full(n, np.nan)
    first_hit = np.full(n, np.inf)
    for start in range(0, len(rows), block):
        queries = rows[start : start + block]
        similarity = embeddings[queries] @ embeddings.T
        for scores, query in zip(similarity, queries, strict=True):
            scores[query] = -np.inf
            if encounter[query] >= 0:
                scores[same_encounter[encounter[query]]] = -np.inf
            right = scores[same_identity[identity[query]]]
            right = np.sort(right[right > -np.inf])
            if len(right):
                scores.sort()
                ranks = _ranks(scores, right)
                precision[query] = np.mean(np.arange(1, len(right) + 1) / ranks)
                first_hit[query] = ranks[0]
    asked = np.isfinite(first_hit)
    by_individual = pd.Series(precision[asked]).groupby(identity[asked]).mean()
    hits = first_hit[asked]
    top = [float((hits <= k).mean()) if len(hits) else np.nan for k in (1, 5, 10)]
    return Retrieval(
        mean_average_precision=float(precision[asked].mean()) if len(hits) else np.nan,
        balanced_average_precision=float(by_individual.mean()) if len(hits) else np.nan,
        top_1=top[0],
        top_5=top[1],
        top_10=top[2],
        queries=int(asked.sum()),
        skipped=len(rows) - int(asked.sum()),
    )


def _rows_by_code(codes: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The rows of each code 0, 1, ...; rows with code -1 are in none."""
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(codes.max(initial=-1) + 2))
    return np.split(order, starts)[1:-1]


def _ranks(everyone: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.int64]:
    """Ranks (from 1, rising) of the right answers; both arguments are in rising order."""
    as_near = len(everyone) - np.searchsorted(everyone, right)
    right_as_near = len(right) - np.searchsorted(right, right)
    nearer_wrong = as_near - right_as_near
    return np.arange(1, len(right) + 1) + nearer_wrong[::-1]


def agreement(labels: NDArray[np.int64], identities: NDArray[Any]) -> Agreement:
    """Score a clustering on the rows whose identity is known.

    Args:
        labels: (n,) int64, cluster of each row; every -1 (noise) is a cluster of its own.
        identities: (n,) strings, objects or integers; None, NaN or -1 is unlabelled.

    Returns:
        Agreement. With no pairs in a denominator (all singletons) a precision or recall is 1.

    Raises:
        InputError: numbers of rows that differ, or no row with an identity.

    Source:
        Hubert & Arabie 1985 (ARI); Vinh, Epps & Bailey 2010 (AMI); Bagga & Baldwin 1998 (B3).
    """
    from sklearn.metrics import (
        adjusted_mutual_info_score,
        adjusted_rand_score,
        normalized_mutual_info_score,
    )

    identity = _codes(identities, len(labels), "identities")
    known = identity >= 0
    if not known.any():
        raise InputError("no row has an identity: there is nothing to compare the clusters with")
    truth = identity[known]
    predicted = np.where(labels < 0, labels.max(initial=0) + 1 + np.arange(len(labels)), labels)
    predicted = np.unique(predicted[known], return_inverse=True)[1]
    cell = np.unique(np.stack([truth, predicted]), axis=1, return_counts=True)
    (row, column), count = cell
    of_class, of_cluster = np.bincount(truth), np.bincount(predicted)
    same = _pairs(count)
    pairwise_precision = _share(same, _pairs(of_cluster))
    pairwise_recall = _share(same, _pairs(of_class))
    b_precision = float((count**2 / of_cluster[column]).sum() / len(truth))
    b_recall = float((count**2 / of_class[row]).sum() / len(truth))
    return Agreement(
        ari=float(adjusted_rand_score(truth, predicted)),
        ami=float(adjusted_mutual_info_score(truth, predicted)),
        nmi=float(normalized_mutual_info_score(truth, predicted)),
        pairwise_precision=pairwise_precision,
        pairwise_recall=pairwise_recall,
        pairwise_f1=_share(2 * same, _pairs(of_cluster) + _pairs(of_class)),
        b_cubed_precision=b_precision,
        b_cubed_recall=b_recall,
        b_cubed_f1=2 * b_precision * b_recall / (b_precision + b_recall),
        n_scored=len(truth),
    )


def _pairs(counts: NDArray[np.int64]) -> int:
    return int((counts * (counts - 1) // 2).sum())


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


def _codes(values: NDArray[Any], n: int, name: str) -> NDArray[np.int64]:
    if len(values) != n:
        raise InputError(f"{name}: {len(values)} values for {n} rows: one a row is needed")
    return encode_labels(values)
