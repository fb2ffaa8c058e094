"""What shows without labels that clusters are no individuals: read from the vectors, for `reid.verdict`."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from reid.errors import InputError
from reid.tune import Clustering, find_individuals
from reid.verdict import FEW_ROWS, Signs

SAMPLE = 800  # rows whose halves are compared
SPLITS = 4  # of the dimensions into halves: one alone is a throw of the dice


def read_signs(
    vectors: NDArray[np.float32] | Callable[[NDArray[np.intp]], NDArray[np.float32]],
    labels: NDArray[np.integer],
    *,
    nearest: NDArray[np.int32] | None = None,
    encounters: NDArray[np.int64] | None = None,
    sides: NDArray[np.int64] | None = None,
    images: NDArray[np.integer] | None = None,
    halves: bool = True,
    seed: int = 0,
) -> Signs:
    """What the rows and their clusters show without labels.

    Args:
        vectors: (n, d) float32, unit rows; or what reads those of some rows, where they lie elsewhere.
        labels: (n,) integers, clusters, −1 = alone.
        nearest: (n,) int32, the nearest other row of each, −1 = none; for `encounters`.
        encounters: (n,) int64, −1 = unknown.
        sides: (n,) int64, the side that is seen, −1 = unknown.
        images: (n,) integers, which image a row is a box of, −1 = no matter.
        halves: compare what two halves of the vectors find, which takes longest.
        seed: of the sample of rows and of the halves.
    """
    n = len(labels)
    sizes = np.bincount(labels[labels >= 0], minlength=1)
    return Signs(
        rows=n,
        halves_ari=_halves_ari(vectors, labels, seed) if halves else None,
        largest=float(max(1, sizes.max()) / n) if n >= FEW_ROWS else None,
        encounters_near=_encounters_near(nearest, encounters, sides),
        images_split=_images_split(labels, images),
    )


def _halves_ari(
    vectors: NDArray[np.float32] | Callable[[NDArray[np.intp]], NDArray[np.float32]],
    labels: NDArray[np.integer],
    seed: int,
) -> float | None:
    """How alike are the clusters that two halves of the dimensions find, each with its own threshold?"""
    from sklearn.metrics import adjusted_rand_score

    n = len(labels)
    if n < FEW_ROWS:
        return None
    random = np.random.default_rng(seed)
    chosen, splits = np.arange(n), SPLITS
    if n > SAMPLE:
        chosen, splits = _some_clusters(labels, random), SPLITS // 2  # more rows, less chance
    rows = vectors(chosen) if callable(vectors) else vectors[chosen]
    d = rows.shape[1]
    if d < 2:
        return None
    scores = []
    for _ in range(splits):
        order = random.permutation(d)
        found = [_clusters(rows[:, part]) for part in (order[: d // 2], order[d // 2 :])]
        scores.append(float(adjusted_rand_score(*found)))
    return float(np.mean(scores))


def _some_clusters(labels: NDArray[np.integer], random: np.random.Generator) -> NDArray[np.intp]:
    """SAMPLE rows: all of some clusters and, as often as there are, of images that stand alone."""
    alone = labels.max(initial=-1) + 1 + np.arange(len(labels))
    group = np.where(labels < 0, alone, labels)
    turn = random.permutation(int(group.max()) + 1)
    return np.sort(np.argsort(turn[group], kind="stable")[:SAMPLE])


def _clusters(half: NDArray[np.float32]) -> NDArray[np.int64]:
    """The clusters of rows of any length, each row alone with a number of its own."""
    rows = half / np.maximum(np.linalg.norm(half, axis=1, keepdims=True), np.float32(1e-12))
    known = rows.any(axis=1)  # a row that is zero in this half is near nobody
    alone = len(rows) + np.arange(len(rows))
    nobody = np.full(int(known.sum()), None, dtype=object)
    try:
        labels = find_individuals(rows[known], nobody, Clustering(method="dbscan")).labels
    except InputError:  # no two rows are near each other
        return alone
    found = alone.copy()
    found[known] = np.where(labels < 0, alone[known], labels)
    return found


def _encounters_near(
    nearest: NDArray[np.int32] | None,
    encounters: NDArray[np.int64] | None,
    sides: NDArray[np.int64] | None,
) -> float | None:
    if nearest is None or encounters is None:
        return None
    shown = np.zeros_like(encounters) if sides is None else sides
    key = np.where((encounters < 0) | (shown < 0), -1, encounters * (shown.max() + 1) + shown)
    counts = np.bincount(key[key >= 0], minlength=1)
    asked = np.flatnonzero((key >= 0) & (counts[key] > 1) & (nearest >= 0))
    if len(asked) < FEW_ROWS:
        return None
    return float((key[nearest[asked]] == key[asked]).mean())


def _images_split(labels: NDArray[np.integer], images: NDArray[np.integer] | None) -> float | None:
    """Of pairs of boxes of one image: the share that are in different clusters."""
    if images is None:
        return None
    boxes = np.flatnonzero(images >= 0)
    _, image, sizes = np.unique(images[boxes], return_inverse=True, return_counts=True)
    pairs = _pairs(sizes)
    if not pairs:
        return None
    named = np.flatnonzero(labels[boxes] >= 0)
    keys = image[named] * (labels.max() + 1) + labels[boxes[named]]
    return 1 - _pairs(np.unique(keys, return_counts=True)[1]) / pairs


def _pairs(sizes: NDArray[np.int64]) -> int:
    return int((sizes * (sizes - 1) // 2).sum())
