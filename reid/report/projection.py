"""Embeddings laid out on a plane, for people to look at."""

from typing import Literal

import numpy as np
from threadpoolctl import threadpool_limits

from reid.errors import InputError

TSNE_LIMIT = 10_000  # a minute or two on one core
TSNE_MINIMUM = 5  # fewer points have no neighbourhoods worth keeping
TSNE_INPUT_DIMENSIONS = 50


def project(embeddings: np.ndarray, method: Literal["pca", "tsne"], *, seed: int = 0) -> np.ndarray:
    """A point on the plane for each row.

    Args:
        embeddings: (n, d) float32.
        method: "pca", any n; "tsne", TSNE_MINIMUM to TSNE_LIMIT rows.
        seed: of PCA's randomised solver and of t-SNE.

    Returns:
        (n, 2) float32, centred, the largest coordinate 1 in size. Rows that are all equal lie at 0.

    Raises:
        InputError: unknown method, or a number of rows that t-SNE cannot take.

    Source: van der Maaten & Hinton 2008; van der Maaten 2014 (Barnes-Hut).
    Differs: rows are first reduced to 50 principal components, as in the authors' own code.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    if method not in ("pca", "tsne"):
        raise InputError(f"projection: unknown method {method!r}; known methods: pca, tsne")
    n, dimensions = embeddings.shape
    if method == "tsne" and not TSNE_MINIMUM <= n <= TSNE_LIMIT:
        raise InputError(
            f"t-SNE of {n} rows: it takes {TSNE_MINIMUM} to {TSNE_LIMIT}; use pca, or a sample"
        )
    wanted = 2 if method == "pca" else TSNE_INPUT_DIMENSIONS
    components = min(wanted, n, dimensions)
    spread = bool(n) and float(np.ptp(embeddings, axis=0).max(initial=0)) > 0
    if not spread:
        return np.zeros((n, 2), np.float32)
    # Their thousands of small parallel loops wait for each other by spinning: on two cores a second
    # thread gains next to nothing, and where another process wants the core it costs manyfold.
    with threadpool_limits(1):
        rows = PCA(components, random_state=seed).fit_transform(embeddings.astype(np.float32))
        if method == "tsne":
            # The start is PCA's plane at a tiny scale: same seed, same picture, and groups of
            # groups keep their places better than from a random start.
            start = _two_columns(rows) / max(float(rows[:, 0].std()), 1e-12) * 1e-4
            perplexity = min(30.0, (n - 1) / 3)
            rows = TSNE(perplexity=perplexity, init=start, random_state=seed).fit_transform(rows)
    plane = _two_columns(rows)
    plane = plane - plane.mean(axis=0)
    return np.asarray(plane / max(float(np.abs(plane).max()), 1e-12), np.float32)


def _two_columns(rows: np.ndarray) -> np.ndarray:
    """The first two columns; a missing second one (one dimension, or two rows) is zero."""
    plane = np.zeros((len(rows), 2), np.float32)
    plane[:, : min(2, rows.shape[1])] = rows[:, :2]
    return plane
