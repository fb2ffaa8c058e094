"""A threshold from the data alone, for a species of which no individual is known."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from reid.cluster import Forest, labels_at, noise_to_singletons, spanning_forest
from reid.errors import InputError
from reid.neighbors import Graph

NEAR_THE_PEAK = 0.9
SETTLED = 0.5
FEW_ROWS = 100  # below this the peak rests on a handful of clusters


@dataclass(frozen=True, slots=True)
class ThresholdEstimate:
    """A threshold that was estimated without labels.

    Attributes:
        eps: the estimate.
        low, high: the range that the data do not tell apart; the estimate is its middle.
        stability: ARI between the clusters at both ends of the middle half of that range: 1 where
            the choice changes nothing. Rows without any individuals reach 0.5 to 0.8.
        gap: between same and different individuals: "clear", "vague" or "none". Clear is not right: a model
            that tells backgrounds apart has clear gaps too.
        statement: the same in a sentence, for the report.
        settled: the number of clusters has fallen below half of its peak before the ceiling, so that
            looking further would not change the answer.
    """

    eps: float
    low: float
    high: float
    stability: float
    gap: Literal["clear", "vague", "none"]
    statement: str
    settled: bool


def estimate_threshold(
    graph: Graph, min_samples: int = 2, *, ceiling: float | None = None
) -> ThresholdEstimate:
    """Estimate the threshold from how the number of clusters rises and falls.

    As the threshold grows, images of one individual find each other and the number of clusters
    (of two images and more) rises; when different individuals begin to merge it falls. Near its
    peak both errors balance. The estimate is the middle of the range in which the number of
    clusters is at least 90 % of the peak. Against a threshold tuned on labels it lost 0.04 of ARI in
    the mean and 0.18 at most over the 18 data sets of `tests/benchmarks/unlabelled.py`; the tuned
    threshold lay inside the range in 14.

    Args:
        graph: every pair within `ceiling`.
        min_samples: of DBSCAN; singletons are never counted, so 1 counts as 2.
        ceiling: the radius of the graph; its longest edge when not given.

    Raises:
        InputError: no two rows are within the graph's radius, or `min_samples` is below 1.
    """
    if min_samples < 1:
        raise InputError(f"min_samples = {min_samples}: at least 1 is needed")
    return estimate_from_forest(
        spanning_forest(graph, max(2, min_samples)),
        float(graph.distances.max(initial=0)) if ceiling is None else ceiling,
    )


def estimate_from_forest(forest: Forest, ceiling: float) -> ThresholdEstimate:
    """As `estimate_threshold`, for a forest that is there already.

    Args:
        forest: of `spanning_forest` with `min_samples` of at least 2.
        ceiling: the largest threshold that the forest was built for.
    """
    if not len(forest.merges):
        raise InputError(
            f"no two of {forest.n} images are within distance {ceiling:.4g}, so no threshold can be "
            "estimated: give cluster.eps, or raise the ceiling"
        )
    thresholds = np.unique(np.concatenate([forest.weights, forest.core[np.isfinite(forest.core)]]))
    cores = np.searchsorted(np.sort(forest.core), thresholds, side="right")
    clusters = cores - np.searchsorted(forest.weights, thresholds, side="right")
    ends = np.append(thresholds[1:], max(ceiling, float(thresholds[-1])))
    near = np.flatnonzero(clusters >= NEAR_THE_PEAK * clusters.max())
    low, high = float(thresholds[near[0]]), float(ends[near[-1]])
    eps = (low + high) / 2
    peak = int(clusters.max())
    stability = _agreement(forest, (low + eps) / 2, (eps + high) / 2)
    largest, singletons = _shares(forest, eps)
    at_end = near[-1] == len(thresholds) - 1
    gap: Literal["clear", "vague", "none"]
    if at_end or stability < 0.65 or largest > 0.5 or singletons > 0.9:
        gap = "none"
    else:
        gap = "clear" if stability >= 0.85 and forest.n >= FEW_ROWS else "vague"
    statement = (
        f"no labels: the threshold {eps:.4g} was estimated, not tuned; between {low:.4g} and "
        f"{high:.4g} the number of clusters stays within 10 % of its peak, {peak:,}. "
        f"{_SENTENCES[gap]}"
    )
    settled = bool(clusters[-1] <= SETTLED * peak)
    return ThresholdEstimate(eps, low, high, stability, gap, statement, settled)


_SENTENCES = {
    "clear": "Any threshold in that range gives nearly the same clusters, right or wrong.",
    "vague": "Clusters differ inside that range: take it as a rough start and look at them.",
    "none": (
        "The data show no clear gap between same and different individuals: hardly more than a "
        "guess. Label some individuals, or try another model"
    ),
}


def _agreement(forest: Forest, low: float, high: float) -> float:
    from sklearn.metrics import adjusted_rand_score

    first, second = (
        noise_to_singletons(labels_at(forest, float(np.clip(eps, 1e-7, 1.999))))
        for eps in (low, high)
    )
    return float(adjusted_rand_score(first, second))


def _shares(forest: Forest, eps: float) -> tuple[float, float]:
    """Share of the rows in the largest cluster, and alone."""
    labels = noise_to_singletons(labels_at(forest, float(np.clip(eps, 1e-7, 1.999))))
    sizes = np.bincount(labels)
    return float(sizes.max() / len(labels)), float((sizes == 1).sum() / len(labels))
