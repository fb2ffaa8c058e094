"""Curves: tuning, right ones among the nearest, sizes of clusters, training."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reid.drawings.style import COLOURS, GREY, drawing, legend
from reid.metrics.parts import NAMES
from reid.optional import matplotlib

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

LINES = 40  # of single individuals: more cannot be told apart


def neighbour_correctness(shares: NDArray[np.floating], images: NDArray[np.int64]) -> "Drawing":
    """Share of right ones among the n nearest images, a thin line an individual, and the mean.

    Args:
        shares: (individuals, k), of `reid.metrics.neighbour_shares.neighbour_correctness`.
        images: (individuals,) images of each that ask.
    """
    figure, axes = drawing()
    n = np.arange(1, shares.shape[1] + 1)
    most = np.argsort(-images, kind="stable")[:LINES]
    for i, row in enumerate(most):
        label = f"one of the {len(most):,} individuals with most images" if i == 0 else None
        axes.plot(n, shares[row], color=GREY, linewidth=0.5, alpha=0.6, label=label)
    mean = np.average(shares, axis=0, weights=images)
    in_all = f"mean of {int(images.sum()):,} images of {len(images):,} individuals"
    axes.plot(n, mean, color=COLOURS[0], linewidth=1.8, label=in_all)
    axes.set(
        xlabel="n nearest images",
        ylabel="share that are right",
        ylim=(-0.02, 1.02),
        xlim=(1, n[-1]),
    )
    legend(figure)
    return figure


def tuning_curve(
    thresholds: Sequence[float],
    scores: Sequence[float],
    eps: float,
    criterion: str,
    images: int,
) -> "Drawing":
    """The score of the clusters at every threshold, and the one that was taken."""
    figure, axes = drawing()
    criterion = NAMES[criterion][0] if criterion in NAMES else criterion
    axes.plot(thresholds, scores, color=COLOURS[0], label=f"{criterion} (n = {images:,} images)")
    axes.axvline(eps, color="black", linestyle="--", label=f"taken: {eps:.3f}")
    axes.set(xlabel="threshold, cosine distance", ylabel=criterion)
    legend(figure)
    return figure


def cluster_sizes(sizes: NDArray[np.int64], alone: int) -> "Drawing":
    """How many clusters have how many images; both axes logarithmic.

    Args:
        sizes: (clusters,) images of each cluster.
        alone: images that are in none.
    """
    figure, axes = drawing()
    values, counts = np.unique(sizes, return_counts=True)
    label = f"n = {len(sizes):,} clusters of {int(sizes.sum()):,} images"
    axes.scatter(values, counts, s=12, c=COLOURS[0], label=label)
    if alone:
        axes.scatter([1], [alone], s=14, marker="x", c="black", label=f"{alone:,} images alone")
    axes.set(xlabel="images of a cluster", ylabel="clusters", xscale="log", yscale="log")
    for axis in (axes.xaxis, axes.yaxis):  # 1, 2, 5, 10, …: counts, not powers
        axis.set_major_locator(matplotlib().ticker.LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(matplotlib().ticker.StrMethodFormatter("{x:,.0f}"))
        axis.set_minor_formatter(matplotlib().ticker.NullFormatter())
    legend(figure)
    return figure


def training_curves(history: Sequence[Mapping[str, Any]]) -> "Drawing":
    """Loss of the training images, and figures of the validation images, by epoch.

    Args:
        history: a record an epoch, as `reid finetune` writes them to history.json: `epoch` from 0,
            `loss`, and `validation`, name → figure.
    """
    epochs = [record["epoch"] + 1 for record in history]
    scores = [name for name in ("mAP", "top_1", "top_5") if name in history[-1]["validation"]]
    figure, panels = drawing(height=3.4, rows=2) if scores else drawing()
    loss, *validation = np.atleast_1d(panels)
    label = f"training loss (n = {len(epochs):,} epochs)"
    loss.plot(epochs, [record["loss"] for record in history], color=GREY, marker=".", label=label)
    loss.set(ylabel="loss")
    for name, colour in zip(scores, COLOURS, strict=False):
        figures = [record["validation"].get(name) for record in history]
        drawn = [(x, y) for x, y in zip(epochs, figures, strict=True) if y is not None]
        validation[0].plot(*zip(*drawn, strict=True), color=colour, marker=".", label=name)
    for panel in validation:
        panel.set(ylabel="validation images", xlim=loss.get_xlim())
    (validation or [loss])[-1].set_xlabel("epoch")
    legend(figure)
    return figure
