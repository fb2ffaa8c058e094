"""Embeddings on a plane: by individual, and by cluster with what is right and wrong."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reid.drawings.style import COLOURS, GREY, drawing, legend

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing
    from matplotlib.legend import Legend

NAMED = len(COLOURS)  # names with a colour and a line in the legend


def plane_by_name(
    points: NDArray[np.float32], names: Sequence[str | None], *, what: str, axes_are: str
) -> "Drawing":
    """Points in the colours of the names that most have; all others are grey.

    Args:
        points: (n, 2), of `reid.report.projection.project`.
        names: (n,) an individual or a species; None: not known.
        what: of what the names are, in the plural: individuals, species.
        axes_are: "PCA" or "t-SNE".
    """
    figure, axes = drawing(height=3.2)
    known = [name for name in names if name is not None]
    found, counts = np.unique(np.asarray(known, dtype=str), return_counts=True)
    largest = found[np.lexsort((found, -counts))][:NAMED].tolist()
    named = np.asarray([str(name) if name is not None else "" for name in names], dtype=str)
    rest = ~np.isin(named, largest)
    groups = [
        ((named != "") & rest, GREY, f"{len(found) - len(largest):,} other {what}", "o"),
        (named == "", "#D5D5D5", "not known", "o"),
        *((named == name, COLOURS[i], name, "o") for i, name in enumerate(largest)),
    ]
    for mask, colour, name, marker in groups:
        if mask.any():
            label = f"{name} (n = {int(mask.sum()):,})"
            axes.scatter(*points[mask].T, s=7, c=colour, marker=marker, linewidths=0, label=label)
    _finish(figure, axes, len(points), axes_are)
    return figure


def plane_by_cluster(
    points: NDArray[np.float32],
    clusters: NDArray[np.int64],
    right: Sequence[bool | None],
    *,
    axes_are: str,
) -> "Drawing":
    """Points in the colours of the largest clusters: right ○, wrong ×, not labelled ·, centroids ★.

    Args:
        points: (n, 2), as in `plane_by_name`.
        clusters: (n,) cluster, −1: alone.
        right: (n,) whether the image shows the individual that most labelled images of its cluster
            show; None: not labelled.
        axes_are: "PCA" or "t-SNE".
    """
    figure, axes = drawing(height=3.2)
    names, counts = np.unique(clusters[clusters >= 0], return_counts=True)
    largest = names[np.lexsort((names, -counts))][:NAMED]
    colour = np.full(len(points), GREY, dtype=object)
    for i, name in enumerate(largest):
        colour[clusters == name] = COLOURS[i]
    truth = np.asarray([-1 if one is None else int(one) for one in right])
    marks = (
        (truth < 0, ".", "not labelled", 10, None),
        (truth == 1, "o", "right", 9, "none"),
        (truth == 0, "x", "wrong", 12, None),
    )
    for mask, marker, name, size, face in marks:
        if not mask.any():
            continue
        label = f"{name} (n = {int(mask.sum()):,})"
        own = list(colour[mask])
        style = {"facecolors": "none", "edgecolors": own} if face == "none" else {"c": own}
        axes.scatter(*points[mask].T, s=size, marker=marker, linewidths=0.7, label=label, **style)
    centres = np.asarray([points[clusters == name].mean(axis=0) for name in largest])
    if len(centres):
        label = f"centroids of the {len(largest)} largest of {len(names):,} clusters; others grey"
        axes.scatter(
            *centres.T, s=45, marker="*", c=list(COLOURS[: len(largest)]), edgecolors="black",
            linewidths=0.5, label=label, zorder=3,
        )  # fmt: skip
    drawn = _finish(figure, axes, len(points), axes_are)
    # The colours of the legend's marks would be those of the first points.
    handles: Any = drawn.legend_handles
    for handle, text in zip(handles, drawn.get_texts(), strict=True):
        if text.get_text().startswith("right"):
            handle.set_edgecolor("black")
        else:
            handle.set_color("black")
    return figure


def _finish(figure: "Drawing", axes: "Axes", n: int, axes_are: str) -> "Legend":
    axes.set(xticks=[], yticks=[])
    axes.set_xlabel(f"{axes_are} 1, n = {n:,} images", fontsize=8)
    axes.set_ylabel(f"{axes_are} 2", fontsize=8)
    return legend(figure)
