"""Each row asks for its individual among the others: how soon is it found?"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reid.errors import InputError
from reid.neighbors import check_unit_rows
from reid.splits import checked_codes

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class QueryScores:
    """The ranking of each row that could ask.

    Attributes:
        rows: (q,) int64, rising.
        individuals: (q,) int64, one number for each individual.
        average_precision: (q,) float64.
        first_hit: (q,) int64, rank of the nearest row of the individual, from 1.
        inverse_negative_penalty: (q,) float64, right rows / rank of the last of them: 1 where
            they all come first.
        skipped: labelled rows that wanted to ask, with no other row of their individual to find.
    """

    rows: NDArray[np.int64]
    individuals: NDArray[np.int64]
    average_precision: NDArray[np.float64]
    first_hit: NDArray[np.int64]
    inverse_negative_penalty: NDArray[np.float64]
    skipped: int


@dataclass(frozen=True, slots=True)
class Retrieval:
    """Each labelled row asked for its individual among all other rows; shares in [0, 1].

    Attributes:
        mean_average_precision: mean over the queries.
        balanced_average_precision: mean over individuals of the mean over their queries, so that
            an individual with many images weighs no more than one with two.
        mean_inverse_negative_penalty: mINP, mean over the queries: how much must be looked
            through to find every row of the individual.
        top_1, top_5, top_10: queries with a row of their individual among the first k. With a
            closed-set split, top_1 is the accuracy of the nearest neighbour.
        queries: rows that asked.
        skipped: labelled rows that could not ask, for want of any other row of their individual.
    """

    mean_average_precision: float
    balanced_average_precision: float
    mean_inverse_negative_penalty: float
    top_1: float
    top_5: float
    top_10: float
    queries: int
    skipped: int


def retrieval(
    embeddings: NDArray[np.float32],
    identities: NDArray[Any],
    *,
    encounters: NDArray[Any] | None = None,
    queries: Mask | None = None,
    gallery: Mask | None = None,
    memory_bytes: int = 256 * 2**20,
) -> Retrieval:
    """`query_scores`, and their means (`summarise`); every share is NaN where no row can ask.

    Example:
        Four pictures at 0, 10, 40 and 50 degrees. From the first, a's others come at ranks 1 and 3:
        AP = (1/1 + 2/3) / 2; from the last at 2 and 3: AP = (1/2 + 2/3) / 2. Nothing else shows b.

        >>> angles = np.radians([0, 10, 40, 50])
        >>> rows = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
        >>> found = retrieval(rows, np.array(["a", "a", "b", "a"]))
        >>> round(found.mean_average_precision, 4)  # (5/6 + 5/6 + 7/12) / 3
        0.75
        >>> round(found.top_1, 4), round(found.mean_inverse_negative_penalty, 4), found.skipped
        (0.6667, 0.6667, 1)
    """
    return summarise(
        query_scores(
            embeddings,
            identities,
            encounters=encounters,
            queries=queries,
            gallery=gallery,
            memory_bytes=memory_bytes,
        )
    )


def query_scores(
    embeddings: NDArray[np.float32],
    identities: NDArray[Any],
    *,
    encounters: NDArray[Any] | None = None,
    queries: Mask | None = None,
    gallery: Mask | None = None,
    memory_bytes: int = 256 * 2**20,
) -> QueryScores:
    """Rank the gallery by distance to each query, and score the ranking; exact, in blocks.

    Where the right rows of a query come at the ranks r₁ < r₂ < … < r_m:

        average precision = (1 / r₁ + 2 / r₂ + … + m / r_m) / m
        inverse negative penalty = m / r_m

    The query itself is never in its own ranking. Unlabelled rows are in it as wrong answers, and
    do not ask. Ties are ranked at their worst: a right row counts behind all wrong rows at the
    same distance, so that identical embeddings score nothing by luck.

    Args:
        embeddings: (n, d) float32, unit rows.
        identities: (n,) strings, objects or integers; None, NaN or -1 is unlabelled.
        encounters: (n,) in the same forms. Rows of the query's own encounter are left out of its
            ranking: finding the next frame of a burst proves nothing.
        queries: (n,) bool, rows that may ask; None: all.
        gallery: (n,) bool, rows that are searched; None: all. For a closed set:
            `query = closed_set(identities); queries=query, gallery=~query`.
        memory_bytes: for the block of distances.

    Returns:
        QueryScores, empty where no row can ask.

    Raises:
        InputError: rows that are not unit, numbers of rows that differ, or masks not of booleans.

    Source:
        Ye et al. 2021, "Deep Learning for Person Re-Identification", eq. 3 (mINP).

    Example:
        >>> rows = np.array([[1, 0], [0.8, 0.6], [0.6, 0.8]], np.float32)
        >>> found = query_scores(rows, np.array(["a", "b", "a"]))
        >>> found.first_hit, found.average_precision, found.skipped  # b has no other row
        (array([2, 2]), array([0.5, 0.5]), 1)
    """
    check_unit_rows(embeddings)
    n = len(embeddings)
    identity = checked_codes(identities, n, "identities")
    encounter = np.full(n, -1) if encounters is None else checked_codes(encounters, n, "encounters")
    searched = np.flatnonzero(_mask(gallery, n, "gallery"))
    place = np.full(n, -1)  # of a row in the gallery
    place[searched] = np.arange(len(searched))
    same_identity = _rows_by_code(identity[searched], int(identity.max(initial=-1)) + 1)
    same_encounter = _rows_by_code(encounter[searched], int(encounter.max(initial=-1)) + 1)
    rows = np.flatnonzero(_mask(queries, n, "queries") & (identity >= 0))
    block = max(1, memory_bytes // (8 * max(n, 1)))  # similarities and their sorted copy
    precision, penalty = np.zeros(n), np.zeros(n)
    first_hit = np.zeros(n, dtype=np.int64)  # 0: could not ask
    targets = embeddings if gallery is None else embeddings[searched]
    for start in range(0, len(rows), block):
        asking = rows[start : start + block]
        similarity = embeddings[asking] @ targets.T
        for scores, query in zip(similarity, asking, strict=True):
            if place[query] >= 0:
                scores[place[query]] = -np.inf
            if encounter[query] >= 0:
                scores[same_encounter[encounter[query]]] = -np.inf
            right = scores[same_identity[identity[query]]]
            right = np.sort(right[right > -np.inf])
            if len(right):
                scores.sort()
                ranks = _ranks(scores, right)
                precision[query] = np.mean(np.arange(1, len(right) + 1) / ranks)
                penalty[query] = len(right) / ranks[-1]
                first_hit[query] = ranks[0]
    answered = np.flatnonzero(first_hit)
    return QueryScores(
        rows=answered,
        individuals=identity[answered],
        average_precision=precision[answered],
        first_hit=first_hit[answered],
        inverse_negative_penalty=penalty[answered],
        skipped=len(rows) - len(answered),
    )


def without_copies(copies: NDArray[Any] | None, identities: NDArray[Any]) -> Mask:
    """(n,) bool: True but for the second and later rows of one content.

    A picture that lies there twice finds itself, which proves nothing.

    Args:
        copies: (n,) content hash of each row, None where unknown; None: no row has one.
        identities: (n,) strings, objects or integers; of several copies one with an identity stays.

    Example:
        >>> without_copies(np.array(["x", "x", None]), np.array([None, "a", "b"]))
        array([False,  True,  True])
    """
    kept = np.ones(len(identities), dtype=bool)
    if copies is None:
        return kept
    code = checked_codes(copies, len(identities), "content hashes")
    unnamed = checked_codes(identities, len(identities), "identities") < 0
    rows = np.flatnonzero(code >= 0)
    order = rows[np.lexsort((rows, unnamed[rows], code[rows]))]
    kept[order[1:][code[order[1:]] == code[order[:-1]]]] = False
    return kept


def summarise(scores: QueryScores) -> Retrieval:
    """Means over queries, and over individuals; NaN where no row asked.

        mAP = mean of AP        balanced mAP = mean over individuals of the mean of their AP
        mINP = mean of the inverse negative penalties        top-k = share of queries with r₁ ≤ k

    Example:
        >>> rows = np.array([0, 1, 2])
        >>> ap, first = np.array([1.0, 0.5, 0.2]), np.array([1, 2, 5])
        >>> found = summarise(QueryScores(rows, np.array([7, 7, 8]), ap, first, ap, skipped=0))
        >>> round(found.mean_average_precision, 4), round(found.balanced_average_precision, 4)
        (0.5667, 0.475)
        >>> round(found.top_1, 4), found.top_5
        (0.3333, 1.0)
    """
    n = len(scores.rows)
    if not n:
        nan = float("nan")
        return Retrieval(nan, nan, nan, nan, nan, nan, queries=0, skipped=scores.skipped)
    by_individual = pd.Series(scores.average_precision).groupby(scores.individuals).mean()
    top_1, top_5, top_10 = (float((scores.first_hit <= k).mean()) for k in (1, 5, 10))
    return Retrieval(
        mean_average_precision=float(scores.average_precision.mean()),
        balanced_average_precision=float(by_individual.mean()),
        mean_inverse_negative_penalty=float(scores.inverse_negative_penalty.mean()),
        top_1=top_1,
        top_5=top_5,
        top_10=top_10,
        queries=n,
        skipped=scores.skipped,
    )


def _mask(mask: Mask | None, n: int, name: str) -> Mask:
    if mask is None:
        return np.ones(n, dtype=bool)
    if mask.shape != (n,) or mask.dtype != np.bool_:
        raise InputError(
            f"{name}: {mask.dtype} values of shape {mask.shape} for {n} rows: one boolean a row is "
            "needed"
        )
    return mask


def _rows_by_code(codes: NDArray[np.int64], number: int) -> list[NDArray[np.int64]]:
    """The rows of each code 0 ... number - 1; rows with code -1 are in none."""
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(number + 1))
    return np.split(order, starts)[1:-1]


def _ranks(everyone: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.int64]:
    """Ranks (from 1, rising) of the right answers; both arguments are in rising order."""
    as_near = len(everyone) - np.searchsorted(everyone, right)
    right_as_near = len(right) - np.searchsorted(right, right)
    nearer_wrong = as_near - right_as_near
    return np.arange(1, len(right) + 1) + nearer_wrong[::-1]
