"""Which pairs are looked at: the k nearest of each row, both ways, and every edge below a distance.

They cap all that comes behind: an animal that is not among them cannot be found.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reid.errors import InputError
from reid.neighbors import check_unit_rows, knn, radius_graph

BLOCK_NUMBERS = 2**20  # at a time, however many pairs there are


@dataclass(frozen=True, slots=True)
class Candidates:
    """Pairs of rows, each once.

    Attributes:
        n: rows.
        pairs: (m, 2) int32, i < j, in lexicographic order.
        distances: (m,) float32, cosine distance.
        ranks: (m, 2) int32: place of j among the rows that i may be compared with, nearest first from
            1, and of i among j's; k + 1 where it is not among the k nearest.
        shared: (m,) float32: Jaccard index of the two rows' k nearest, each with itself.
    """

    n: int
    pairs: NDArray[np.int32]
    distances: NDArray[np.float32]
    ranks: NDArray[np.int32]
    shared: NDArray[np.float32]


def blocks_of(count: int, width: int) -> Iterator[slice]:
    """Slices of `count` pairs, so that a number for each of `width` things a pair takes little room."""
    step = max(1, BLOCK_NUMBERS // max(1, width))
    for start in range(0, count, step):
        yield slice(start, start + step)


def comparable(
    pairs: NDArray[np.signedinteger],
    sides: NDArray[np.signedinteger] | None,
    apart: Sequence[NDArray[np.signedinteger]] = (),
) -> NDArray[np.bool_]:
    """(m,) bool: pairs that may be compared; arguments as in `find_candidates`."""
    fine = np.ones(len(pairs), np.bool_)
    first, second = pairs[:, 0], pairs[:, 1]
    if sides is not None:
        fine &= (sides[first] == sides[second]) | (sides[first] < 0) | (sides[second] < 0)
    for group in apart:
        fine &= (group[first] != group[second]) | (group[first] < 0)
    return fine


def nearest_comparable(
    vectors: NDArray[np.float32],
    k: int,
    *,
    sides: NDArray[np.signedinteger] | None = None,
    apart: Sequence[NDArray[np.signedinteger]] = (),
    answering: NDArray[np.bool_] | None = None,
    device: str = "cpu",
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The k nearest rows that each row may be compared with.

    Args:
        vectors, k, sides, apart, device: as in `find_candidates`.
        answering: (n,) rows that may be found; all if not given.

    Returns:
        indices (n, k) int32 and distances (n, k) float32, nearest first; −1 and NaN where there are
        fewer.
    """
    n = len(vectors)
    found = np.full((n, k), -1, np.int32)
    lengths = np.full((n, k), np.nan, np.float32)
    # As many more are asked for as can be dropped again.
    crowd = sum(int(np.bincount(g[g >= 0]).max(initial=1)) - 1 for g in apart)
    kinds = np.zeros(n, np.int64) if sides is None else np.asarray(sides)
    for kind in np.unique(kinds):
        asking = np.flatnonzero(kinds == kind)
        searched = np.ones(n, np.bool_) if kind < 0 else (kinds == kind) | (kinds < 0)
        gallery = np.flatnonzero(searched if answering is None else searched & answering)
        if not len(gallery):
            continue
        # A row is in its own gallery, and found among the nearest.
        many = min(len(gallery), k + crowd + 1)
        near, distance = knn(
            np.ascontiguousarray(vectors[gallery]),
            many,
            queries=np.ascontiguousarray(vectors[asking]),
            device=device,
        )
        near = np.where(near >= 0, gallery[near], -1)
        own = np.repeat(asking, many)
        flat = near.ravel()
        fine = (flat >= 0) & (flat != own)
        pairs = np.stack([own, np.maximum(flat, 0)], axis=1)
        fine &= comparable(pairs, None, apart)
        fine = fine.reshape(near.shape)
        # Kept ones move to the front, in order.
        order = np.argsort(~fine, axis=1, kind="stable")[:, :k]
        kept = np.take_along_axis(fine, order, axis=1)
        wide = order.shape[1]
        found[asking, :wide] = np.where(kept, np.take_along_axis(near, order, axis=1), -1)
        lengths[asking, :wide] = np.where(kept, np.take_along_axis(distance, order, axis=1), np.nan)
    return found, lengths


def find_candidates(
    vectors: NDArray[np.float32],
    k: int,
    *,
    sides: NDArray[np.signedinteger] | None = None,
    apart: Sequence[NDArray[np.signedinteger]] = (),
    radius: float | None = None,
    more: NDArray[np.signedinteger] | None = None,
    device: str = "cpu",
) -> Candidates:
    """The pairs that are worth a closer look.

    Args:
        vectors: (n, d) float32, unit rows.
        k: nearest rows of each row that become candidates, at least 1.
        sides: (n,) side seen, −1 = unknown: two different known sides are never compared.
        apart: groupings (n,), −1 = none: two rows of one group are no candidates. Photographs always
            (two boxes in one image are two animals), encounters where a result is judged.
        radius: every pair within this cosine distance is a candidate too; 0 < radius < 2.
        more: (p, 2) further pairs, say of another embedding or of local votes; those that may not be
            compared are left out.
        device: of the search.

    Raises:
        InputError: k below 1, rows that are not unit, a radius out of range.
    """
    if k < 1:
        raise InputError(f"pairs.k: {k}, at least 1 is needed")
    check_unit_rows(vectors)
    n = len(vectors)
    k = min(k, max(1, n - 1))
    near, _ = nearest_comparable(vectors, k, sides=sides, apart=apart, device=device)
    rows = np.repeat(np.arange(n), near.shape[1])
    listed = np.stack([rows, near.ravel()], axis=1)[near.ravel() >= 0]
    parts = [listed]
    if radius is not None:
        edges = radius_graph(vectors, radius, device=device).edges.astype(np.int64)
        parts.append(edges[comparable(edges, sides, apart)])
    if more is not None and len(more):
        given = np.asarray(more, np.int64)
        given = given[given[:, 0] != given[:, 1]]
        parts.append(given[comparable(given, sides, apart)])
    every = np.concatenate(parts)
    keys = np.unique(every.min(axis=1).astype(np.int64) * n + every.max(axis=1))
    pairs = np.stack([keys // n, keys % n], axis=1).astype(np.int32)
    first, second = pairs[:, 0], pairs[:, 1]
    distances = np.empty(len(pairs), np.float32)
    for part in blocks_of(len(pairs), vectors.shape[1]):
        distances[part] = 1 - np.einsum("ij,ij->i", vectors[first[part]], vectors[second[part]])
    ranks = np.stack([_rank(near, first, second), _rank(near, second, first)], axis=1)
    shared = _shared(near, pairs)
    return Candidates(n, pairs, np.maximum(distances, 0), ranks, shared)


def _rank(
    near: NDArray[np.int32], rows: NDArray[np.int32], of: NDArray[np.int32]
) -> NDArray[np.int32]:
    """Place of `of` in the list of each of `rows`, from 1; one more than its length: not in it."""
    k = near.shape[1]
    place = np.full(len(rows), k + 1, np.int32)
    for part in blocks_of(len(rows), k):
        hit = near[rows[part]] == of[part, None]
        place[part] = np.where(hit.any(axis=1), hit.argmax(axis=1) + 1, k + 1)
    return place


def _shared(near: NDArray[np.int32], pairs: NDArray[np.int32]) -> NDArray[np.float32]:
    from scipy.sparse import csr_array, eye_array

    n, k = near.shape
    kept = near.ravel() >= 0
    rows = np.repeat(np.arange(n), k)[kept]
    ones = np.ones(int(kept.sum()), np.float32)
    lists = csr_array((ones, (rows, near.ravel()[kept])), shape=(n, n))
    lists = csr_array(lists + eye_array(n, dtype=np.float32, format="csr"))
    sizes = np.diff(lists.indptr)
    result = np.empty(len(pairs), np.float32)
    for part in blocks_of(len(pairs), k):
        first, second = pairs[part].T
        common = np.asarray(lists[first].multiply(lists[second]).sum(axis=1)).ravel()
        result[part] = common / (sizes[first] + sizes[second] - common)
    return result
