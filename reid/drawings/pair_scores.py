"""Similarities of pairs: how far one individual's lie from those of two, and all of them at a glance."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from reid.drawings.style import COLOURS, GREY, drawing, legend

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

BINS = 60
CELLS = 400  # of a heatmap's side: more than a column's width shows


def score_distribution(
    same: NDArray[np.floating], different: NDArray[np.floating], threshold: float | None
) -> "Drawing":
    """How often pairs of one individual, and of two, have each similarity.

    Args:
        same, different: cosine similarities; each is drawn as a density of its own, as there are always
            far more pairs of two.
        threshold: cosine similarity of the clusters; None: there is none.
    """
    figure, axes = drawing()
    lowest = min((float(part.min()) for part in (same, different) if len(part)), default=0.0)
    edges = np.linspace(lowest, 1, BINS + 1)
    for values, name, colour in (
        (different, "two individuals", GREY),
        (same, "one individual", COLOURS[0]),
    ):
        label = f"{name} (n = {len(values):,} pairs)"
        axes.hist(values, edges, density=True, alpha=0.6, color=colour, label=label)
    if threshold is not None:
        axes.axvline(threshold, color="black", linestyle="--", label=f"threshold, {threshold:.3f}")
    axes.set(xlabel="cosine similarity", ylabel="density of pairs")
    legend(figure)
    return figure


def similarity_heatmap(
    vectors: NDArray[np.float32], groups: NDArray[np.int64], *, distance: bool = False
) -> "Drawing":
    """Mean similarity (or distance) of all pairs, rows ordered by cluster, the largest first.

    Rows are joined into at most CELLS bins; a cell is the mean over all its pairs of two rows, which is
    the product of the bins' sums, so that no n × n matrix is ever made.

    Args:
        vectors: (n, d) float32, unit rows, n of 2 or more.
        groups: (n,) cluster of each row; −1: alone.
        distance: draw 1 − similarity.
    """
    order, sizes = _by_size(groups)
    bins = np.array_split(order, min(CELLS, len(order)))
    sums = np.stack([vectors[rows].sum(axis=0, dtype=np.float64) for rows in bins])
    counts = np.asarray([len(rows) for rows in bins], np.float64)
    pairs = np.outer(counts, counts) - np.diag(counts)
    total = sums @ sums.T - np.diag(counts)  # a row and itself are no pair
    mean = np.where(pairs > 0, total / np.maximum(pairs, 1), 1.0)
    figure, axes = drawing(height=3.0)
    extent = (0, len(order), len(order), 0)
    image = axes.imshow(
        1 - mean if distance else mean,
        cmap="viridis_r" if distance else "viridis",
        interpolation="nearest",
        extent=extent,
    )
    for end in np.cumsum(sizes)[: 12 if len(sizes) > 1 else 0]:
        axes.plot([0, end, end], [end, end, 0], color="white", linewidth=0.4)
    for side in ("top", "right"):
        axes.spines[side].set_visible(True)
    axes.set(xlabel=f"images by cluster (n = {len(order):,})", ylabel="images")
    bar = figure.colorbar(image, ax=axes, shrink=0.85)
    bar.set_label(f"mean cosine {'distance' if distance else 'similarity'}", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    return figure


def _by_size(groups: NDArray[np.int64]) -> tuple[NDArray[np.int64], list[int]]:
    """Rows with the largest cluster first and lonely ones last; sizes of the clusters."""
    names, inverse, counts = np.unique(groups, return_inverse=True, return_counts=True)
    size = np.where(names < 0, 0, counts)[inverse]
    order = np.lexsort((groups, -size))
    sizes = sorted(
        (int(c) for name, c in zip(names, counts, strict=True) if name >= 0), reverse=True
    )
    return order.astype(np.int64), sizes
