"""A search that compares rows of one region alone: where an animal never goes, nobody looks for it.

Regions are searched one after the other by any other search, so that a hundred of equal size cost a hundredth of
comparing all pairs, and what a region finds is what comparing all pairs would have found there.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from reid.neighbors.edge_arrays import Edges, Refine, Wanted
from reid.neighbors.search import Recall, Search

ANYWHERE = -1  # the region of a row of which nobody knows where it is


def search_in_regions(search: Search, region: NDArray[np.integer]) -> Search:
    """A search of all n rows that never compares two of different regions.

    Args:
        search: of the rows of one region, and of those that may be in any.
        region: (n,) numbers; ANYWHERE: compared with all rows.

    Returns:
        A search for (n, d) rows in this order, and no others; `measured` has an entry for all regions together,
        where `search` measures.
    """
    measured: list[Recall] = []

    def edges(
        vectors: np.ndarray,
        radius: float,
        *,
        refine: Refine | None = None,
        wanted: Wanted | None = None,
    ) -> Iterable[Edges]:
        assert len(vectors) == len(region), "rows are those that have regions"
        return _edges(search, region, measured, vectors, radius, refine, wanted)

    def nearest(
        vectors: np.ndarray,
        k: int,
        *,
        queries: np.ndarray | None = None,
        rows: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        assert len(vectors) == len(region), "rows are those that have regions"
        assert queries is None, "a query has no region"
        return _nearest(search, region, vectors, k, rows)

    return Search(edges, nearest, measured)


def compared_share(region: NDArray[np.integer]) -> float:
    """The share of all pairs that regions leave to be compared; 1 where there are no pairs."""
    n, lost = len(region), int((region == ANYWHERE).sum())
    sizes = np.bincount(region[region != ANYWHERE], minlength=1).astype(np.float64)
    inside = (sizes * (sizes - 1) / 2).sum() + lost * (n - lost) + lost * (lost - 1) / 2
    return float(inside / (n * (n - 1) / 2)) if n > 1 else 1.0


def _places(region: NDArray[np.integer]) -> Iterator[tuple[NDArray[np.intp], bool]]:
    """The rows of each region with those that may be anywhere, ascending; True for the first one."""
    anywhere = np.flatnonzero(region == ANYWHERE)
    numbers = np.unique(region[region != ANYWHERE])
    for at, number in enumerate(numbers):
        own = np.flatnonzero(region == number)
        yield np.union1d(own, anywhere) if len(anywhere) else own, at == 0
    if not len(numbers):
        yield anywhere, True


def _edges(
    search: Search,
    region: NDArray[np.integer],
    measured: list[Recall],
    vectors: np.ndarray,
    radius: float,
    refine: Refine | None,
    wanted: Wanted | None,
) -> Iterator[Edges]:
    before, shares = len(search.measured), []
    for rows, is_first in _places(region):
        seen = len(search.measured)
        found = search.edges(
            vectors[rows],
            radius,
            refine=None if refine is None else partial(_refined, refine, rows),
            wanted=None if wanted is None else partial(_wanted, wanted, rows),
        )
        for edges, distances in found:
            pairs = rows[edges].astype(np.int32)
            if not is_first:  # pairs of two that may be anywhere come with every region
                kept = (region[pairs] != ANYWHERE).any(axis=1)
                pairs, distances = pairs[kept], distances[kept]
            yield pairs, distances
        whole = len(rows) * (len(rows) - 1) / 2
        shares.append((search.measured[-1].compared if len(search.measured) > seen else 1) * whole)
    if len(search.measured) > before:
        n = len(vectors)
        measured.append(_together(search.measured[before:], sum(shares) / (n * (n - 1) / 2)))


def _nearest(
    search: Search,
    region: NDArray[np.integer],
    vectors: np.ndarray,
    k: int,
    asking: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    wanted = np.arange(len(vectors)) if asking is None else np.asarray(asking)
    index = np.full((len(wanted), k), -1, np.int32)
    distance = np.full((len(wanted), k), np.nan, np.float32)
    who = np.flatnonzero(region[wanted] == ANYWHERE)
    if len(who):
        index[who], distance[who] = search.nearest(vectors, k, rows=wanted[who])
    for rows, _ in _places(region):
        number = region[rows].max()
        if number == ANYWHERE:
            continue
        who = np.flatnonzero(region[wanted] == number)
        if not len(who):
            continue
        found, far = search.nearest(vectors[rows], k, rows=np.searchsorted(rows, wanted[who]))
        index[who], distance[who] = np.where(found < 0, -1, rows[found]), far
    return index, distance


def _refined(refine: Refine, rows: NDArray[np.intp], part: Edges) -> Edges:
    """`refine` knows rows by their numbers in the whole, a search by those in the region."""
    edges, distances = refine((rows[part[0]].astype(np.int32), part[1]))
    return np.searchsorted(rows, edges).astype(np.int32), distances


def _wanted(
    wanted: Wanted, rows: NDArray[np.intp], i: np.ndarray, j: np.ndarray, least: np.ndarray
) -> np.ndarray:
    return wanted(rows[i], rows[j], least)


def _together(parts: Sequence[Recall], compared: float) -> Recall:
    """What several regions found, as one."""
    pairs = sum(part.pairs for part in parts)
    off = np.sqrt(sum((part.spread * part.pairs) ** 2 for part in parts if part.pairs))
    return Recall(
        rows=sum(part.rows for part in parts),
        pairs=pairs,
        found=sum(part.found for part in parts),
        spread=float(off / pairs) if pairs else float("nan"),
        visits=max(part.visits for part in parts),
        cells=sum(part.cells for part in parts),
        compared=compared,
        wanted=parts[-1].wanted,
    )
