"""What an evaluation says: figures by question, ready for a table, JSON and a page."""

from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np

from reid.metrics.intervals import Interval

# How a reader knows each score, and what it asks.
NAMES = {
    "mean_average_precision": ("mAP", "do all images of the individual come first?"),
    "balanced_average_precision": ("balanced mAP", "the same, each individual with equal weight"),
    "mean_inverse_negative_penalty": ("mINP", "how soon is the last of them found?"),
    "top_1": ("top-1", "the nearest image is right"),
    "top_5": ("top-5", "one of the nearest 5 is right"),
    "top_10": ("top-10", "one of the nearest 10 is right"),
    "baks": ("BAKS", "known individuals: named right"),
    "baus": ("BAUS", "new individuals: called new"),
    "score": ("√(BAKS · BAUS)", "both at once, as in AnimalCLEF"),
    "ari": ("ARI", "pairs of images judged right, above chance"),
    "ami": ("AMI", "information shared, above chance"),
    "nmi": ("NMI", "information shared; many small clusters raise it"),
    "accuracy": ("accuracy", "images right, one cluster an individual (Hungarian)"),
    "mean_recall": ("mean recall", "the same, each individual with equal weight"),
    "pairwise_precision": ("pairwise precision", "pairs in one cluster: one individual?"),
    "pairwise_recall": ("pairwise recall", "pairs of one individual: in one cluster?"),
    "pairwise_f1": ("pairwise F1", "both at once"),
    "b_cubed_precision": ("B³ precision", "of an image's cluster: its individual?"),
    "b_cubed_recall": ("B³ recall", "of an image's individual: in its cluster?"),
    "b_cubed_f1": ("B³ F1", "both at once"),
}


@dataclass(frozen=True, slots=True)
class Figure:
    """One score; `low` and `high` are None where it has no interval."""

    name: str
    meaning: str
    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Part:
    """One question, how it was asked, and the scores, by their field names."""

    title: str
    how: str
    figures: dict[str, Figure]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What labels say about one species.

    Attributes:
        images, labelled, individuals: counts.
        parts: by name: retrieval, closed_set, time_aware, open_set, clusters; those that could be
            scored.
        notes: why a part is missing, and what a reader should know.
    """

    images: int
    labelled: int
    individuals: int
    parts: dict[str, Part] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The evaluation that `as_dict` wrote."""
        parts = {
            name: Part(
                part["title"],
                part["how"],
                {key: Figure(**figure) for key, figure in part["figures"].items()},
            )
            for name, part in values["parts"].items()
        }
        return cls(**{**values, "parts": parts})


def named_figures(values: dict[str, float], intervals: dict[str, Interval]) -> dict[str, Figure]:
    """Scores by field name; those that could not be computed are left out."""
    figures = {}
    for name, value in values.items():
        low, high = intervals.get(name, Interval(np.nan, np.nan))
        known = bool(np.isfinite(low))
        if np.isfinite(value):
            figures[name] = Figure(
                *NAMES[name], value, low if known else None, high if known else None
            )
    return figures
