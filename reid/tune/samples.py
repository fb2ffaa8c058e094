"""Samples of labelled rows to tune on: as dense as the data to come, and identities held out."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid.tune.sweep import encode_labels

Rows = NDArray[np.int64]
COMPARED_ROWS = 2**13  # beyond, a sample tells the number of neighbours to within a few per cent
COMPARED_AT_ONCE = 1024


def thin(codes: NDArray[np.int64], images_per_individual: float | None, seed: int) -> Rows:
    """Keep each row with the same chance, so that individuals have fewer images on average.

    Labelled collections hold many images of an individual, new uploads few. With fewer images
    the gaps inside an individual widen, and a threshold fitted on the dense set no longer fits.

    Args:
        codes: (n,) int64, individual of each row, all at least 0.
        images_per_individual: wanted mean over the individuals that keep any image, above 1;
            None, or a mean that is not below the present one, keeps all rows.
        seed: of the draw.

    Returns:
        Kept rows, rising.
    """
    sizes = np.bincount(codes)
    sizes = sizes[sizes > 0]
    if images_per_individual is None or images_per_individual >= sizes.mean():
        return np.arange(len(codes))
    low, high = 0.0, 1.0
    for _ in range(50):  # the mean size of what survives rises with the chance to survive
        chance = (low + high) / 2
        survivors = (1 - (1 - chance) ** sizes).sum()
        if survivors > 0 and sizes.sum() * chance / survivors > images_per_individual:
            high = chance
        else:
            low = chance
    rng = np.random.default_rng([seed, 1])
    return np.flatnonzero(rng.random(len(codes)) < high)


def held_out_folds(codes: NDArray[np.int64], folds: int, seed: int) -> Iterator[tuple[Rows, Rows]]:
    """Split individuals into folds; each time one fold is held out and the rest is tuned on.

    Args:
        codes: (n,) int64, individual of each row.
        folds: at least 2.
        seed: of the split.

    Yields:
        (rows to tune on, rows held out), rising; no individual has rows in both.
    """
    individuals = np.unique(codes)
    fold_of = np.random.default_rng([seed, 2]).permutation(len(individuals)) % folds
    fold = fold_of[np.searchsorted(individuals, codes)]
    for k in range(folds):
        yield np.flatnonzero(fold != k), np.flatnonzero(fold == k)


def search_ceiling(
    embeddings: NDArray[np.float32], neighbours: float, *, seed: int = 0, queries: int = 512
) -> float:
    """The distance within which a row has a given number of neighbours on average.

    It bounds the search for a threshold: far more neighbours than an individual has images means
    that individuals have merged long before. The graph up to it has n x neighbours / 2 edges.

    Args:
        embeddings: (n, d) float32, unit rows, n at least 2.
        neighbours: wanted on average; more than there are rows means the largest distance.
        seed: of the rows that are asked, and of the rows that they are compared with where there are
            more than COMPARED_ROWS.
        queries: rows asked, at most.

    Returns:
        Cosine distance, above 0 and below 2.
    """
    n = len(embeddings)
    order = np.random.default_rng(seed).permutation(n)
    asked = order[:queries]
    others = order[:COMPARED_ROWS]  # the asked ones come first
    if len(others) == n:
        others = np.arange(n)
    rows = embeddings[asked]
    distances = np.empty((len(asked), len(others)), np.float32)
    for start in range(0, len(others), COMPARED_AT_ONCE):  # a copy of all others is as large again
        part = slice(start, start + COMPARED_AT_ONCE)
        np.matmul(rows, embeddings[others[part]].T, out=distances[:, part])
    np.subtract(1, distances, out=distances)
    own = asked if len(others) == n else np.arange(len(asked))
    distances[np.arange(len(asked)), own] = np.inf
    share = min(1.0, neighbours / (n - 1))
    # The quantile of all but the infinite ones, found in place: the copies of np.quantile would be
    # the largest arrays of a run.
    flat = distances.ravel()
    at = share * (flat.size - len(asked) - 1)
    low, high = int(np.floor(at)), int(np.ceil(at))
    flat.partition((low, high))
    radius = float(flat[low]) + (at - low) * (float(flat[high]) - float(flat[low]))
    return float(np.clip(radius * (1 + 1e-5), 1e-4, 2 - 1e-4))


def tuning_ceiling(vectors: NDArray[np.float32], labels: NDArray[Any]) -> float:
    """Where a search for a threshold may end: a row has on average four times as many neighbours there
    as the largest individual has images, and at least 200.

    Args:
        vectors: (n, d) float32, unit rows.
        labels: (n,) their identities.
    """
    return search_ceiling(vectors, max(200, 4 * int(np.bincount(encode_labels(labels)).max())))
