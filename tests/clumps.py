"""Unit rows around random centres: individuals for tests of clusters and thresholds."""

import numpy as np
from numpy.typing import NDArray

Clumps = tuple[NDArray[np.float32], NDArray[np.int64]]


def clumps(
    seed: int, n: int = 60, d: int = 8, individuals: int = 10, spread: float = 0.25
) -> Clumps:
    """(n, d) float32, and the centre of each row, drawn with equal chances."""
    rng = np.random.default_rng(seed)
    return _around(rng, rng.integers(individuals, size=n), individuals, d, spread)


def equal_clumps(seed: int, individuals: int, images: int, d: int, spread: float) -> Clumps:
    """The same with equally many rows around each centre, in random order."""
    rng = np.random.default_rng(seed)
    identity = rng.permutation(np.repeat(np.arange(individuals), images))
    return _around(rng, identity, individuals, d, spread)


def _around(
    rng: np.random.Generator, identity: NDArray[np.int64], individuals: int, d: int, spread: float
) -> Clumps:
    noise = rng.normal(size=(individuals, d))[identity] + spread * rng.normal(
        size=(len(identity), d)
    )
    rows = noise / np.linalg.norm(noise, axis=1, keepdims=True)
    return rows.astype(np.float32), identity
