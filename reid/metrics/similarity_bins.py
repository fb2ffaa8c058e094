"""How alike are the clusters? All pairs in a small square of means, without a matrix of all pairs."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class SimilarityBins:
    """Rows in the order of their clusters, cut into bins.

    Attributes:
        mean: (b, b) float64, mean cosine similarity of the pairs of two rows of two bins; 1 where a bin of one
            row meets itself.
        order: (n,) int64, rows with the largest cluster first, those alone last.
        ends: (b,) int64, where each bin ends in `order`.
        sizes: of the clusters, largest first.
    """

    mean: NDArray[np.float64]
    order: NDArray[np.int64]
    ends: NDArray[np.int64]
    sizes: list[int]


def binned_similarities(
    vectors: NDArray[np.float32], groups: NDArray[np.int64], most: int
) -> SimilarityBins:
    """Mean similarities of at most `most` × `most` bins of rows.

    A mean over all pairs of two bins is the product of their sums, so that memory is that of the vectors.

    Args:
        vectors: (n, d) float32, unit rows.
        groups: (n,) cluster of each row; −1: alone.
        most: bins, at least 1.

    Example:
        Two rows that are equal, and one at right angles to them.

        >>> rows = np.array([[1, 0], [0, 1], [1, 0]], dtype=np.float32)
        >>> found = binned_similarities(rows, np.array([7, -1, 7]), 2)
        >>> found.order.tolist(), found.ends.tolist(), found.mean.tolist()
        ([0, 2, 1], [2, 3], [[1.0, 0.0], [0.0, 1.0]])
    """
    names, inverse, counts = np.unique(groups, return_inverse=True, return_counts=True)
    size = np.where(names < 0, 0, counts)[inverse]
    order = np.lexsort((groups, -size)).astype(np.int64)
    sizes = sorted(counts[names >= 0].tolist(), reverse=True)
    bins = np.array_split(order, min(most, len(order))) if len(order) else []
    rows = np.asarray([len(part) for part in bins], np.int64)
    sums = np.zeros((len(bins), vectors.shape[1]))
    for place, part in enumerate(bins):
        sums[place] = vectors[part].sum(axis=0, dtype=np.float64)
    pairs = np.outer(rows, rows) - np.diag(rows)
    total = sums @ sums.T - np.diag(rows)  # a row and itself are no pair
    mean = np.where(pairs > 0, total / np.maximum(pairs, 1), 1.0)
    return SimilarityBins(mean, order, np.cumsum(rows), sizes)
