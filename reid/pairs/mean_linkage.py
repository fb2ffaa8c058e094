"""Groups by the mean probability between them: what one sure but wrong pair cannot join alone."""

import heapq
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reid.pairs.mutex import checked_evidence, checked_rows, numbered_from_zero
from reid.pairs.pair_calibration import probability


@dataclass(frozen=True, slots=True)
class Merges:
    """All joins, surest first, for groups at any cut.

    Attributes:
        n: rows.
        rows: (m, 2) int64: a row of each of the two groups that are joined.
        likelihood: (m,) float64 in (0, 1]: mean probability between them, 1 where it was said.
    """

    n: int
    rows: NDArray[np.int64]
    likelihood: NDArray[np.float64]

    def groups(self, cut: float) -> NDArray[np.int64]:
        """(n,) int64: the groups that joins of at least this likelihood make, by their smallest row."""
        return joined_rows(self.n, self.rows[self.likelihood >= cut])


def joined_rows(n: int, pairs: NDArray[np.signedinteger]) -> NDArray[np.int64]:
    """(n,) int64: groups of rows that pairs (m, 2) connect, numbered by their smallest row."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ones = np.ones(len(pairs), np.int8)
    links = coo_array((ones, (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    _, found = connected_components(links, directed=False)
    return numbered_from_zero(found.tolist())


def mean_linkage(
    n: int,
    pairs: NDArray[np.signedinteger],
    log_odds: NDArray[np.floating],
    *,
    together: NDArray[np.signedinteger] | None = None,
    names: NDArray[np.str_] | None = None,
) -> Merges:
    """Average linkage of rows, or of what is known to be one animal, by the probabilities of pairs.

    What `together` joins, say the pictures of an encounter, is one item; two items are as likely one
    animal as the likeliest pair of their pictures, because two flanks of an encounter are seen from
    one side each. Two groups are as likely one as their items are on average, and a pair that was
    not looked at counts as 0.

    Args:
        n, pairs, log_odds, together, names: as in `mutex_watershed`.

    Raises:
        InputError: as in `mutex_watershed`.

    Source:
        Sokal & Michener 1958 (UPGMA), on a sparse graph.
    """
    pairs, weights = checked_evidence(n, pairs, log_odds)
    said = checked_rows(n, together)
    group = joined_rows(n, said)
    item = np.unique(group, return_index=True)[1][group]  # each row's smallest one of its item
    made = _merge(n, *_between(item[pairs], probability(weights)), _ranks(n, item, names))
    rows = np.array([pair for *pair, _ in made], np.int64).reshape(-1, 2)
    means = np.array([mean for *_, mean in made], np.float64)
    return Merges(n, np.concatenate([said, rows]), np.concatenate([np.ones(len(said)), means]))


def _between(
    ends: NDArray[np.int64], p: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Each two items once, with the likeliest of their pairs."""
    apart = ends[:, 0] != ends[:, 1]
    low, high, p = ends[apart].min(axis=1), ends[apart].max(axis=1), p[apart]
    order = np.lexsort((-p, high, low))
    low, high, p = low[order], high[order], p[order]
    first = np.ones(len(p), np.bool_)
    first[1:] = (np.diff(low) != 0) | (np.diff(high) != 0)
    return np.stack([low, high], axis=1)[first], p[first]


def _ranks(n: int, item: NDArray[np.int64], names: NDArray[np.str_] | None) -> list[int]:
    """Place of each item by the first of its rows' names: the order of rows changes nothing."""
    place = np.arange(n)
    if names is not None:
        place[np.argsort(np.asarray(names, dtype=str), kind="stable")] = np.arange(n)
    smallest = np.full(n, n, np.int64)
    np.minimum.at(smallest, item, place)
    return [int(rank) for rank in smallest]


def _merge(
    n: int, items: NDArray[np.int64], p: NDArray[np.float64], rank: list[int]
) -> list[tuple[int, int, float]]:
    """The two groups with the highest mean are joined, again and again; ties by rank."""
    total: list[dict[int, float]] = [{} for _ in range(n)]
    for (a, b), value in zip(items.tolist(), p.tolist(), strict=True):
        total[a][b] = total[b][a] = value
    size, alive = [1] * n, [True] * n
    heap: list[tuple[float, int, int, int, int, int, int]] = []

    def offer(a: int, b: int) -> None:
        low, high = (a, b) if rank[a] < rank[b] else (b, a)
        mean = total[a][b] / (size[a] * size[b])
        heapq.heappush(heap, (-mean, rank[low], rank[high], low, high, size[low], size[high]))

    for a, b in items.tolist():
        offer(a, b)
    made = []
    while heap:
        mean, _, _, a, b, size_a, size_b = heapq.heappop(heap)
        if not (alive[a] and alive[b] and size[a] == size_a and size[b] == size_b):
            continue  # one of them has grown since, and was offered again
        made.append((a, b, -mean))
        alive[b] = False
        size[a] += size[b]
        for other, value in total[b].items():
            if other != a:
                total[a][other] = total[a].get(other, 0.0) + value
                total[other][a] = total[a][other]
            del total[other][b]
        total[b] = {}
        for other in total[a]:
            offer(a, other)
    return made
