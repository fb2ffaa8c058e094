"""Lists of the best partners of each row, and how many animals they can find at all.

The shortlist caps all that comes behind it. Hence `shortlist_recall`, a figure of the first rank.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from reid.pairs.candidates import comparable

LENGTHS = (1, 5, 10, 20, 50, 100, 250)


def shortlist_recall(
    ranked: NDArray[np.signedinteger],
    identities: NDArray[np.signedinteger],
    can_be_found: NDArray[np.bool_] | None = None,
    lengths: Sequence[int] = LENGTHS,
) -> dict[int, float]:
    """Share of rows whose shortlist holds another picture of the same animal, by its length.

    Args:
        ranked: (q, k) rows of the gallery, nearest first, −1 = none; for all rows, or those that
            `identities` has first.
        identities: (n,) of every row, −1 = unknown; row i of `ranked` belongs to row i.
        can_be_found: (q,) rows that have a mate they may be compared with; those alone count. Without
            it every row that has one in the whole list counts.
        lengths: of the shortlist; those above k are left out.

    Returns:
        Length → share in [0, 1]; empty where no row can be found.
    """
    q, k = ranked.shape
    own = identities[:q]
    hit = (ranked >= 0) & (identities[np.maximum(ranked, 0)] == own[:, None]) & (own[:, None] >= 0)
    counted = hit.any(axis=1) if can_be_found is None else np.asarray(can_be_found, bool)
    if not counted.any():
        return {}
    return {
        length: float(hit[counted, :length].any(axis=1).mean()) for length in lengths if length <= k
    }


def ranked_lists(
    n: int,
    pairs: NDArray[np.signedinteger],
    scores: NDArray[np.floating],
    k: int,
    *,
    names: Sequence[str] | None = None,
    asking: NDArray[np.bool_] | None = None,
    answering: NDArray[np.bool_] | None = None,
) -> NDArray[np.int64]:
    """The k best partners of each row by a score of its pairs.

    Args:
        n: rows.
        pairs: (m, 2) rows, each pair once.
        scores: (m,) more is better.
        k: longest list.
        names: (n,) of the rows, which decide ties; by row number if not given.
        asking, answering: (n,) rows that get a list, and rows that may be in one; all if not given.

    Returns:
        (n, k) int64, best first, −1 where there are fewer.
    """
    place = np.arange(n)
    if names is not None:
        place[np.argsort(np.asarray(names, dtype=str), kind="stable")] = np.arange(n)
    own, other = np.concatenate([pairs, pairs[:, ::-1]]).astype(np.int64).T.reshape(2, -1)
    score = np.concatenate([scores, scores])
    if asking is not None:
        kept = asking[own]
        own, other, score = own[kept], other[kept], score[kept]
    if answering is not None:
        kept = answering[other]
        own, other, score = own[kept], other[kept], score[kept]
    order = np.lexsort((place[other], -score, own))
    own, other = own[order], other[order]
    rank = np.arange(len(own)) - np.searchsorted(own, np.arange(n))[own]
    lists = np.full((n, k), -1, np.int64)
    kept = rank < k
    lists[own[kept], rank[kept]] = other[kept]
    return lists


def has_mate(
    identities: NDArray[np.signedinteger],
    sides: NDArray[np.signedinteger] | None,
    apart: Sequence[NDArray[np.signedinteger]] = (),
    answering: NDArray[np.bool_] | None = None,
) -> NDArray[np.bool_]:
    """(n,) bool: rows of which another picture exists that they may be compared with.

    Args:
        identities: (n,) −1 = unknown.
        sides, apart: as in `find_candidates`.
        answering: (n,) rows that count as another picture; all if not given.
    """
    found = np.zeros(len(identities), np.bool_)
    order = np.argsort(identities, kind="stable")
    order = order[identities[order] >= 0]
    starts = np.flatnonzero(np.diff(identities[order], prepend=-1))
    for rows in np.split(order, starts[1:]) if len(order) else []:
        a, b = np.repeat(rows, len(rows)), np.tile(rows, len(rows))
        fine = (a != b) & comparable(np.stack([a, b], axis=1), sides, apart)
        if answering is not None:
            fine &= answering[b]
        found[a[fine]] = True
    return found
