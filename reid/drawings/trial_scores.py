"""Trials side by side: what each gave on individuals held out, and on all labels."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from reid.drawings.style import COLOURS, GREY, drawing, legend

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

ROW_INCHES = 0.17


class TrialScore(NamedTuple):
    """One trial; NaN where a figure is not known.

    Attributes:
        name: as the reader knows it.
        mean, spread: on individuals held out.
        ari: of all labelled images, which the threshold was fitted to.
    """

    name: str
    mean: float
    spread: float
    ari: float


def compared_trials(panels: Mapping[str, Sequence[TrialScore]]) -> "Drawing":
    """A row a trial, a panel a species; trials without a figure keep their row.

    Args:
        panels: title, which says n, → trials of that species.
    """
    rows = sum(len(trials) for trials in panels.values())
    figure, axes = drawing(height=0.8 + 0.35 * len(panels) + ROW_INCHES * rows, rows=len(panels))
    for number, (title, trials) in enumerate(panels.items()):
        panel = np.atleast_1d(axes)[number]
        place = np.arange(len(trials))
        mean, spread, ari = (
            np.asarray([getattr(one, name) for one in trials]) for name in ("mean", "spread", "ari")
        )
        first = number == 0
        panel.errorbar(
            mean, place, xerr=spread, fmt="o", markersize=3, color=COLOURS[0], capsize=2,
            label="held-out individuals, mean ± spread" if first else None,
        )  # fmt: skip
        panel.scatter(
            ari,
            place,
            marker="x",
            s=12,
            color=GREY,
            label="ARI of all labelled images" if first else None,
        )
        panel.set_title(title, fontsize=8)
        panel.set(ylim=(len(trials) - 0.5, -0.5), xlim=(min(0, *ari, *mean, 0), 1.02))
        panel.set_yticks(place, [one.name for one in trials])
    legend(figure)
    return figure
