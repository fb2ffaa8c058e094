"""k-reciprocal re-ranking: distances by how many near neighbours two rows share, sparse throughout."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, eye_array

from reid.errors import InputError
from reid.neighbors import Graph, check_unit_rows, knn
from reid.neighbors.search import FindNearest

GATHER_BYTES = 16 * 2**20


def rerank(
    embeddings: NDArray[np.float32],
    k1: int = 20,
    k2: int | None = None,
    jaccard_weight: float = 0.7,
    *,
    radius: float | None = None,
    nearest: FindNearest = knn,
    memory_bytes: int = 64 * 2**20,
) -> Graph:
    """The neighbour graph on the scale of k-reciprocal re-ranking.

    Two rows are k-reciprocal neighbours when each is among the k1 nearest of the other. A row is
    described by its reciprocal neighbours (and theirs, where they mostly agree), weighted by
    exp(-distance) and averaged over its k2 nearest rows. The Jaccard distance J of two such
    descriptions is 0 for rows with the same neighbours and 1 for rows that share none; the new
    distance is

        jaccard_weight x J + (1 - jaccard_weight) x d,

    where d is the cosine distance divided by the largest one in the row. It lies in [0, 1] and on
    another scale than cosine distance: thresholds must be fitted anew.

    Pairs that share no neighbour are not stored. Their J is 1, so their distance is
    jaccard_weight + (1 - jaccard_weight) x d: never below `jaccard_weight`. Hence every pair within
    a `radius` below `jaccard_weight` is in the graph, and DBSCAN on it is exact.

    Identical rows beyond k1 crowd each other out of the neighbour lists: collapse duplicates first.

    Args:
        embeddings: (n, d) float32, unit rows.
        k1: neighbours of a row, about the images of an individual; at least 1; n - 1 at most counts.
        k2: rows averaged, the row itself included, 1 <= k2 <= k1 + 1. 1 averages nothing, and can
            lose a lot; if not given it is 0.3 k1 (the paper's 6 for 20), and at least 2.
        jaccard_weight: share of the Jaccard distance, 0 < jaccard_weight <= 1. (Zhong et al. call
            1 - jaccard_weight lambda and use 0.3; other papers swap the two.)
        radius: largest distance kept, 0 < radius < jaccard_weight; 0.95 x jaccard_weight if not
            given.
        nearest: how neighbours are searched for: `reid.neighbors.knn`, or `Search.nearest`.
        memory_bytes: budget for the blocks of rows that are worked on at a time.

    Returns:
        Graph of n rows: pairs within `radius`, and their new distances.

    Raises:
        InputError: an argument out of range, or rows that are not unit.

    Source:
        Zhong, Zheng, Cao & Li, CVPR 2017, eq. 1-12.
    Differs:
        All rows are queries and gallery at once. The paper's distance is not symmetric, since d is
        scaled by row; the mean of both directions is taken. A row is always the first of its own
        neighbours, also among identical rows.
    """
    check_unit_rows(embeddings)
    n = len(embeddings)
    k2 = max(2, round(0.3 * k1)) if k2 is None else k2
    radius = 0.95 * jaccard_weight if radius is None else radius
    _check(k1, k2, jaccard_weight, radius)
    if n < 2:
        return Graph(n, np.empty((0, 2), np.int32), np.empty(0, np.float32))
    neighbors, _ = nearest(embeddings, min(k1, n - 1))
    ranked = np.concatenate([np.arange(n, dtype=np.int32)[:, None], neighbors], axis=1)
    # The farthest row is the nearest to the opposite direction.
    _, to_opposite = nearest(embeddings, 1, queries=-embeddings)
    farthest = 2 - to_opposite[:, 0]
    farthest[farthest <= 0] = 1  # all rows are identical: every distance is 0 already
    encoding = _encode(embeddings, ranked, farthest, k1, k2)
    edges, distances = [], []
    for pairs, shared in _shared_weight(encoding, memory_bytes):
        jaccard = 1 - shared / (2 - shared)
        near = jaccard_weight * jaccard <= radius  # the other term only adds
        low, high = pairs[near].T
        scale = (1 / farthest[low] + 1 / farthest[high]) / 2
        scaled = _pair_distances(embeddings, low, high) * scale
        mixed = jaccard_weight * jaccard[near] + (1 - jaccard_weight) * scaled
        kept = mixed <= radius
        edges.append(pairs[near][kept])
        distances.append(np.maximum(mixed[kept], 0).astype(np.float32))
    return Graph(n, np.concatenate(edges), np.concatenate(distances))


def _check(k1: int, k2: int, jaccard_weight: float, radius: float) -> None:
    if k1 < 1:
        raise InputError(
            f"rerank: k1 = {k1}, at least 1 is needed (about the images an individual)"
        )
    if not 1 <= k2 <= k1 + 1:
        raise InputError(f"rerank: k2 = {k2}, between 1 and k1 + 1 = {k1 + 1} is needed")
    if not 0 < jaccard_weight <= 1:
        raise InputError(
            f"rerank: jaccard_weight = {jaccard_weight}, above 0 and at most 1 is needed"
        )
    if not 0 < radius < jaccard_weight:
        raise InputError(
            f"rerank: radius = {radius}, above 0 and below jaccard_weight = {jaccard_weight} is "
            "needed: pairs at that distance and beyond share no neighbour and are not stored"
        )


def _encode(
    embeddings: NDArray[np.float32],
    ranked: NDArray[np.int32],
    farthest: NDArray[np.float32],
    k1: int,
    k2: int,
) -> csr_array:
    """The description of each row: (n, n) float32, rows that sum to 1."""
    n = len(ranked)
    close = _reciprocal(ranked)
    # np.around, as in the authors' code, takes halves to the even number.
    closest = _reciprocal(ranked[:, : int(np.around(k1 / 2)) + 1])
    # A neighbour brings its own closest ones along when more than 2/3 of them are neighbours too.
    overlap = csr_array((close @ closest.T).multiply(close))
    size = np.diff(closest.indptr)
    overlap.data = (overlap.data > 2 / 3 * size[overlap.indices]).astype(np.float32)
    expanded = csr_array(close + overlap @ closest)
    expanded.eliminate_zeros()
    rows = np.repeat(np.arange(n), np.diff(expanded.indptr))
    distances = _pair_distances(embeddings, rows, expanded.indices) / farthest[rows]
    expanded.data = np.exp(-distances)
    expanded.data /= np.add.reduceat(expanded.data, expanded.indptr[:-1])[rows]
    if k2 == 1:
        return expanded
    averaged = ranked[:, :k2]
    share = np.full(averaged.size, 1 / averaged.shape[1], dtype=np.float32)
    mean = csr_array(
        (share, averaged.ravel(), np.arange(0, averaged.size + 1, averaged.shape[1])), shape=(n, n)
    )
    return csr_array(mean @ expanded)


def _reciprocal(ranked: NDArray[np.int32]) -> csr_array:
    """(n, n) float32, 1 where two rows are in each other's list."""
    n, k = ranked.shape
    listed = csr_array(
        (np.ones(n * k, dtype=np.float32), ranked.ravel(), np.arange(0, n * k + 1, k)), shape=(n, n)
    )
    return csr_array(listed.multiply(listed.T))


def _shared_weight(
    encoding: csr_array, memory_bytes: int
) -> Iterator[tuple[NDArray[np.int32], NDArray[np.float32]]]:
    """Pairs i < j whose descriptions overlap, and the sum of the smaller weights, by row blocks."""
    n = encoding.shape[0]
    encoding.sort_indices()
    columns = encoding.tocsc()
    # Where each entry of the rows stands in its column: behind it are the rows j > i.
    place = np.argsort(encoding.indices, kind="stable")
    position = np.empty_like(place)
    position[place] = np.arange(len(place))
    followers = columns.indptr[encoding.indices + 1] - position - 1
    work = np.concatenate([[0], np.cumsum(followers)])[encoding.indptr]
    # An expanded entry costs about 40 bytes: two indices, two weights and the sums.
    limit = max(1, memory_bytes // 40)
    one = eye_array(n, dtype=np.float32, format="csr")
    start = 0
    while start < n:
        stop = max(start + 1, int(np.searchsorted(work, work[start] + limit, side="right")) - 1)
        entries = slice(encoding.indptr[start], encoding.indptr[stop])
        count = followers[entries]
        ends = np.cumsum(count)
        offset = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - count, count)
        partner = np.repeat(position[entries] + 1, count) + offset
        smaller = np.minimum(np.repeat(encoding.data[entries], count), columns.data[partner])
        indptr = work[start : stop + 1] - work[start]
        expanded = csr_array((smaller, columns.indices[partner], indptr), shape=(stop - start, n))
        # Multiplying by one adds up repeated pairs without sorting them.
        summed = csr_array(expanded @ one)
        summed.sort_indices()
        rows = np.repeat(np.arange(start, stop, dtype=np.int32), np.diff(summed.indptr))
        yield np.stack([rows, summed.indices.astype(np.int32)], axis=1), summed.data
        start = stop


def _pair_distances(
    embeddings: NDArray[np.float32], low: NDArray[np.signedinteger], high: NDArray[np.signedinteger]
) -> NDArray[np.float32]:
    """Cosine distances of pairs of rows, gathered a bounded number at a time."""
    result = np.empty(len(low), dtype=np.float32)
    step = max(1, GATHER_BYTES // (8 * embeddings.shape[1]))
    for start in range(0, len(low), step):
        part = slice(start, start + step)
        result[part] = np.einsum("ij,ij->i", embeddings[low[part]], embeddings[high[part]])
    distances: NDArray[np.float32] = np.maximum(1 - result, 0)
    return distances
