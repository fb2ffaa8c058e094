"""Similarities of pairs: how far one individual's lie from those of two, and all of them at a glance."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reid.drawings.style import COLOURS, GREY, drawing, legend
from reid.metrics.similarity_bins import binned_similarities
from reid.optional import matplotlib

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

BINS = 60
CELLS = 400  # of a heatmap's side: more than a column's width shows
FRAMED = 12  # clusters with a frame of their own


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

    Rows are joined into at most CELLS bins, see `binned_similarities`.

    Args:
        vectors: (n, d) float32, unit rows, n of 2 or more.
        groups: (n,) cluster of each row; −1: alone.
        distance: draw 1 − similarity.
    """
    found = binned_similarities(vectors, groups, CELLS)
    n = len(found.order)
    figure, axes = drawing(height=3.0)
    extent = (0, n, n, 0)
    image = axes.imshow(
        1 - found.mean if distance else found.mean,
        cmap="viridis_r" if distance else "viridis",
        interpolation="nearest",
        extent=extent,
    )
    framed = len(found.sizes[:FRAMED]) if len(found.sizes) > 1 else 0
    for place, (end, size) in enumerate(
        zip(np.cumsum(found.sizes)[:framed], found.sizes, strict=False)
    ):
        label = f"framed: the {framed} largest of {len(found.sizes):,} clusters"
        corner = (end - size, end - size)
        frame = matplotlib().patches.Rectangle(
            corner, size, size, fill=False, edgecolor="white", linewidth=0.6,
            label=None if place else label,
        )  # fmt: skip
        axes.add_patch(frame)
    for side in ("top", "right"):
        axes.spines[side].set_visible(True)
    axes.set(xlabel=f"images by cluster (n = {n:,})", ylabel="images")
    bar = figure.colorbar(image, ax=axes, shrink=0.85)
    bar.set_label(f"mean cosine {'distance' if distance else 'similarity'}", fontsize=8)
    bar.ax.tick_params(labelsize=7)
    if framed:
        handles: Any = legend(figure).legend_handles
        for handle in handles:
            handle.set_edgecolor("black")  # white is not to be seen on paper
    return figure
