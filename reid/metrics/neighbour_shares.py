"""How many of an image's nearest neighbours show its individual?"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid.neighbors import knn
from reid.splits import checked_codes

BLOCK_BYTES = (
    64 * 2**20
)  # of similarities at once: far less than those of all pairs of 10,000 images


def neighbour_correctness(
    vectors: NDArray[np.float32], identities: NDArray[Any], most: int = 50
) -> tuple[NDArray[np.float64], NDArray[np.int64], list[Any]]:
    """Share of right ones among the n nearest labelled images, n = 1 … most, of each individual.

    share(n) = (right ones among the n nearest) / min(n, other images of the individual), so that an
    individual of three images can reach 1 everywhere; the mean over its images.

    Args:
        vectors: (n, d) float32, unit rows.
        identities: (n,) identity, None where unknown; unlabelled rows are left out.
        most: neighbours that are looked at; fewer where there are fewer images.

    Returns:
        (individuals, k) shares, (individuals,) images that asked, and the names of the individuals.

    Raises:
        InputError: rows that are not unit.

    Example:
        On a circle: two images of a at 0 and 10 degrees, one of b between them at 4, which has no other.

        >>> angle = np.radians([0, 10, 4])
        >>> rows = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
        >>> neighbour_correctness(rows, np.array(["a", "a", "b"], dtype=object))[0]
        array([[0., 1.]])
    """
    codes = checked_codes(identities, len(vectors), "identities")
    rows = np.flatnonzero(codes >= 0)
    who = codes[rows]
    others = np.bincount(who, minlength=1)[who] - 1
    k = min(most, len(rows) - 1)
    if k < 1 or not (others > 0).any():
        return np.zeros((0, max(k, 0))), np.zeros(0, np.int64), []
    labelled = vectors if len(rows) == len(vectors) else vectors[rows]
    nearest, _ = knn(labelled, k, memory_bytes=BLOCK_BYTES)
    right = np.cumsum(who[nearest] == who[:, None], axis=1)
    possible = np.minimum(np.arange(1, k + 1)[None, :], others[:, None])
    queries = others > 0
    share = right[queries] / possible[queries]
    names, inverse, images = np.unique(who[queries], return_inverse=True, return_counts=True)
    total = np.zeros((len(names), k))
    np.add.at(total, inverse, share)
    first = {int(code): identities[row] for row, code in zip(rows[::-1], who[::-1], strict=True)}
    return total / images[:, None], images.astype(np.int64), [first[int(code)] for code in names]
